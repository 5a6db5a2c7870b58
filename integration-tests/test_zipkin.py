"""Zipkin's formats into the real servers, which hold all that these formats can carry.

Where a server is said to change something, it is OpenTelemetry's reader that does, which Jaeger has
too: contrib's pkg/translator/zipkin, 0.155.0 in the Collector and 0.140.1 in Jaeger.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from hiq_servers import Server, Zipkin
from hiq_servers.jaeger import Jaeger
from hiq_servers.pairs import Pair, assert_pair
from hiq_servers.spans import Attributes, Event, Link, Span

MICROSECOND = 1_000
# Of the process, which hiq finds out by itself.
DETECTED = ("container.", "host.", "os.", "process.", "service.instance.", "telemetry.")

FORMATS = {"v2 JSON": "v2", "v1 JSON": "v1", "protobuf": "proto"}


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("form", FORMATS)
def test_spans_of_every_shape_read_back_but_for_the_formats_losses(
    form: str, zipkin_server: Server, compared: Callable[[str, str, int], None]
) -> None:
    pair = Pair(
        f"Zipkin {form}",
        functools.partial(exporter, format=FORMATS[form]),
        losses(zipkin_server, FORMATS[form]),
        MICROSECOND,
        seen=seen_by(zipkin_server),
    )
    compared(pair.title, zipkin_server.name, assert_pair(pair, zipkin_server))


@pytest.mark.usefixtures("hiq_installed")
def test_events_in_a_collectors_form_keep_their_attributes(
    server: Server, compared: Callable[[str, str, int], None]
) -> None:
    left = losses(server, "v2")

    def left_with_events(span: Span) -> Span:
        return dataclasses.replace(left(span), events=span.events)

    to_collector = functools.partial(exporter, format="v2", annotations="collector")
    title = "Zipkin v2 JSON, events for a Collector"
    pair = Pair(title, to_collector, left_with_events, MICROSECOND, seen=seen_by(server))
    compared(pair.title, server.name, assert_pair(pair, server))


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("form", FORMATS)
def test_words_and_keys_that_servers_trip_over_arrive(form: str, zipkin_server: Server) -> None:
    """Zipkin's `testForUnexpectedFormat` looks for words anywhere in a request, readers of version
    1 take some keys and events for marks, a Collector takes annotations apart at each bar."""
    import hiq

    words = ("binaryAnnotations", "tags", "GetEndpoint", '"tags', "sa", "ca", "ma", "lc", "cs")
    service = "odd-words"
    hiq.init(service, exporters=[exporter(zipkin_server, format=FORMATS[form], v1_addresses=False)])
    try:
        spans = []
        for word in words:
            with hiq.trace(word, kind="internal") as span:
                span.set_attributes({word: word, "other": word, "list": [word]})
                span.add_event(word)
                span.add_event(f"{word}|a|b", {"k|": "v|w", word: word})
            spans.append((span.trace_id, span.span_id))
        assert hiq.flush(20.0)
        ledger = hiq.stats()["zipkin"]
    finally:
        hiq.shutdown()
    assert (ledger["offered"], ledger["exported"]) == (len(words), len(words))
    for word, (trace_id, span_id) in zip(words, spans, strict=True):
        (read,) = zipkin_server.wait_for_trace(trace_id, at_least=1)
        assert (read.span_id, read.name.lower()) == (span_id, word.lower())
        renamed = FORMATS[form] == "v1" and word in ("sa", "ca", "ma", "lc")
        assert read.attributes[f"tag.{word}" if renamed else word] == word
        assert read.attributes["other"] == word
        with_attributes = f'"{word}\\u007ca\\u007cb": ' if word != '"tags' else None
        names = [event.name for event in read.events]
        assert (f'"{word}"' if FORMATS[form] == "v1" and word == "cs" else word) in names
        if with_attributes:
            assert any(name.startswith(with_attributes) for name in names), names


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("form", FORMATS)
def test_zipkin_sees_both_ends(form: str, zipkin_server: Server) -> None:
    """Only a Zipkin server understands version 1's addresses; it draws its map from both ends."""
    if not isinstance(zipkin_server, Zipkin):
        return
    import hiq

    settings = {"local_ip": "192.0.2.7", "local_port": 8080, "v1_addresses": True}
    hiq.init("ends", exporters=[exporter(zipkin_server, format=FORMATS[form], **settings)])
    try:
        peer = {"peer.service": "db", "network.peer.address": "2001:db8::1"}
        with hiq.trace("ask", kind="client", **peer, **{"network.peer.port": 5432}) as span:
            pass
        assert hiq.flush(20.0)
    finally:
        hiq.shutdown()
    (read,) = zipkin_server.wait_for_trace(span.trace_id, at_least=1)
    far_side = {"serviceName": "db", "ipv6": "2001:db8::1", "port": 5432}
    assert read.attributes["remoteEndpoint"] == far_side
    assert zipkin_server.local_endpoint_of(span.trace_id) == {
        "serviceName": "ends",
        "ipv4": "192.0.2.7",
        "port": 8080,
    }


@pytest.mark.usefixtures("hiq_installed")
def test_the_collectors_own_refusal_costs_only_the_span_it_is_about(zipkin_server: Server) -> None:
    """A tag that looks like a link and is none makes OpenTelemetry's reader refuse the whole
    request: `zTagsToSpanLinks` in zipkinv2/to_translator.go. Halving finds it."""
    import hiq

    hiq.init("halves", exporters=[exporter(zipkin_server, format="v2")])
    try:
        with hiq.trace("root") as root:
            for number in range(40):
                bad = {"otlp.link.0": "a|b|c|d|e"} if number == 17 else {}
                with hiq.trace(f"child {number}", **bad):
                    pass
        assert hiq.flush(20.0)
        ledger = hiq.stats()["zipkin"]
    finally:
        hiq.shutdown()
    lost = 0 if isinstance(zipkin_server, Zipkin) else 1
    assert (ledger["offered"], ledger["exported"], ledger["rejected"]) == (41, 41 - lost, lost)
    read = zipkin_server.wait_for_trace(root.trace_id, at_least=41 - lost)
    names = sorted(span.name for span in read)
    expected = ["root", *(f"child {number}" for number in range(40) if number != 17 or not lost)]
    assert names == sorted(expected)


def exporter(server: Server, **settings: Any) -> Any:
    import hiq

    return hiq.ZipkinExporter(server.url("zipkin"), **settings)


# --- what is left ---------------------------------------------------------------------------------


def losses(server: Server, form: str) -> Callable[[Span], Span]:
    if isinstance(server, Zipkin):
        return left_by_zipkins_protobuf if form == "proto" else left_by_zipkin
    if form == "v1":
        return left_by_version_1
    return functools.partial(left_by_reader, scope_is_read=not isinstance(server, Jaeger))


def left_by_zipkin(span: Span) -> Span:
    """All that is no field of Zipkin's is a tag; names are in lower case (`Span.Builder.name` of
    zipkin2), annotations sorted (`Span.sortedList`)."""
    tags = {**tags_of(span), **links_of(span), **status_of(span), **scope_of(span)}
    if span.kind == "INTERNAL":
        tags["span.kind"] = "internal"
    if span.trace_state:
        tags["w3c.tracestate"] = span.trace_state
    kind = "UNSPECIFIED" if span.kind == "INTERNAL" else span.kind
    events = sorted(events_of(span), key=lambda event: event.name)
    return bare(span, name=span.name.lower(), kind=kind, attributes=tags, events=events)


def left_by_zipkins_protobuf(span: Span) -> Span:
    """Zipkin 3.6.1 takes an annotation without a text for none: `AnnotationField` in
    zipkin2/internal/Proto3ZipkinFields.java, line 150."""
    left = left_by_zipkin(span)
    return dataclasses.replace(left, events=[event for event in left.events if event.name])


def left_by_reader(span: Span, scope_is_read: bool) -> Span:
    """The reader of version 2 and protobuf takes links, status, trace state, and since 0.15x the
    scope, out of the tags again (zipkinv2/to_translator.go). It knows no status OK
    (`statusCodeValue`), and any tag `error` stays (`populateSpanStatus`)."""
    is_error = span.status_code == "ERROR"
    attributes = tags_of(span)
    if is_error:
        attributes["error"] = span.status_message
    if not scope_is_read:
        attributes.update(scope_of(span))
    return bare(
        span,
        kind=span.kind,
        attributes=attributes,
        events=events_of(span),
        links=[dataclasses.replace(link, flags=0) for link in span.links],
        status_code="ERROR" if is_error else "UNSET",
        status_message=span.status_message if is_error else "",
        trace_state=span.trace_state,
        scope_name=span.scope_name if scope_is_read else "",
        scope_version=span.scope_version if scope_is_read else "",
    )


def left_by_version_1(span: Span) -> Span:
    """The reader of version 1 leaves all but the status in the attributes, and drops annotations
    without a text (`jsonAnnotationsToSpanAndEndpoint` in zipkinv1/json.go)."""
    left = left_by_zipkin(span)
    status = status_of(span)
    attributes = {key: value for key, value in left.attributes.items() if key not in status}
    is_error = span.status_code == "ERROR"
    return dataclasses.replace(
        left,
        name=span.name,
        attributes=attributes,
        events=[event for event in events_of(span) if event.name],
        status_code="ERROR" if is_error else "UNSET",
        status_message=span.status_message if is_error else "",
    )


def bare(span: Span, **kept: Any) -> Span:
    nothing = dataclasses.replace(
        span,
        links=[],
        status_code="UNSET",
        status_message="",
        trace_state="",
        flags=0,
        resource={"service.name": span.resource["service.name"]},
        scope_name="",
        scope_version="",
        scope_attributes={},
    )
    return dataclasses.replace(nothing, **kept)


def tags_of(span: Span) -> Attributes:
    resource = {key: value for key, value in span.resource.items() if key != "service.name"}
    return {key: text_of(value) for key, value in {**resource, **span.attributes}.items()}


def text_of(value: Any) -> str:
    """OpenTelemetry's "AnyValue representation for non-OTLP protocols"."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def events_of(span: Span) -> list[Event]:
    """OpenTelemetry's specification of Zipkin exporters: `"name": {attributes}`."""
    return [
        dataclasses.replace(event, name=words_of(event), attributes={}) for event in span.events
    ]


def words_of(event: Event) -> str:
    if not event.attributes:
        return event.name
    return f"{json.dumps(event.name, ensure_ascii=False)}: {text_of(event.attributes)}"


def links_of(span: Span) -> Attributes:
    return {f"otlp.link.{number}": words_of_link(link) for number, link in enumerate(span.links)}


def words_of_link(link: Link) -> str:
    attributes = text_of(link.attributes)
    return f"{link.trace_id}|{link.span_id}|{link.trace_state}|{attributes}|0"


def status_of(span: Span) -> Attributes:
    match span.status_code:
        case "OK":
            return {"otel.status_code": "OK"}
        case "ERROR":
            message = span.status_message
            tags = {"otel.status_code": "ERROR", "error": message}
            return {**tags, "otel.status_description": message} if message else tags
    return {}


def scope_of(span: Span) -> Attributes:
    return {"otel.scope.name": span.scope_name, "otel.scope.version": span.scope_version}


def seen_by(server: Server) -> Callable[[Span], Span]:
    """Without what hiq finds out about the process, which is compared where the shop is."""

    def seen(span: Span) -> Span:
        attributes = {
            key: value for key, value in span.attributes.items() if not key.startswith(DETECTED)
        }
        events = span.events
        if isinstance(server, Zipkin):
            events = sorted(events, key=lambda event: event.name)
        return dataclasses.replace(span, attributes=attributes, events=events)

    return seen
