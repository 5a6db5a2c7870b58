"""Jaeger's own formats into the real servers, which hold all that these formats can carry."""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest

from hiq_servers import Server
from hiq_servers.pairs import UDP_ATTEMPTS, Pair, arrived, assert_pair
from hiq_servers.spans import Attributes, Link, Span

MICROSECOND = 1_000


def left_by_protobuf(span: Span) -> Span:
    """The format has no lists, no attributes of links, and no flags that receivers hand on."""
    return dataclasses.replace(
        span,
        attributes=without_lists(span.attributes),
        links=[left_of_link(link) for link in span.links],
        flags=0,
    )


def left_by_thrift(span: Span) -> Span:
    """OpenTelemetry's reader of thrift leaves scope and trace state the tags that they travel as:
    `jThriftSpanToInternal` in pkg/translator/jaeger/jaegerthrift_to_traces.go, line 109, does not
    do what `jSpanToInternal` does for protobuf."""
    left = left_by_protobuf(span)
    tags = {"otel.scope.name": span.scope_name, "otel.scope.version": span.scope_version}
    if span.trace_state:
        tags["w3c.tracestate"] = span.trace_state
    attributes = {**left.attributes, **tags}
    return dataclasses.replace(
        left, attributes=attributes, scope_name="", scope_version="", trace_state=""
    )


def without_lists(attributes: Attributes) -> Attributes:
    return {
        key: json.dumps(value, separators=(",", ":")) if isinstance(value, list) else value
        for key, value in attributes.items()
    }


def left_of_link(link: Link) -> Link:
    # Receivers put the reference's type there.
    attributes = {"opentracing.ref_type": "follows_from"}
    return dataclasses.replace(link, trace_state="", flags=0, attributes=attributes)


def agent(port_name: str, protocol: str) -> Callable[[Server], Any]:
    def exporter(server: Server) -> Any:
        import hiq

        return hiq.JaegerExporter("127.0.0.1", server.ports[port_name], protocol=protocol)

    return exporter


def collector_by_http(server: Server) -> Any:
    import hiq

    return hiq.JaegerExporter(collector_endpoint=server.url("jaeger_http"))


def collector_by_grpc(server: Server) -> Any:
    import hiq

    endpoint = server.address("jaeger_grpc")
    return hiq.JaegerExporter(collector_endpoint=endpoint, protocol="grpc")


PAIRS = (
    Pair(
        "Jaeger UDP compact",
        agent("jaeger_compact", "udp/thrift.compact"),
        left_by_thrift,
        MICROSECOND,
        is_confirmed=False,
    ),
    Pair(
        "Jaeger UDP binary",
        agent("jaeger_binary", "udp/thrift.binary"),
        left_by_thrift,
        MICROSECOND,
        is_confirmed=False,
    ),
    Pair("Jaeger HTTP", collector_by_http, left_by_thrift, MICROSECOND),
    Pair("Jaeger gRPC", collector_by_grpc, left_by_protobuf),
)


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.title)
def test_spans_of_every_shape_read_back_but_for_the_formats_losses(
    pair: Pair, server: Server, compared: Callable[[str, str, int], None]
) -> None:
    compared(pair.title, server.name, assert_pair(pair, server))


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("member", ["JAEGER_THRIFT", "JAEGER_PROTOBUF"])
def test_hiqs_own_context_sends_by_the_members_of_its_exporter_type(
    member: str, server: Server, compared: Callable[[str, str, int], None]
) -> None:
    import hiq

    service = f"context-{secrets.token_hex(8)}"
    arguments: dict[str, Any] = {"collector_endpoint": server.address("jaeger_grpc")}
    if member == "JAEGER_THRIFT":
        port = server.ports["jaeger_compact"]
        arguments = {"agent_host_name": "127.0.0.1", "agent_port": port}
    kind = hiq.OtmExporterType[member]
    for _ in range(UDP_ATTEMPTS):
        context = hiq.HiQOpenTelemetryContext(kind, service_name=service, **arguments)
        with context, hiq.trace("outer") as outer, hiq.trace("inner") as inner:
            ids = {"outer": (outer.span_id, ""), "inner": (inner.span_id, outer.span_id)}
            trace_id = outer.trace_id
        read = arrived(server, service, len(ids))
        if read:
            break
    found = {span.name: (span.span_id, span.parent_span_id) for span in read}
    assert {span.trace_id for span in read} == {trace_id}
    assert found == ids
    compared(f"HiQ's {member}", server.name, len(read))
