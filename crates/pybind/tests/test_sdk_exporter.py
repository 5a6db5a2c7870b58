"""hiq's exporters under the real OpenTelemetry SDK: what leaves is what the SDK's own exporter was given."""

from __future__ import annotations

import base64
import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hiq
import pytest
from hiq.opentelemetry import ChromeSpanExporter, HiqSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

REMOTE = SpanContext(
    0x0AF7651916CD43DD8448EB211C80319C,
    0xB7AD6B7169203331,
    True,
    TraceFlags(1),
    TraceState([("vendor", "1"), ("other", "2")]),
)
KINDS = {kind: number for number, kind in enumerate(SpanKind, start=1)}
CODES = {StatusCode.UNSET: 0, StatusCode.OK: 1, StatusCode.ERROR: 2}


def test_each_span_leaves_as_the_sdk_has_it(tmp_path: Path) -> None:
    path, own = tmp_path / "spans.jsonl", InMemorySpanExporter()
    ours = HiqSpanExporter(hiq.FileExporter(str(path)))
    provider = provider_with(SimpleSpanProcessor(own), SimpleSpanProcessor(ours))
    work(provider)
    provider.shutdown()
    expected = {f"{span.context.span_id:016x}": plain(span) for span in own.get_finished_spans()}
    assert len(expected) == 4
    assert {span["id"]: span for span in spans_in(path)} == expected
    ledger = ours.stats()["file"]
    assert (ledger["offered"], ledger["exported"]) == (4, 4)


def test_a_batch_processor_hands_all_its_spans_over(tmp_path: Path) -> None:
    path = tmp_path / "spans.jsonl"
    ours = HiqSpanExporter(hiq.FileExporter(str(path)))
    provider = provider_with(BatchSpanProcessor(ours))
    for _ in range(250):
        work(provider)
    # The SDK's flush hands over; ours delivers.
    assert provider.force_flush()
    assert ours.force_flush()
    assert len(list(spans_in(path))) == 1_000
    provider.shutdown()
    assert ours.stats()["file"]["exported"] == 1_000


def test_a_span_that_cannot_be_read_costs_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, own = tmp_path / "spans.jsonl", InMemorySpanExporter()
    provider = provider_with(SimpleSpanProcessor(own))
    work(provider)
    good = own.get_finished_spans()
    ours = HiqSpanExporter(hiq.FileExporter(str(path)))
    assert ours.export([*good[:2], object(), *good[2:]]) is SpanExportResult.FAILURE
    assert "1 of 5 spans could not be read: " in caplog.text
    assert ours.force_flush()
    assert len(list(spans_in(path))) == 4
    ours.shutdown()


def test_a_wrong_exporter_is_refused_when_it_is_made() -> None:
    with pytest.raises(hiq.ConfigError, match="`carrier pigeon` is not an exporter of this build"):
        HiqSpanExporter("carrier pigeon")


@pytest.mark.parametrize("name", ["hiq_chrome", "hiq_otlp", "hiq_jaeger", "hiq_kafka", "hiq_oci_apm", "hiq_zipkin"])
def test_the_sdk_finds_the_exporters_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIQ_CHROME_FILE", str(tmp_path / "trace.json"))
    monkeypatch.setenv("APM_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("APM_PUB_KEY", "key")
    found = importlib.metadata.entry_points(group="opentelemetry_traces_exporter", name=name)
    exporter = next(iter(found)).load()
    assert issubclass(exporter, SpanExporter)
    exporter().shutdown()


def test_streams_are_found_by_name_and_say_what_they_lack() -> None:
    [found] = importlib.metadata.entry_points(group="opentelemetry_traces_exporter", name="hiq_oci_streaming")
    with pytest.raises(hiq.ConfigError, match="OCI_STM_END"):
        found.load()()


def test_the_sdks_spans_make_a_trace_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "trace.json"
    monkeypatch.setenv("HIQ_CHROME_FILE", str(file))
    exporter = ChromeSpanExporter()
    provider = provider_with(SimpleSpanProcessor(exporter))
    with provider.get_tracer("shop").start_as_current_span("root") as root:
        span_id = f"{root.get_span_context().span_id:016x}"
    provider.shutdown()
    events = json.loads(file.read_text())["traceEvents"]
    slices = [(event["name"], event["args"]["hiq.span_id"]) for event in events if event["ph"] == "X"]
    assert slices == [("root", span_id)]
    (ledger,) = exporter.stats().values()
    assert ledger["offered"] == ledger["exported"] == 1


def provider_with(*processors: Any) -> TracerProvider:
    resource = Resource({"service.name": "till", "shelf": 7}, "https://example.org/1")
    limits = SpanLimits(max_span_attributes=9, max_events=2, max_links=1, max_event_attributes=1, max_link_attributes=1)
    provider = TracerProvider(resource=resource, span_limits=limits)
    for processor in processors:
        provider.add_span_processor(processor)
    return provider


def work(provider: TracerProvider) -> None:
    """Four spans with all that the SDK lets them carry, and more than its limits let through."""
    tracer = provider.get_tracer("shop", "1.2", "https://opentelemetry.io/schemas/1.40.0", {"team": "orders"})
    parent = set_span_in_context(NonRecordingSpan(REMOTE))
    links = [Link(REMOTE, {"why": "old"}), Link(REMOTE, {"why": "queued", "more": 1})]
    with tracer.start_as_current_span("root ä\0", parent, SpanKind.SERVER, links=links) as root:
        for key, value in {
            "dropped 1": 1,
            "text": 'ä"\n',
            "integer": -(2**63),
            "double": -0.25,
            "truth": True,
            "bytes": b"\0\xff",
            "texts": ["a", "b"],
            "integers": (1, -2),
            "doubles": [0.5],
            "truths": [True, False],
        }.items():
            root.set_attribute(key, value)
        for number in range(3):
            root.add_event(f"event {number}", {"hit": False, "miss": number}, 1_700_000_000_123_456_789 + number)
        with tracer.start_as_current_span("child", kind=SpanKind.CLIENT) as child:
            child.set_status(Status(StatusCode.ERROR, "out of stock"))
        with tracer.start_as_current_span("another") as child:
            child.set_status(StatusCode.OK)
    provider.get_tracer("bare").start_span("alone").end()


def plain(span: ReadableSpan) -> dict[str, Any]:
    """The SDK's span as plain data."""
    scope, parent = span.instrumentation_scope, span.parent
    return {
        "trace": f"{span.context.trace_id:032x}",
        "id": f"{span.context.span_id:016x}",
        "parent": f"{parent.span_id:016x}" if parent else "",
        "state": span.context.trace_state.to_header(),
        "flags": int(span.context.trace_flags) | 0x100 | (0x200 if parent and parent.is_remote else 0),
        "name": span.name,
        "kind": KINDS[span.kind],
        "times": (span.start_time, span.end_time),
        "attributes": tagged(span.attributes),
        "events": [(e.timestamp, e.name, tagged(e.attributes), e.dropped_attributes) for e in span.events],
        "links": [
            (
                f"{link.context.trace_id:032x}",
                f"{link.context.span_id:016x}",
                link.context.trace_state.to_header(),
                int(link.context.trace_flags) | 0x100 | (0x200 if link.context.is_remote else 0),
                tagged(link.attributes),
                link.dropped_attributes,
            )
            for link in span.links
        ],
        "status": (CODES[span.status.status_code], span.status.description or ""),
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "resource": (tagged(span.resource.attributes), span.resource.schema_url),
        "scope": (scope.name, scope.version or "", scope.schema_url or "", tagged(scope.attributes)),
    }


def tagged(attributes: Any) -> dict[str, Any]:
    """Values with their types: `True` and 1 are not the same."""

    def value(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return ["list", *map(tag, value)]
        return tag(value)

    def tag(value: Any) -> Any:
        return (type(value).__name__, value)

    return {key: value(item) for key, item in (attributes or {}).items()}


def spans_in(path: Path) -> Any:
    """The spans of an OTLP JSON file, read by the specification."""
    for line in path.read_text().splitlines():
        for group in json.loads(line)["resourceSpans"]:
            resource = (values(group["resource"]), group.get("schemaUrl", ""))
            for scoped in group["scopeSpans"]:
                scope = scoped.get("scope", {})
                origin = (scope.get("name", ""), scope.get("version", ""), scoped.get("schemaUrl", ""), values(scope))
                for span in scoped["spans"]:
                    yield {**read(span), "resource": resource, "scope": origin}


def read(span: dict[str, Any]) -> dict[str, Any]:
    status = span.get("status", {})
    return {
        "trace": span["traceId"],
        "id": span["spanId"],
        "parent": span.get("parentSpanId", ""),
        "state": span.get("traceState", ""),
        "flags": span["flags"],
        "name": span["name"],
        "kind": span["kind"],
        "times": (int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])),
        "attributes": values(span),
        "events": [
            (int(e["timeUnixNano"]), e["name"], values(e), e.get("droppedAttributesCount", 0))
            for e in span.get("events", [])
        ],
        "links": [
            (
                link["traceId"],
                link["spanId"],
                link.get("traceState", ""),
                link["flags"],
                values(link),
                link.get("droppedAttributesCount", 0),
            )
            for link in span.get("links", [])
        ],
        "status": (status.get("code", 0), status.get("message", "")),
        "dropped": tuple(span.get(f"dropped{part}Count", 0) for part in ("Attributes", "Events", "Links")),
    }


READERS: dict[str, Callable[[Any], Any]] = {
    "stringValue": str,
    "boolValue": bool,
    "intValue": int,
    "doubleValue": float,
    "bytesValue": base64.b64decode,
}


def values(holder: dict[str, Any]) -> dict[str, Any]:
    def value(value: dict[str, Any]) -> Any:
        if "arrayValue" in value:
            return ["list", *map(one, value["arrayValue"].get("values", []))]
        return one(value)

    def one(value: dict[str, Any]) -> Any:
        ((kind, raw),) = value.items()
        read = READERS[kind](raw)
        return (type(read).__name__, read)

    return {pair["key"]: value(pair["value"]) for pair in holder.get("attributes", [])}
