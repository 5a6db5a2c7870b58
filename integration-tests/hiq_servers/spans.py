"""A span as a backend holds it, in one shape whatever server it was read from."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

KINDS = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
STATUS_CODES = ("UNSET", "OK", "ERROR")

Attributes = dict[str, Any]
"""Values are str, bool, int, float, bytes, None, or lists and dicts of these."""


@dataclasses.dataclass(frozen=True)
class Event:
    name: str
    time_unix_nanos: int
    attributes: Attributes
    dropped_attributes: int = 0


@dataclasses.dataclass(frozen=True)
class Link:
    trace_id: str
    span_id: str
    trace_state: str
    flags: int
    attributes: Attributes
    dropped_attributes: int = 0


@dataclasses.dataclass(frozen=True)
class Span:
    trace_id: str
    span_id: str
    parent_span_id: str
    """Empty for a root."""
    name: str
    kind: str
    start_unix_nanos: int
    end_unix_nanos: int
    attributes: Attributes
    events: list[Event]
    links: list[Link]
    status_code: str
    status_message: str
    trace_state: str
    flags: int
    dropped_attributes: int
    dropped_events: int
    dropped_links: int
    resource: Attributes
    scope_name: str
    scope_version: str
    scope_attributes: Attributes

    def __str__(self) -> str:
        parent = self.parent_span_id or "root"
        return f"{self.name} trace={self.trace_id} span={self.span_id} parent={parent}"


def spans_in(request: dict[str, Any]) -> Iterator[Span]:
    """Yields the spans of one OTLP JSON document (`{"resourceSpans": [...]}`)."""
    for resource_spans in request.get("resourceSpans", []):
        resource = _attributes(resource_spans.get("resource", {}))
        for scope_spans in resource_spans.get("scopeSpans", []):
            scope = scope_spans.get("scope", {})
            for span in scope_spans.get("spans", []):
                yield _span(span, resource, scope)


def _span(span: dict[str, Any], resource: Attributes, scope: dict[str, Any]) -> Span:
    status = span.get("status", {})
    return Span(
        trace_id=span["traceId"],
        span_id=span["spanId"],
        parent_span_id=span.get("parentSpanId", ""),
        name=span.get("name", ""),
        kind=KINDS[span.get("kind", 0)],
        start_unix_nanos=int(span.get("startTimeUnixNano", 0)),
        end_unix_nanos=int(span.get("endTimeUnixNano", 0)),
        attributes=_attributes(span),
        events=[_event(event) for event in span.get("events", [])],
        links=[_link(link) for link in span.get("links", [])],
        status_code=STATUS_CODES[status.get("code", 0)],
        status_message=status.get("message", ""),
        trace_state=span.get("traceState", ""),
        flags=span.get("flags", 0),
        dropped_attributes=span.get("droppedAttributesCount", 0),
        dropped_events=span.get("droppedEventsCount", 0),
        dropped_links=span.get("droppedLinksCount", 0),
        resource=resource,
        scope_name=scope.get("name", ""),
        scope_version=scope.get("version", ""),
        scope_attributes=_attributes(scope),
    )


def _event(event: dict[str, Any]) -> Event:
    return Event(
        name=event.get("name", ""),
        time_unix_nanos=int(event.get("timeUnixNano", 0)),
        attributes=_attributes(event),
        dropped_attributes=event.get("droppedAttributesCount", 0),
    )


def _link(link: dict[str, Any]) -> Link:
    return Link(
        trace_id=link["traceId"],
        span_id=link["spanId"],
        trace_state=link.get("traceState", ""),
        flags=link.get("flags", 0),
        attributes=_attributes(link),
        dropped_attributes=link.get("droppedAttributesCount", 0),
    )


def _attributes(holder: dict[str, Any]) -> Attributes:
    pairs = holder.get("attributes", [])
    attributes = {pair["key"]: _value(pair.get("value", {})) for pair in pairs}
    if len(attributes) != len(pairs):
        raise ValueError(f"attribute keys repeat: {[pair['key'] for pair in pairs]}")
    return attributes


def _value(value: dict[str, Any]) -> Any:
    if not value:
        return None
    ((kind, held),) = value.items()
    return _READERS[kind](held)


_READERS: dict[str, Callable[[Any], Any]] = {
    "stringValue": str,
    "boolValue": bool,
    "intValue": int,
    "doubleValue": float,
    "bytesValue": base64.b64decode,
    "arrayValue": lambda array: [_value(value) for value in array.get("values", [])],
    "kvlistValue": lambda pairs: {
        pair["key"]: _value(pair.get("value", {})) for pair in pairs.get("values", [])
    },
}
