"""The harness itself: what OpenTelemetry's own SDK sends is what we read back from every server.

No line of hiq is used here. When these fail, the servers or our reading of them are at fault.
"""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.json.http.trace_exporter import (
    OTLPSpanExporter as JsonSpanExporter,
)
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link as SdkLink,
)
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.util.types import AnyValue

from hiq_servers import Event, Link, Server, ServerError, Span
from hiq_servers.compare import assert_same_spans
from hiq_servers.jaeger import Jaeger

CONTEXT_HAS_IS_REMOTE = 0x100
CONTEXT_IS_REMOTE = 0x200

SENDERS: dict[str, Callable[[str], SpanExporter]] = {
    "OTLP HTTP/protobuf": lambda url: OTLPSpanExporter(f"{url}/v1/traces"),
    "OTLP HTTP/protobuf gzip": lambda url: OTLPSpanExporter(
        f"{url}/v1/traces", compression=Compression.Gzip
    ),
    "OTLP HTTP/JSON": lambda url: JsonSpanExporter(f"{url}/v1/traces"),
}


@pytest.mark.parametrize("sender", SENDERS)
def test_spans_of_the_otel_sdk_read_back_equal(
    sender: str, server: Server, compared: Callable[[str, str, int], None]
) -> None:
    service = f"oracle-{secrets.token_hex(8)}"
    sent = send(spans_of_every_shape(service), SENDERS[sender](server.otlp_endpoint))

    read = server.settled_spans_of_service(service)

    compared(f"{sender} (OTel SDK)", server.name, len(read))
    assert_same_spans(sent, read)


def test_a_trace_reads_back_whole_by_its_id(server: Server) -> None:
    service = f"oracle-{secrets.token_hex(8)}"
    spans = spans_of_every_shape(service)
    sent = send(spans, OTLPSpanExporter(f"{server.otlp_endpoint}/v1/traces"))
    trace_id = sent[0].trace_id
    of_trace = [span for span in sent if span.trace_id == trace_id]

    read = server.wait_for_trace(trace_id, at_least=len(of_trace))

    assert_same_spans(of_trace, read)


def test_everything_accepted_is_visible_after_settling(server: Server) -> None:
    for _ in range(20):
        service = f"oracle-{secrets.token_hex(8)}"
        sent = send(
            spans_of_every_shape(service), OTLPSpanExporter(f"{server.otlp_endpoint}/v1/traces")
        )
        assert_same_spans(sent, server.settled_spans_of_service(service))


def test_a_span_that_never_comes_is_reported_with_what_came(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hiq_servers.server.READ_BACK_SECONDS", 0.5)
    spans = spans_of_every_shape(f"oracle-{secrets.token_hex(8)}")
    sent = send(spans[:1], OTLPSpanExporter(f"{server.otlp_endpoint}/v1/traces"))[0]

    with pytest.raises(ServerError, match=f"1 of 2 spans of trace {sent.trace_id}") as error:
        server.wait_for_trace(sent.trace_id, at_least=2)

    assert sent.span_id in str(error.value)


def test_a_server_that_cannot_start_shows_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Jaeger, "config", lambda _: "receivers: {no_such_receiver: {}}")

    with (
        pytest.raises(ServerError, match=r"ended with code 1(.|\n)*no_such_receiver"),
        Jaeger(tmp_path),
    ):
        pass


def test_a_stopped_server_is_gone(tmp_path: Path) -> None:
    with Jaeger(tmp_path) as jaeger:
        assert jaeger.is_healthy()

    assert not jaeger_answers(jaeger)


def send(spans: list[ReadableSpan], exporter: SpanExporter) -> list[Span]:
    """Sends finished SDK spans and returns what the server has to hold for them."""
    assert exporter.export(spans) is SpanExportResult.SUCCESS
    exporter.shutdown()
    return [expected(span) for span in spans]


def spans_of_every_shape(service: str) -> list[ReadableSpan]:
    finished = InMemorySpanExporter()
    provider = TracerProvider(
        resource=Resource({"service.name": service, "n": 7, "names": ["a", "b"]}),
        span_limits=SpanLimits(max_attributes=12, max_events=3, max_links=2),
    )
    provider.add_span_processor(SimpleSpanProcessor(finished))
    tracer = provider.get_tracer("oracle scope", "1.2.3", attributes={"scope.kind": "test"})
    now = time.time_ns()

    root = tracer.start_span("root ☂ 🐍", kind=SpanKind.SERVER, start_time=now + 1)
    root.set_attributes(values_of_every_type())
    inside_root = set_span_in_context(root)
    child = tracer.start_span(
        "child", context=inside_root, kind=SpanKind.CLIENT, start_time=now + 11
    )
    child.add_event("first", {"at": 1, "text": "ä"}, timestamp=now + 13)
    child.record_exception(ValueError("broken"), timestamp=now + 17)
    child.set_status(Status(StatusCode.ERROR, "ValueError: broken"))
    child.end(end_time=now + 1_000_000_019)
    root.set_status(StatusCode.OK)
    root.end(end_time=now + 1_000_000_029)
    tracer.start_span("instant", context=inside_root, start_time=now + 3).end(end_time=now + 3)

    links = [SdkLink(remote_context(), {"why": "linked", "n": n}) for n in range(2)]
    remote_parent = set_span_in_context(NonRecordingSpan(remote_context()))
    for kind in (SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.INTERNAL):
        span = tracer.start_span(
            kind.name.lower(), context=remote_parent, kind=kind, links=links, start_time=now
        )
        span.end(end_time=now + 5)

    over_limits = tracer.start_span("over limits", start_time=now)
    over_limits.set_attributes({f"key {n}": n for n in range(15)})
    for n in range(5):
        over_limits.add_event(f"event {n}", timestamp=now + n)
    for n in range(4):
        over_limits.add_link(remote_context(), {"n": n})
    over_limits.end(end_time=now + 9)
    return list(finished.get_finished_spans())


def values_of_every_type() -> dict[str, AnyValue]:
    return {
        "text": "plain",
        "unicode": "ünïcödé \N{SNOWMAN} \N{PILE OF POO} \x00 end",
        "empty": "",
        "yes": True,
        "no": False,
        "big": 2**63 - 1,
        "small": -(2**63),
        "pi": math.pi,
        "whole float": 2.0,
        "texts": ["a", "", "c"],
        "numbers": [1, -2, 3],
        "floats": [0.5, 2.0],
    }


def remote_context() -> SpanContext:
    return SpanContext(
        trace_id=secrets.randbits(127) + 1,
        span_id=secrets.randbits(63) + 1,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState([("vendor", "opaque"), ("other", "1")]),
    )


def expected(span: ReadableSpan) -> Span:
    """Reads off the SDK's own span what has to arrive, by OTLP's definition of the fields."""
    parent, scope = span.parent, span.instrumentation_scope
    assert span.start_time is not None and span.end_time is not None and scope is not None
    return Span(
        trace_id=f"{span.context.trace_id:032x}",
        span_id=f"{span.context.span_id:016x}",
        parent_span_id=f"{parent.span_id:016x}" if parent else "",
        name=span.name,
        kind=span.kind.name,
        start_unix_nanos=span.start_time,
        end_unix_nanos=span.end_time,
        attributes=plain(span.attributes),
        events=[
            Event(event.name, event.timestamp, plain(event.attributes), event.dropped_attributes)
            for event in span.events
        ],
        links=[expected_link(link) for link in span.links],
        status_code=span.status.status_code.name,
        status_message=span.status.description or "",
        trace_state=span.context.trace_state.to_header(),
        # The SDK's exporters leave the W3C flags in the low byte out.
        flags=remote_flags(parent),
        dropped_attributes=span.dropped_attributes,
        dropped_events=span.dropped_events,
        dropped_links=span.dropped_links,
        resource=plain(span.resource.attributes),
        scope_name=scope.name,
        scope_version=scope.version or "",
        scope_attributes=plain(scope.attributes),
    )


def expected_link(link: SdkLink) -> Link:
    return Link(
        trace_id=f"{link.context.trace_id:032x}",
        span_id=f"{link.context.span_id:016x}",
        # The SDK's exporters leave a link's trace state out.
        trace_state="",
        flags=remote_flags(link.context),
        attributes=plain(link.attributes),
        dropped_attributes=link.dropped_attributes,
    )


def remote_flags(context: SpanContext | None) -> int:
    is_remote = context is not None and context.is_remote
    return CONTEXT_HAS_IS_REMOTE | (CONTEXT_IS_REMOTE if is_remote else 0)


def plain(attributes: Mapping[str, AnyValue] | None) -> dict[str, object]:
    return {
        key: list(value) if isinstance(value, (tuple, list)) else value
        for key, value in (attributes or {}).items()
    }


def jaeger_answers(jaeger: Jaeger) -> bool:
    try:
        return jaeger.is_healthy()
    except ServerError:
        return True
