"""Jaeger v2 with its memory storage, read through the query API a user's own tools would use."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import urllib.parse
from pathlib import Path

from hiq_servers.process import ServerError, http_answer
from hiq_servers.server import JAEGER_PORTS, Server
from hiq_servers.spans import Span, spans_in

MAX_TRACES = 100_000
"""As in `docker/jaeger.yaml`."""
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
