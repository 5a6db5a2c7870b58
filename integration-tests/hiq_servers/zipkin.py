"""A Zipkin server with its memory storage, read through the API that its own pages use."""

from __future__ import annotations

import json
import secrets
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from hiq_servers.process import ServerError, http_answer
from hiq_servers.server import Server
from hiq_servers.spans import Event, Span

MAX_TRACES = 100_000
LOOKBACK_MILLIS = 3_600_000


class Zipkin(Server):
    name = "zipkin"
    port_names = ("zipkin",)

    def config(self) -> str:
        return "# Zipkin is told all on its command line.\n"

    def command(self, binary: Path, config: Path) -> list[str]:
        # One thread stores what was accepted, so that a marker is stored after all before it.
        one_thread = "-Dcom.linecorp.armeria.numCommonBlockingTaskThreads=1"
        return [
            *("java", "-Xmx384m", one_thread, "-jar", str(binary)),
            "--armeria.ports[0].address=127.0.0.1",
            f"--armeria.ports[0].port={self.ports['zipkin']}",
            "--armeria.ports[0].protocols[0]=http",
            f"--zipkin.storage.mem.max-spans={MAX_TRACES}",
        ]

    def is_healthy(self) -> bool:
        answer = http_answer(self.url("zipkin", "/health"))
        return answer is not None and answer[0] == 200

    def spans_of_service(self, service: str) -> list[Span]:
        query = {
            "serviceName": service.lower(),
            "lookback": str(LOOKBACK_MILLIS),
            "limit": str(MAX_TRACES),
        }
        traces = self._query(f"/api/v2/traces?{urllib.parse.urlencode(query)}")
        found = [_span(span) for trace in traces for span in trace]
        return [span for span in found if span.resource.get("service.name") == service]

    def spans_of_trace(self, trace_id: str) -> list[Span]:
        return [_span(span) for span in self._query(f"/api/v2/trace/{trace_id}")]

    def local_endpoint_of(self, trace_id: str) -> dict[str, Any]:
        """Reads where the first span of a trace ran."""
        found: dict[str, Any] = self._query(f"/api/v2/trace/{trace_id}")[0]["localEndpoint"]
        return found

    def settle(self) -> None:
        trace_id = secrets.token_hex(16)
        marker = {
            "traceId": trace_id,
            "id": secrets.token_hex(8),
            "timestamp": time.time_ns() // 1_000,
            "localEndpoint": {"serviceName": "integration-test-marker"},
        }
        request = urllib.request.Request(
            self.url("zipkin", "/api/v2/spans"),
            data=json.dumps([marker]).encode(),
            headers={"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            answer.read()
        self.wait_for_trace(trace_id, at_least=1)

    def _query(self, path: str) -> list[Any]:
        answer = http_answer(self.url("zipkin", path))
        if answer is None:
            raise ServerError(f"zipkin does not answer:\n{self.log_tail()}")
        status, body = answer
        if status == 404:
            return []
        if status != 200:
            raise ServerError(f"zipkin answered {status} to {path}: {body[:500]!r}")
        found: list[Any] = json.loads(body)
        return found


def _span(span: dict[str, Any]) -> Span:
    """Tags are attributes, annotations events, the far side an attribute of its own."""
    start_unix_nanos = span.get("timestamp", 0) * 1_000
    attributes: dict[str, Any] = dict(span.get("tags", {}))
    if "remoteEndpoint" in span:
        attributes["remoteEndpoint"] = span["remoteEndpoint"]
    annotations = span.get("annotations", [])
    local = span.get("localEndpoint", {})
    return Span(
        trace_id=span["traceId"].rjust(32, "0"),
        span_id=span["id"],
        parent_span_id=span.get("parentId", ""),
        name=span.get("name", ""),
        kind=span.get("kind", "UNSPECIFIED"),
        start_unix_nanos=start_unix_nanos,
        end_unix_nanos=start_unix_nanos + span.get("duration", 0) * 1_000,
        attributes=attributes,
        events=[Event(each["value"], each["timestamp"] * 1_000, {}) for each in annotations],
        links=[],
        status_code="UNSET",
        status_message="",
        trace_state="",
        flags=0,
        dropped_attributes=0,
        dropped_events=0,
        dropped_links=0,
        resource={"service.name": local["serviceName"]} if "serviceName" in local else {},
        scope_name="",
        scope_version="",
        scope_attributes={},
    )
