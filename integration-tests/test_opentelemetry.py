"""Spans of OpenTelemetry's own SDK through hiq arrive as they do from its own exporters."""

from __future__ import annotations

import dataclasses
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from hiq_servers import Collector, Server, Span
from hiq_servers.compare import assert_same_spans
from hiq_servers.measured import built_by_cargo
from hiq_servers.programs import plain_environment, run_program
from test_servers import send, spans_of_every_shape

PROTOCOLS = {"http/protobuf": "otlp_http", "http/json": "otlp_http", "grpc": "otlp_grpc"}


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_spans_of_the_sdk_arrive_as_from_its_own_exporter(
    protocol: str, server: Server, compared: Callable[[str, str, int], None]
) -> None:
    import hiq
    from hiq.opentelemetry import HiqSpanExporter

    service = f"sdk-{secrets.token_hex(8)}"
    exporter = HiqSpanExporter(hiq.OtlpExporter(server.url(PROTOCOLS[protocol]), protocol=protocol))
    spans = spans_of_every_shape(service)
    sent = list(map(whole, send(spans, exporter), spans))

    read = server.settled_spans_of_service(service)

    compared(f"OTLP {protocol} (OTel SDK, by hiq)", server.name, len(read))
    assert_same_spans(sent, read)
    (ledger,) = exporter.stats().values()
    assert ledger["offered"] == ledger["exported"] == len(sent)


def whole(sent: Span, span: ReadableSpan) -> Span:
    """With what the SDK's own exporter leaves out: trace flags, trace state of links."""
    links = [
        dataclasses.replace(
            link,
            trace_state=of_sdk.context.trace_state.to_header(),
            flags=link.flags | of_sdk.context.trace_flags,
        )
        for link, of_sdk in zip(sent.links, span.links, strict=True)
    ]
    return dataclasses.replace(sent, flags=sent.flags | span.context.trace_flags, links=links)


def test_spans_of_the_rust_sdk_arrive_as_from_its_own_exporter(
    collector: Collector, tmp_path: Path, compared: Callable[[str, str, int], None]
) -> None:
    """The example sends each span twice: by hiq, and by `opentelemetry-otlp`."""
    folder = built_by_cargo("hiq-opentelemetry", "--example", "opentelemetry_sdk") / "examples"
    service = f"rust-sdk-{secrets.token_hex(8)}"
    finished = run_program(
        [folder / "opentelemetry_sdk"],
        folder=tmp_path,
        environment={
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_endpoint,
            "OTEL_SERVICE_NAME": service,
        },
        timeout_seconds=60.0,
    ).require_success()
    assert finished.stderr == ""

    copies: dict[str, list[Span]] = {}
    for span in collector.settled_spans_of_service(service):
        copies.setdefault(span.span_id, []).append(span)

    assert sorted(map(len, copies.values())) == [2, 2, 2, 2]
    first, second = ([pair[place] for pair in copies.values()] for place in (0, 1))
    names = {span.name for span in first}
    assert names == {"order", "check stock", "charge card", "print receipt"}
    assert_same_spans(first, second)
    compared("OTLP http/protobuf (OTel Rust SDK, by hiq)", collector.name, len(first))


PROGRAM = """
from opentelemetry import trace
from opentelemetry.sdk._configuration import _OTelSDKConfigurator

# What `opentelemetry-instrument` does before a program starts.
_OTelSDKConfigurator().configure(auto_instrumentation_version="")
with trace.get_tracer("program").start_as_current_span("outer"):
    with trace.get_tracer("program").start_as_current_span("inner"):
        pass
"""


@pytest.mark.usefixtures("hiq_installed")
def test_the_sdk_picks_the_exporters_by_the_names_of_the_environment(
    collector: Collector, tmp_path: Path
) -> None:
    service = f"sdk-{secrets.token_hex(8)}"
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    environment = {
        "OTEL_TRACES_EXPORTER": "hiq_otlp,hiq_jaeger",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_SERVICE_NAME": service,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_endpoint,
        "OTEL_EXPORTER_JAEGER_ENDPOINT": collector.url("jaeger_http", "/api/traces"),
    }
    ran = subprocess.run(
        [sys.executable, script],
        env={**plain_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")

    read = collector.settled_spans_of_service(service)

    # Each span twice: once from each exporter.
    assert sorted(span.name for span in read) == ["inner", "inner", "outer", "outer"]
    assert len({span.span_id for span in read}) == 2
    # Jaeger's thrift knows no scope: the Collector has it among the attributes.
    assert sorted(span.scope_name for span in read) == ["", "", "program", "program"]
