"""Jaeger v2 with its memory storage, read through the query API a user's own tools would use."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import urllib.parse
from pathlib import Path

from hiq_servers.server import JAEGER_PORTS, Server, ServerError, http_answer
from hiq_servers.spans import Span, spans_in

MAX_TRACES = 100_000
WARNINGS = "@jaeger@warnings"

_ORIGINAL_END = re.compile(
    r"Negative duration detected.* Original end timestamp: "
    r"(?P<second>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.?(?P<fraction>\d{0,9}) "
)


class Jaeger(Server):
    name = "jaeger"
    port_names = (
        "health",
        "query_http",
        "query_grpc",
        "otlp_grpc",
        "otlp_http",
        *JAEGER_PORTS,
        "zipkin",
    )

    def config(self) -> str:
        return f"""\
extensions:
  healthcheckv2: {{use_v2: true, http: {{endpoint: "{self.address("health")}"}}}}
  jaeger_storage: {{backends: {{memory: {{memory: {{max_traces: {MAX_TRACES}}}}}}}}}
  jaeger_query:
    storage: {{traces: memory}}
    http: {{endpoint: "{self.address("query_http")}"}}
    grpc: {{endpoint: "{self.address("query_grpc")}"}}
    enable_tracing: false
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "{self.address("otlp_grpc")}"}}
      http: {{endpoint: "{self.address("otlp_http")}"}}
  jaeger:
    protocols:
      grpc: {{endpoint: "{self.address("jaeger_grpc")}"}}
      thrift_http: {{endpoint: "{self.address("jaeger_http")}"}}
      thrift_compact: {{endpoint: "{self.address("jaeger_compact")}"}}
      thrift_binary: {{endpoint: "{self.address("jaeger_binary")}"}}
  zipkin: {{endpoint: "{self.address("zipkin")}"}}
exporters:
  jaeger_storage_exporter: {{trace_storage: memory}}
service:
  extensions: [healthcheckv2, jaeger_storage, jaeger_query]
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp, jaeger, zipkin], exporters: [jaeger_storage_exporter]}}
"""

    def command(self, binary: Path, config: Path) -> list[str]:
        return [str(binary), "--config", str(config)]

    def is_healthy(self) -> bool:
        answer = http_answer(self.url("health", "/status"))
        return answer is not None and json.loads(answer[1])["healthy"] is True

    def spans_of_service(self, service: str) -> list[Span]:
        now = datetime.datetime.now(datetime.timezone.utc)
        an_hour = datetime.timedelta(hours=1)
        query = {
            "query.service_name": service,
            "query.start_time_min": (now - an_hour).isoformat(),
            "query.start_time_max": (now + an_hour).isoformat(),
            "query.num_traces": str(MAX_TRACES),
            "query.raw_traces": "true",
        }
        found = self._query(f"/api/v3/traces?{urllib.parse.urlencode(query)}")
        # A trace that another service takes part in comes whole.
        return [span for span in found if span.resource.get("service.name") == service]

    def spans_of_trace(self, trace_id: str) -> list[Span]:
        return self._query(f"/api/v3/traces/{trace_id}?raw_traces=true")

    def _query(self, path: str) -> list[Span]:
        answer = http_answer(self.url("query_http", path))
        if answer is None:
            raise ServerError(f"jaeger's query API does not answer:\n{self.log_tail()}")
        status, body = answer
        if status == 404:
            return []
        if status != 200:
            raise ServerError(f"jaeger answered {status} to {path}: {body[:500]!r}")
        return [_as_sent(span) for span in spans_in(json.loads(body)["result"])]


def _as_sent(span: Span) -> Span:
    """Undoes the one thing Jaeger changes even in raw traces, and says so: a span that does not
    end after its start is stored as one nanosecond long."""
    warnings = span.attributes.get(WARNINGS, [])
    original_end = next(filter(None, map(_ORIGINAL_END.search, warnings)), None)
    if original_end is None:
        return span
    seconds = datetime.datetime.fromisoformat(f"{original_end['second']}+00:00").timestamp()
    nanos = original_end["fraction"].ljust(9, "0")
    others = {key: value for key, value in span.attributes.items() if key != WARNINGS}
    end_unix_nanos = int(seconds) * 1_000_000_000 + int(nanos)
    return dataclasses.replace(span, attributes=others, end_unix_nanos=end_unix_nanos)
