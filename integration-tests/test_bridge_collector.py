"""The Collector's own Kafka exporter, in each encoding that it has, into `hiq bridge`."""

from __future__ import annotations

import dataclasses
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hiq_servers import Collector, CollectorIntoKafka, Kafka, Span
from hiq_servers.jaeger import Jaeger
from hiq_servers.measured import measure
from hiq_servers.pairs import (
    assert_balanced,
    assert_counted_in,
    compare,
    send_spans_of_every_shape,
)
from hiq_servers.spans import Attributes
from test_bridge_metrics import bridged, metrics_at
from test_jaeger import left_by_protobuf, without_lists
from test_metrics import Service, assert_same_points, over_otlp
from test_zipkin import seen_by, tags_of

MICROSECOND = 1_000
NO_FLAGS, SAMPLED, REMOTE = 0x100, 0x101, 0x200


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka(tmp_path_factory.mktemp("kafka")) as running:
        yield running


def nothing(span: Span) -> Span:
    return span


def left_by_jaeger(span: Span) -> Span:
    """The Collector sets no flags and has lists as texts and nothing of links but their ids:
    contrib's pkg/translator/jaeger/traces_to_jaegerproto.go."""
    return dataclasses.replace(
        span,
        attributes=without_lists(span.attributes),
        links=[
            dataclasses.replace(link, trace_state="", flags=0, attributes={}) for link in span.links
        ],
        flags=NO_FLAGS,
    )


def left_by_zipkin(span: Span) -> Span:
    """Values and the resource are tags, that is texts: contrib's
    pkg/translator/zipkin/zipkinv2/from_translator.go. A parent counts as remote where a Zipkin
    server would take it for that; links have no flags."""
    attributes = {**tags_of(span), **whole_floats_of(span)}
    is_remote = span.parent_span_id != "" and span.kind in ("SERVER", "CONSUMER")
    return dataclasses.replace(
        span,
        attributes=attributes,
        resource={"service.name": span.resource["service.name"]},
        links=[dataclasses.replace(link, flags=0) for link in span.links],
        flags=SAMPLED | (REMOTE if is_remote else 0),
    )


def whole_floats_of(span: Span) -> Attributes:
    """Without a point, as JavaScript writes them: `float64AsString` of pdata's pcommon/value.go."""
    floats = ((key, value) for key, value in span.attributes.items() if isinstance(value, float))
    return {key: str(int(value)) for key, value in floats if value.is_integer()}


ENCODINGS: dict[str, tuple[Callable[[Span], Span], int]] = {
    "otlp_proto": (nothing, 1),
    "otlp_json": (nothing, 1),
    "jaeger_proto": (left_by_jaeger, 1),
    # Which hiq reads and does not write.
    "jaeger_json": (left_by_jaeger, 1),
    "zipkin_proto": (left_by_zipkin, MICROSECOND),
    "zipkin_json": (left_by_zipkin, MICROSECOND),
}


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_a_collector_writes_to_a_topic_is_forwarded_span_by_span(
    encoding: str,
    kafka: Kafka,
    collector: Collector,
    tmp_path: Path,
    compared: Callable[[str, str, int], None],
) -> None:
    import hiq

    losses, unit_nanos = ENCODINGS[encoding]
    topic = f"by-collector-{encoding}-{secrets.token_hex(4)}"
    with CollectorIntoKafka(tmp_path, kafka, topic, encoding) as writer:
        sent = send_spans_of_every_shape(hiq.OtlpExporter(writer.otlp_endpoint))
    assert_balanced(sent, "exported")

    to_collector = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_endpoint}
    assert_forwarded(len(sent.spans), kafka, topic, tmp_path, "otlp", to_collector)
    read = collector.settled_spans_of_service(sent.service)
    seen = seen_by(collector) if encoding.startswith("zipkin") else nothing
    compare(sent, [seen(span) for span in read], losses)
    assert_counted_in(unit_nanos, read)
    compared(f"Collector's Kafka {encoding}, bridge", collector.name, len(read))


def assert_forwarded(
    count: int, kafka: Kafka, topic: str, folder: Path, to: str, environment: dict[str, str]
) -> None:
    """Forwards all that is there: so many spans, each delivered, and nothing is complained of."""
    finished = bridged(kafka, topic, folder, to=to, **environment).require_success()
    assert f"{count} spans read in" in finished.stdout
    assert f"{count} delivered\n" in finished.stdout
    assert finished.stderr == ""


@pytest.mark.usefixtures("hiq_installed")
def test_what_a_collector_writes_to_a_topic_is_forwarded_to_jaeger(
    kafka: Kafka, tmp_path: Path, compared: Callable[[str, str, int], None]
) -> None:
    import hiq

    topic = f"by-collector-to-jaeger-{secrets.token_hex(4)}"
    with CollectorIntoKafka(tmp_path, kafka, topic, "jaeger_json") as writer:
        sent = send_spans_of_every_shape(hiq.OtlpExporter(writer.otlp_endpoint))
    assert_balanced(sent, "exported")
    with Jaeger(tmp_path) as jaeger:
        by_grpc = {
            "OTEL_EXPORTER_JAEGER_ENDPOINT": jaeger.address("jaeger_grpc"),
            "OTEL_EXPORTER_JAEGER_PROTOCOL": "grpc",
        }
        assert_forwarded(len(sent.spans), kafka, topic, tmp_path, "jaeger", by_grpc)
        read = jaeger.settled_spans_of_service(sent.service)
    compare(sent, read, left_by_protobuf)
    compared("Collector's Kafka jaeger_json, bridge", jaeger.name, len(read))


@pytest.mark.usefixtures("hiq_installed")
def test_many_messages_that_cannot_be_read_are_told_of_in_a_few_lines(
    kafka: Kafka, tmp_path: Path
) -> None:
    import hiq

    topic = f"by-collector-unread-{secrets.token_hex(4)}"
    with CollectorIntoKafka(tmp_path, kafka, topic, "jaeger_json") as writer:
        sent = send_spans_of_every_shape(hiq.OtlpExporter(writer.otlp_endpoint))
    count = len(sent.spans)
    began = time.monotonic()
    finished = bridged(kafka, topic, tmp_path, "--encoding", "zipkin_json", to="console")
    minutes = int((time.monotonic() - began) / 60)
    assert finished.code == 1
    assert f"0 spans read in {count} messages, 0 delivered, {count} messages left out\n" in (
        finished.stdout
    )
    lines = finished.stderr.splitlines()
    for line in lines[:5]:
        assert re.fullmatch(
            rf"hiq: bridge: message \d+ of {topic}, .* it is no zipkin_json: .*", line
        )
    assert "hiq: bridge: 6 messages are left out by now, the last: message " in lines[5]
    assert len(lines) <= 6 + minutes


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json"])
def test_metrics_that_a_collector_writes_to_a_topic_are_forwarded_point_by_point(
    encoding: str,
    kafka: Kafka,
    collector: Collector,
    tmp_path: Path,
    compared: Callable[[str, str, int], None],
) -> None:
    topic, service = f"by-collector-metrics-{encoding}-{secrets.token_hex(4)}", Service()
    with CollectorIntoKafka(tmp_path, kafka, topic, encoding) as writer:
        way = over_otlp(writer.otlp_endpoint, "http/protobuf")
        measured = measure("otlp", tmp_path, service.environment(**way), "--series", 500)
    measured.assert_all_exported()

    way = over_otlp(collector.otlp_endpoint, "http/protobuf")
    finished = bridged(kafka, topic, tmp_path, to="otlp", **way).require_success()
    assert f"; {measured.points} points read, {measured.points} delivered\n" in finished.stdout
    assert finished.stderr == ""
    points = assert_same_points(measured.journal, metrics_at(collector, service.name))
    assert points == measured.points
    compared(f"metrics, Collector's Kafka {encoding}", collector.name, points)
