"""A span written by hand, whose arrival proves that everything accepted before it has arrived."""

from __future__ import annotations

import json
import secrets
import time
import urllib.request

MARKER_SERVICE = "integration-test-marker"


def send_marker(otlp_endpoint: str) -> str:
    """Sends one span as OTLP JSON and returns its trace id once the server has accepted it."""
    trace_id = secrets.token_hex(16)
    request = urllib.request.Request(
        f"{otlp_endpoint}/v1/traces",
        data=json.dumps(_document(trace_id)).encode(),
        headers={"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        answer.read()
    return trace_id


def _document(trace_id: str) -> dict[str, object]:
    now_unix_nanos = str(time.time_ns())
    span = {
        "traceId": trace_id,
        "spanId": secrets.token_hex(8),
        "name": "marker",
        "kind": 1,
        "startTimeUnixNano": now_unix_nanos,
        "endTimeUnixNano": now_unix_nanos,
    }
    service = {"key": "service.name", "value": {"stringValue": MARKER_SERVICE}}
    return {
        "resourceSpans": [
            {"resource": {"attributes": [service]}, "scopeSpans": [{"spans": [span]}]},
        ],
    }
