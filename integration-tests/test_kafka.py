"""Every encoding through a real broker into the servers that read it there; what a broker refuses.

What a format loses is said where the format itself is tested.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import REPOSITORY
from hiq_servers import (
    CollectorOnKafka,
    JaegerOnKafka,
    Kafka,
    KafkaOfCompose,
    Server,
    ZipkinOnKafka,
    run_program,
)
from hiq_servers.kafka import (
    CERTIFICATES,
    PASSWORD,
    SCRAM_PASSWORD,
    SCRAM_USER,
    STRANGER,
    USER,
)
from hiq_servers.measured import built_by_cargo, measure
from hiq_servers.pairs import (
    Pair,
    assert_balanced,
    assert_counted_in,
    compare,
    counts,
    send_spans_of_every_shape,
)
from hiq_servers.spans import Span
from hiq_servers.waiting import attempts_within
from test_jaeger import left_by_protobuf
from test_metrics import Service, assert_same_points
from test_zipkin import MICROSECOND, losses, seen_by

LIMIT_SECONDS = 120.0
ARRIVAL_SECONDS = 60.0
"""A reader finds a topic that was just made only when it looks for topics again."""


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture(scope="session")
def collector_on_kafka(
    kafka: Kafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CollectorOnKafka]:
    with CollectorOnKafka(tmp_path_factory.mktemp("servers"), kafka) as running:
        yield running


def nothing(span: Span) -> Span:
    return span


# By encoding: the topic where it is not the encoding's own, what the format loses at a server, and
# what its times are counted in.
ENCODINGS: dict[str, tuple[str | None, Callable[[Server], Callable[[Span], Span]], int]] = {
    "otlp_proto": (None, lambda _server: nothing, 1),
    "otlp_json": ("otlp_spans_json", lambda _server: nothing, 1),
    "jaeger_proto": (None, lambda _server: left_by_protobuf, 1),
    "zipkin_json": (None, functools.partial(losses, form="v2"), MICROSECOND),
    "zipkin_proto": ("zipkin_proto", functools.partial(losses, form="proto"), MICROSECOND),
}


def assert_read(encoding: str, server: Server, **settings: Any) -> int:
    """Sends spans of every shape, reads them at the server, compares. Returns how many."""
    import hiq

    topic, losses_at, unit_nanos = ENCODINGS[encoding]
    exporter = hiq.KafkaExporter(topic=topic, encoding=encoding, **settings)
    seen = seen_by(server) if encoding.startswith("zipkin") else nothing
    pair = Pair(f"Kafka {encoding}", lambda _server: exporter, losses_at(server), unit_nanos)
    sent = send_spans_of_every_shape(exporter)
    assert_balanced(sent, "exported")
    read = arrived(server, sent.service, len(sent.spans))
    compare(sent, [seen(span) for span in read], pair.losses)
    assert_counted_in(unit_nanos, read)
    return len(read)


def arrived(server: Server, service: str, count: int) -> list[Span]:
    read: list[Span] = []
    for _ in attempts_within(ARRIVAL_SECONDS):
        read = server.spans_of_service(service)
        if len(read) >= count:
            break
    return read


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_spans_of_every_shape_through_a_broker_into_the_collector(
    encoding: str,
    kafka: Kafka,
    collector_on_kafka: CollectorOnKafka,
    compared: Callable[[str, str, int], None],
) -> None:
    count = assert_read(encoding, collector_on_kafka, brokers=kafka.brokers)
    compared(f"Kafka {encoding}", collector_on_kafka.name, count)


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("settings", [{"key": "trace"}, {"key": "service", "compression": "zstd"}])
def test_keyed_and_compressed_messages_are_read_as_well(
    settings: dict[str, str],
    kafka: Kafka,
    collector_on_kafka: CollectorOnKafka,
    compared: Callable[[str, str, int], None],
) -> None:
    count = assert_read("otlp_proto", collector_on_kafka, brokers=kafka.brokers, **settings)
    shown = ", ".join(settings.values())
    compared(f"Kafka otlp_proto, {shown}", collector_on_kafka.name, count)


@pytest.mark.usefixtures("hiq_installed")
def test_spans_of_every_shape_through_a_broker_into_jaeger(
    kafka: Kafka, tmp_path: Path, compared: Callable[[str, str, int], None]
) -> None:
    with JaegerOnKafka(tmp_path, kafka) as jaeger:
        compared(
            "Kafka otlp_proto", "jaeger", assert_read("otlp_proto", jaeger, brokers=kafka.brokers)
        )


@pytest.mark.usefixtures("hiq_installed")
def test_spans_of_every_shape_through_a_broker_into_zipkin(
    kafka: Kafka, tmp_path: Path, compared: Callable[[str, str, int], None]
) -> None:
    with ZipkinOnKafka(tmp_path, kafka) as zipkin:
        compared(
            "Kafka zipkin_json", "zipkin", assert_read("zipkin_json", zipkin, brokers=kafka.brokers)
        )


def over_tls(kafka: Kafka, **settings: Any) -> dict[str, Any]:
    found = {
        "brokers": kafka.address("sasl_ssl"),
        "certificate": str(kafka.certificate),
        "username": USER,
        "password": PASSWORD,
    }
    return {**found, **settings}


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"profile": "oci-streaming"},
        {
            "sasl_mechanism": "SCRAM-SHA-512",
            "username": SCRAM_USER,
            "password": SCRAM_PASSWORD,
        },
    ],
    ids=["PLAIN", "as for OCI Streaming", "SCRAM-SHA-512"],
)
def test_user_and_password_over_tls(
    settings: dict[str, str],
    kafka: Kafka,
    collector_on_kafka: CollectorOnKafka,
    compared: Callable[[str, str, int], None],
    request: pytest.FixtureRequest,
) -> None:
    count = assert_read("otlp_proto", collector_on_kafka, **over_tls(kafka, **settings))
    title = f"Kafka otlp_proto, SASL_SSL {request.node.callspec.id}"
    compared(title, collector_on_kafka.name, count)


def with_certificate(kafka: Kafka) -> dict[str, str]:
    return {
        "brokers": kafka.address("ssl"),
        "certificate": str(kafka.certificate),
        "client_certificate": str(CERTIFICATES / "client.pem"),
        "client_key": str(CERTIFICATES / "client.key"),
    }


@pytest.mark.usefixtures("hiq_installed")
def test_a_certificate_of_ours_where_the_broker_wants_one(
    kafka: Kafka,
    collector_on_kafka: CollectorOnKafka,
    compared: Callable[[str, str, int], None],
) -> None:
    count = assert_read("otlp_proto", collector_on_kafka, **with_certificate(kafka))
    compared("Kafka otlp_proto, SSL both ways", collector_on_kafka.name, count)


@pytest.mark.usefixtures("hiq_installed")
def test_the_example_delivers_its_baskets(
    kafka: Kafka, collector_on_kafka: CollectorOnKafka, tmp_path: Path
) -> None:
    run_id = secrets.token_hex(8)
    finished = run_program(
        [sys.executable, REPOSITORY / "examples" / "kafka.py", "jaeger_proto"],
        folder=tmp_path,
        timeout_seconds=LIMIT_SECONDS,
        environment={
            "HIQ_KAFKA_BROKERS": kafka.brokers,
            "OTEL_RESOURCE_ATTRIBUTES": f"test.run={run_id}",
        },
    ).require_success()
    assert json.loads(finished.stdout) == {"offered": 20, "exported": 20, "queued": 0}
    for _ in attempts_within(ARRIVAL_SECONDS):
        read = collector_on_kafka.spans_of_service("orchard")
        ours = [span.name for span in read if span.resource.get("test.run") == run_id]
        if len(ours) >= 20:
            break
    assert collections.Counter(ours) == {"pick": 10, "weigh": 10}


def test_the_example_in_rust_and_a_broker_as_docker_compose_has_it(tmp_path: Path) -> None:
    example = built_by_cargo("hiq-kafka", "--example", "kafka") / "examples" / "kafka"
    with (
        KafkaOfCompose(tmp_path) as kafka,
        CollectorOnKafka(tmp_path, kafka) as collector,
    ):
        finished = run_program(
            [example],
            folder=tmp_path,
            timeout_seconds=LIMIT_SECONDS,
            environment={"HIQ_KAFKA_BROKERS": kafka.brokers},
        ).require_success()
        assert f"sending to kafka://{kafka.brokers}/otlp_spans" in finished.stdout
        read = arrived(collector, "orchard", 20)
    assert collections.Counter(span.name for span in read) == {"pick": 10, "weigh": 10}
    baskets = sorted(span.attributes["basket.number"] for span in read if span.name == "pick")
    assert baskets == list(range(10))


# --- metrics --------------------------------------------------------------------------------------

METRIC_TOPICS = {"otlp_proto": "otlp_metrics", "otlp_json": "otlp_metrics_json"}


@pytest.mark.parametrize("encoding", METRIC_TOPICS)
def test_every_point_of_a_program_through_a_broker_into_the_collector(
    encoding: str,
    kafka: Kafka,
    collector_on_kafka: CollectorOnKafka,
    tmp_path: Path,
    compared: Callable[[str, str, int], None],
) -> None:
    service = Service()
    environment = service.environment(
        HIQ_KAFKA_BROKERS=kafka.brokers,
        HIQ_KAFKA_METRICS_TOPIC=METRIC_TOPICS[encoding],
        HIQ_KAFKA_METRICS_ENCODING=encoding,
        HIQ_KAFKA_METRICS_KEY="service",
    )
    measured = measure("kafka", tmp_path, environment, "--series", 500)
    measured.assert_all_exported()
    points = assert_same_points(
        measured.journal, metrics_at(collector_on_kafka, service.name, "shop.numbered")
    )
    assert points == measured.points
    compared(f"metrics, Kafka {encoding}", collector_on_kafka.name, points)


@pytest.mark.usefixtures("hiq_installed")
def test_calls_that_python_counts_arrive_through_a_broker_as_often_as_they_were_made(
    kafka: Kafka, collector_on_kafka: CollectorOnKafka
) -> None:
    import hiq

    service = f"counted-{secrets.token_hex(8)}"
    metrics = [hiq.KafkaExporter(kafka.brokers, summaries="histogram")]
    hiq.init(service, exporters=[], metrics=metrics)
    try:
        for number in range(50):
            with hiq.trace("even" if number % 2 == 0 else "odd") as span:
                if number % 5 == 0:
                    span.set_status("error", "of purpose")
        assert hiq.flush(20.0)
        ledger = hiq.stats()["metrics-kafka"]
    finally:
        hiq.shutdown()
    # Calls, errors and durations of each.
    kept = {name: count for name, count in counts(ledger) if count}
    assert kept == {"offered": 6, "exported": 6}

    found = metrics_at(collector_on_kafka, service, "hiq.function.duration")
    for name, per_function in (("calls", 25), ("errors", 5)):
        points = found[f"hiq.function.{name}"]["sum"]["dataPoints"]
        assert of_function(points, "asInt") == {"even": per_function, "odd": per_function}
    durations = found["hiq.function.duration"]["exponentialHistogram"]["dataPoints"]
    assert of_function(durations, "count") == {"even": 25, "odd": 25}


def of_function(points: list[dict[str, Any]], field: str) -> dict[str, int]:
    """A number of each point, by the function that it is of."""
    found = {}
    for point in points:
        labels = {each["key"]: each["value"]["stringValue"] for each in point["attributes"]}
        found[labels["function"]] = int(point[field])
    return found


def metrics_at(collector: CollectorOnKafka, service: str, awaited: str) -> dict[str, Any]:
    """Metrics of a service by name, once the one that is `awaited` is there."""
    metrics: dict[str, Any] = {}
    for _ in attempts_within(ARRIVAL_SECONDS):
        for group in collector.metrics_of_service(service):
            for scope in group["scopeMetrics"]:
                metrics.update((metric["name"], metric) for metric in scope["metrics"])
        if awaited in metrics:
            break
    return metrics


# --- what goes wrong ------------------------------------------------------------------------------


def doctor(kafka: Kafka, folder: Path, **settings: str) -> str:
    """What `hiq doctor kafka` says of a cluster that does not take spans."""
    environment = {f"HIQ_KAFKA_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "hiq", "doctor", "--timeout", "20", "kafka"]
    finished = run_program(
        command, folder=folder, timeout_seconds=LIMIT_SECONDS, environment=environment
    )
    assert finished.code == 1, finished
    # librdkafka writes what it thinks to standard error unless it is kept from it.
    assert finished.stderr == "", finished.stderr
    for secret in (PASSWORD, "wrong-password"):
        assert secret not in finished.stdout
    return finished.stdout


@pytest.mark.usefixtures("hiq_installed")
def test_what_a_broker_refuses_ends_in_one_line_that_says_what_to_do(
    kafka: Kafka, tmp_path: Path
) -> None:
    said = functools.partial(doctor, kafka, tmp_path)
    secured = over_tls(kafka)
    wrong = said(**{**secured, "password": "wrong-password"})
    assert "check HIQ_KAFKA_USERNAME, HIQ_KAFKA_PASSWORD" in wrong
    stranger = said(**{**secured, "username": STRANGER})
    assert "not allowed to write to the topic `otlp_spans`" in stranger
    unknown = {name: value for name, value in secured.items() if name != "certificate"}
    assert "name the authority's PEM file by HIQ_KAFKA_CERTIFICATE" in said(**unknown)
    plain = said(brokers=kafka.address("sasl_ssl"))
    assert "HIQ_KAFKA_SECURITY_PROTOCOL" in plain


@pytest.mark.usefixtures("hiq_installed")
def test_without_a_certificate_or_with_a_strange_one_a_broker_that_wants_ours_ends_in_one_line(
    kafka: Kafka, tmp_path: Path
) -> None:
    ours = with_certificate(kafka)
    without = {name: ours[name] for name in ("brokers", "certificate")}
    strange = {
        "client_certificate": str(CERTIFICATES / "stranger.pem"),
        "client_key": str(CERTIFICATES / "stranger.key"),
    }
    for settings in (without, {**ours, **strange}):
        (_, said, *_) = doctor(kafka, tmp_path, **settings).splitlines()
        assert "FAILED" in said
        assert ".c:" not in said
        assert said.endswith(
            "name it and its key by HIQ_KAFKA_CLIENT_CERTIFICATE and HIQ_KAFKA_CLIENT_KEY"
        )


@pytest.mark.usefixtures("hiq_installed")
def test_a_topic_that_is_not_there_is_named_and_a_stopped_broker_too(tmp_path: Path) -> None:
    with Kafka(tmp_path, makes_topics=False) as kafka:
        missing = doctor(kafka, tmp_path, brokers=kafka.brokers, topic="not-there")
        assert "there is no topic `not-there`; create it" in missing
        kafka.stop()
        stopped = doctor(kafka, tmp_path, brokers=kafka.brokers)
        assert "Connection refused; is the broker running there?" in stopped


@pytest.mark.usefixtures("hiq_installed")
def test_a_broker_that_is_stopped_and_started_again_gets_every_span_once_or_says_so(
    tmp_path: Path, compared: Callable[[str, str, int], None]
) -> None:
    import hiq

    service = f"stopped-{secrets.token_hex(8)}"
    with Kafka(tmp_path) as kafka, contextlib.ExitStack() as stack:
        hiq.init(
            service,
            exporters=[hiq.KafkaExporter(kafka.brokers, timeout_s=2.0)],
            schedule_delay_s=0.02,
        )
        stack.callback(hiq.shutdown)
        made = 0
        for is_down in (False, True, False):
            if is_down:
                kafka.stop()
            elif made:
                kafka.start_again()
            for _ in range(200):
                with hiq.trace(f"work {made}"):
                    made += 1
        assert hiq.flush(60.0)
        (stats,) = hiq.stats().values()
        ledger = {name: count for name, count in counts(stats) if count}
        assert ledger == {"offered": made, "exported": made}
        with CollectorOnKafka(tmp_path, kafka) as collector:
            read = arrived(collector, service, made)
    names = {span.name for span in read}
    assert names == {f"work {number}" for number in range(made)}
    assert len(read) - made <= stats["possible_repeats"], stats
    compared("Kafka otlp_proto, broker restarted", "collector", len(read))
