"""`hiq bridge` and metrics: a real broker into Prometheus and the Collector, whoever is killed.

What is expected comes from the journal of the program `measure`, or was made up here and encoded by
OpenTelemetry's own protobuf classes.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import random
import re
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToJson  # type: ignore[import-untyped]
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE as CUMULATIVE,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_DELTA as DELTA
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from hiq_servers import (
    BackgroundProgram,
    Collector,
    Finished,
    Kafka,
    OldPrometheusForProtobuf,
    Prometheus,
    Sample,
    run_program,
)
from hiq_servers.kafka import java
from hiq_servers.measured import Measured, measure
from hiq_servers.pairs import compare
from servers.build import server_binary
from test_bridge import (
    LIMIT_SECONDS,
    Calls,
    assert_counted,
    command,
    refusing,
    send,
    send_calls,
    series_of,
)
from test_metrics import (
    OF_OTLP_PATH,
    Service,
    assert_same_points,
    assert_same_series,
    over_otlp,
    over_remote_write,
)
from test_oracle_cloud import COMPARTMENT, KEYS, cloud, server  # noqa: F401 - two are fixtures

pytestmark = pytest.mark.usefixtures("hiq_installed")

PRODUCE = Path(__file__).parent / "programs" / "Produce.java"
SECOND = 1_000_000_000
MILLISECOND = 1_000_000

Compared = Callable[[str, str, int], None]


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka(tmp_path_factory.mktemp("kafka")) as running:
        yield running


def new_topic(name: str) -> str:
    return f"{name}-{secrets.token_hex(4)}"


def bridged(
    kafka: Kafka, topic: str, folder: Path, *options: str, to: str, **environment: str
) -> Finished:
    """Forwards all that is there."""
    return run_program(
        command(kafka, topic, "--until-end", *options, to=to),
        folder=folder,
        environment=environment,
        timeout_seconds=LIMIT_SECONDS,
    )


def measured_to(
    kafka: Kafka, topic: str, service: Service, folder: Path, encoding: str = "otlp_proto"
) -> Measured:
    """A snapshot of the program `measure` as messages of a topic."""
    environment = service.environment(
        HIQ_KAFKA_BROKERS=kafka.brokers,
        HIQ_KAFKA_METRICS_TOPIC=topic,
        HIQ_KAFKA_METRICS_ENCODING=encoding,
    )
    measured = measure("kafka", folder, environment, "--series", 500)
    measured.assert_all_exported()
    return measured


# --- what programs with hiq write -----------------------------------------------------------------

ENCODINGS = ("otlp_proto", "otlp_json")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("version", ["1", "2"])
def test_every_series_in_a_topic_is_written_remotely_as_it_is(
    encoding: str,
    version: str,
    kafka: Kafka,
    prometheus: Prometheus,
    tmp_path: Path,
    compared: Compared,
) -> None:
    topic, service = new_topic("written"), Service()
    measured = measured_to(kafka, topic, service, tmp_path, encoding)
    way = over_remote_write(prometheus, version)
    finished = bridged(kafka, topic, tmp_path, to="prometheus", **way)
    assert_forwarded(finished, measured.points)
    series = assert_same_series(measured, prometheus, service)
    compared(f"metrics, Kafka {encoding}, hiq bridge, remote write", prometheus.name, series)
    assert_committed(kafka, topic, tmp_path)


def assert_forwarded(finished: Finished, points: int) -> None:
    finished.require_success()
    assert f"; {points} points read, {points} delivered\n" in finished.stdout, finished
    assert finished.stderr == ""


def assert_committed(kafka: Kafka, topic: str, folder: Path) -> None:
    """Nothing is left for another bridge of the group."""
    again = bridged(kafka, topic, folder, to="console").require_success()
    assert "0 spans read in 0 messages, 0 delivered\n" in again.stdout


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("protocol", ["http/protobuf", "http/json"])
def test_every_series_in_a_topic_is_sent_to_prometheus_by_otlp(
    encoding: str,
    protocol: str,
    kafka: Kafka,
    prometheus: Prometheus,
    tmp_path: Path,
    compared: Compared,
) -> None:
    topic, service = new_topic("otlp"), Service()
    measured = measured_to(kafka, topic, service, tmp_path, encoding)
    way = over_otlp(prometheus.url("web", OF_OTLP_PATH), protocol)
    assert_forwarded(bridged(kafka, topic, tmp_path, to="otlp", **way), measured.points)
    series = assert_same_series(measured, prometheus, service)
    compared(f"metrics, Kafka {encoding}, hiq bridge, {protocol}", prometheus.name, series)
    assert_committed(kafka, topic, tmp_path)


def test_spans_and_metrics_of_one_topic_go_each_to_its_own_service_of_grpc(
    kafka: Kafka, collector: Collector, tmp_path: Path, compared: Compared
) -> None:
    topic, service = new_topic("mixed"), Service()
    sent = send(kafka, topic, "otlp_proto")
    measured = measured_to(kafka, topic, service, tmp_path, "otlp_json")
    way = over_otlp(collector.url("otlp_grpc"), "grpc")
    finished = bridged(kafka, topic, tmp_path, to="otlp", **way)
    assert f"{len(sent.spans)} spans read in " in finished.stdout
    assert_forwarded(finished, measured.points)

    compare(sent, collector.settled_spans_of_service(sent.service), lambda span: span)
    points = assert_same_points(measured.journal, metrics_at(collector, service.name))
    assert points == measured.points
    compared("metrics, Kafka otlp_json, hiq bridge, gRPC", collector.name, points)
    assert_committed(kafka, topic, tmp_path)


def metrics_at(collector: Collector, service: str) -> dict[str, Metric]:
    """Metrics of a service by name, in OTLP's JSON."""
    groups = collector.wait_for_metrics(service)
    scopes = [scope for group in groups for scope in group["scopeMetrics"]]
    return {metric["name"]: metric for scope in scopes for metric in scope["metrics"]}


def test_for_prometheus_spans_are_counted_and_the_metrics_beside_them_keep_their_instance(
    kafka: Kafka, tmp_path: Path, compared: Compared
) -> None:
    topic, service, calls = new_topic("counted"), Service(), Calls(50)
    send_calls(calls, kafka, topic, tmp_path, "otlp_proto")
    measured = measured_to(kafka, topic, service, tmp_path)
    with OldPrometheusForProtobuf(tmp_path) as prometheus:
        way = over_remote_write(prometheus, "auto")
        finished = bridged(
            kafka, topic, tmp_path, to="prometheus", OTEL_SERVICE_NAME=topic, **way
        ).require_success()
        assert f"{calls.spans} spans read in " in finished.stdout
        assert f", {calls.spans} delivered; " in finished.stdout
        assert f"{measured.points} points read, {measured.points} delivered\n" in finished.stdout
        instance = assert_counted(calls, series_of(prometheus, topic))
        assert instance != service.labels["instance"]
        series = assert_same_series(measured, prometheus, service)
    compared("metrics beside spans, Kafka, hiq bridge", prometheus.name, series)
    assert_committed(kafka, topic, tmp_path)


def test_from_topic_to_topic_and_never_in_a_circle(
    kafka: Kafka, prometheus: Prometheus, tmp_path: Path
) -> None:
    first, second, service = new_topic("first"), new_topic("second"), Service()
    measured = measured_to(kafka, first, service, tmp_path)
    of_second = {
        "HIQ_KAFKA_BROKERS": kafka.brokers,
        "HIQ_KAFKA_METRICS_TOPIC": second,
        "HIQ_KAFKA_METRICS_ENCODING": "otlp_json",
    }
    assert_forwarded(bridged(kafka, first, tmp_path, to="kafka", **of_second), measured.points)
    circle = bridged(kafka, second, tmp_path, to="kafka", **of_second)
    assert circle.code == 2
    assert "name another topic by HIQ_KAFKA_METRICS_TOPIC" in circle.stderr
    way = over_remote_write(prometheus, "auto")
    assert_forwarded(bridged(kafka, second, tmp_path, to="prometheus", **way), measured.points)
    assert_same_series(measured, prometheus, service)


# --- what other programs write --------------------------------------------------------------------


class Request:
    """A request of OTLP for one sender, encoded by OpenTelemetry's own classes."""

    def __init__(self, service: str, instance: str) -> None:
        self.message = ExportMetricsServiceRequest()
        group = self.message.resource_metrics.add()
        names = {"service.name": service, "service.instance.id": instance, "host.name": "h"}
        for key, value in names.items():
            attribute = group.resource.attributes.add()
            attribute.key, attribute.value.string_value = key, value
        self._scope = group.scope_metrics.add()
        self._scope.scope.name = "of others"

    def gauge(self, name: str, *points: tuple[int, float], **labels: str) -> Request:
        """Points are times in Unix nanoseconds, and values."""
        metric = self._metric(name)
        for unix_nanos, value in points:
            point = metric.gauge.data_points.add()
            point.time_unix_nano, point.as_double = unix_nanos, value
            _label(point, labels)
        return self

    def total(
        self,
        name: str,
        unix_nanos: int,
        value: int,
        temporality: AggregationTemporality.ValueType = CUMULATIVE,
        **labels: str,
    ) -> Request:
        counted = self._metric(name).sum
        counted.is_monotonic, counted.aggregation_temporality = True, temporality
        point = counted.data_points.add()
        point.start_time_unix_nano = unix_nanos - 60 * SECOND
        point.time_unix_nano, point.as_int = unix_nanos, value
        _label(point, labels)
        return self

    def histogram(
        self, name: str, unix_nanos: int, values: Sequence[float], bounds: Sequence[float]
    ) -> Request:
        histogram = self._metric(name).histogram
        histogram.aggregation_temporality = CUMULATIVE
        point = histogram.data_points.add()
        point.start_time_unix_nano = unix_nanos - 60 * SECOND
        point.time_unix_nano, point.count, point.sum = unix_nanos, len(values), sum(values)
        point.explicit_bounds.extend(bounds)
        edges = [float("-inf"), *bounds, float("inf")]
        for low, high in itertools.pairwise(edges):
            point.bucket_counts.append(sum(low < value <= high for value in values))
        return self

    def proto(self) -> bytes:
        return bytes(self.message.SerializeToString())

    def json(self) -> bytes:
        return bytes(MessageToJson(self.message), "utf-8")

    def _metric(self, name: str) -> Metric:
        metric: Metric = self._scope.metrics.add()
        metric.name = name
        return metric


def _label(point: object, labels: dict[str, str]) -> None:
    for key, value in labels.items():
        attribute = point.attributes.add()  # type: ignore[attr-defined]
        attribute.key, attribute.value.string_value = key, value


def produce_command(
    kafka: Kafka, topic: str, folder: Path, values: Sequence[bytes], pause_millis: int = 0
) -> list[str | Path]:
    """A program that writes messages without headers, all into one partition."""
    file = folder / f"{topic}.lines"
    file.write_text("".join(f"0 {base64.b64encode(value).decode()}\n" for value in values))
    return [*java(server_binary("kafka")), PRODUCE, kafka.brokers, topic, file, str(pause_millis)]


def produce(kafka: Kafka, topic: str, folder: Path, *values: bytes) -> None:
    run_program(
        produce_command(kafka, topic, folder, values), folder=folder, timeout_seconds=LIMIT_SECONDS
    ).require_success()


@pytest.mark.parametrize("form", ["proto", "json"])
def test_messages_of_others_without_a_header_are_known_by_their_looks(
    form: str, kafka: Kafka, prometheus: Prometheus, tmp_path: Path, compared: Compared
) -> None:
    topic, service = new_topic(f"foreign-{form}"), Service().name
    now = time.time_ns() // MILLISECOND * MILLISECOND
    waits = [random.uniform(0, 2) for _ in range(50)]
    request = (
        Request(service, "7")
        .gauge("depth", (now, 2.5), queue="Hà Nội")
        .total("orders", now, 41, city="Bern")
        .total("visits", now, 3, DELTA)
        .histogram("wait", now, waits, [0.5, 1.0])
    )
    produce(kafka, topic, tmp_path, request.json() if form == "json" else request.proto())
    way = over_remote_write(prometheus, "auto")
    finished = bridged(kafka, topic, tmp_path, to="prometheus", **way)
    assert finished.code == 1
    words = "0 spans read in 1 messages, 0 delivered; 4 points read, 3 delivered, 1 left out"
    assert words in finished.stdout, finished
    assert "1 point left out: 1 that are deltas, where totals since a start are kept" in (
        finished.stderr
    )

    own = {"job": service, "instance": "7"}
    selector = f'{{job="{service}"}}'
    prometheus.wait_for_query(selector)
    points = {
        tuple(sorted(labels.items())): values for labels, values in prometheus.points(selector)
    }

    def stored(name: str, **labels: str) -> float:
        # What has a start comes after a zero at that moment, which Prometheus puts there.
        *zeros, (unix_seconds, value) = points[
            tuple(sorted({"__name__": name, **own, **labels}.items()))
        ]
        assert all(float(zero) == 0 for _, zero in zeros)
        assert round(unix_seconds * 1000) == now // MILLISECOND
        return float(value)

    assert stored("depth", queue="Hà Nội") == 2.5
    assert stored("orders_total", city="Bern") == 41
    for bound, limit in (("0.5", 0.5), ("1.0", 1.0), ("+Inf", 3.0)):
        assert stored("wait_bucket", le=bound) == sum(wait <= limit for wait in waits)
    assert stored("wait_count") == len(waits)
    assert stored("wait_sum") == pytest.approx(sum(waits), rel=1e-12)
    assert stored("target_info", host_name="h") == 1
    assert len(points) == 8
    compared(f"metrics of others, Kafka otlp_{form}, hiq bridge", prometheus.name, len(points))
    assert_committed(kafka, topic, tmp_path)


def test_every_point_of_a_series_is_stored_and_one_that_comes_too_late_costs_no_other(
    kafka: Kafka, prometheus: Prometheus, tmp_path: Path
) -> None:
    topic, service = new_topic("ordered"), Service().name
    base = time.time_ns() // MILLISECOND * MILLISECOND - 60 * SECOND
    moments = [base + number * 100 * MILLISECOND for number in range(200)]
    requests = [
        Request(service, "1").gauge("level", (moment, number))
        for number, moment in enumerate(moments)
    ]
    # Once more, with another value: Prometheus has newer ones by then.
    late = Request(service, "1").gauge("level", (moments[50], -1.0)).gauge("other", (base, 7.0))
    last = Request(service, "1").gauge("level", (moments[-1] + MILLISECOND, 1000.0))
    produce(kafka, topic, tmp_path, *[each.proto() for each in (*requests, late, last)])
    way = over_remote_write(prometheus, "auto")
    finished = bridged(kafka, topic, tmp_path, to="prometheus", **way)
    assert finished.code == 1
    assert "203 points read, 202 delivered, 1 lost" in finished.stdout, finished
    assert "out of order sample" in finished.stderr, finished

    selector = f'level{{job="{service}"}}'
    prometheus.wait_for_query(selector)
    ((_, values),) = prometheus.points(selector)
    stored = [(round(unix_seconds * 1000), float(value)) for unix_seconds, value in values]
    expected = [(moment // MILLISECOND, float(at)) for at, moment in enumerate(moments)]
    assert stored == [*expected, (moments[-1] // MILLISECOND + 1, 1000.0)]
    (other,) = prometheus.query(f'other{{job="{service}"}}')
    assert other.value == 7.0
    assert_committed(kafka, topic, tmp_path)


def test_a_bridge_that_is_killed_in_mid_stream_loses_no_point(
    kafka: Kafka, prometheus: Prometheus, tmp_path: Path, compared: Compared
) -> None:
    topic, service = new_topic("killed"), Service().name
    count, enough = 6_000, 400
    now = time.time_ns()
    # Each message has a series of its own, which may come twice, and the next point of one that all
    # have, which Prometheus takes once and in order alone.
    requests = [
        Request(service, "1")
        .gauge("work", (now, number), number=str(number))
        .gauge("tick", (now + number * MILLISECOND, number))
        for number in range(count)
    ]
    values = [request.proto() for request in requests]
    counted = f'count(work{{job="{service}"}})'
    way = over_remote_write(prometheus, "auto")

    def wait_for_count(wanted: int) -> Sample:
        (total,) = prometheus.wait_for_query(
            counted, lambda found: bool(found and found[0].value >= wanted)
        )
        return total

    with contextlib.ExitStack() as stack:

        def start(name: str, program: list[str] | list[str | Path]) -> BackgroundProgram:
            background = BackgroundProgram(
                program, folder=tmp_path, output=tmp_path / name, environment=way
            )
            return stack.enter_context(background)

        producer = start("producer.txt", produce_command(kafka, topic, tmp_path, values, 1))
        for number in range(2):
            bridge = start(f"{number}.txt", command(kafka, topic, to="prometheus"))
            wait_for_count((number + 1) * enough)
            bridge.send_signal(signal.SIGKILL)
            bridge.finish(LIMIT_SECONDS)
        producer.finish(LIMIT_SECONDS).require_success()
    last = bridged(kafka, topic, tmp_path, to="prometheus", **way)

    assert wait_for_count(count).value == count, last
    found = {
        sample.labels["number"]: sample.value
        for sample in prometheus.query(f'work{{job="{service}"}}')
    }
    assert found == {str(number): float(number) for number in range(count)}
    ((_, ticks),) = prometheus.points(f'tick{{job="{service}"}}')
    assert [float(value) for _, value in ticks] == list(range(count))
    read = int(re.findall(r"(\d+) points read", last.stdout)[0])
    assert read <= 2 * (count - enough), last
    assert_committed(kafka, topic, tmp_path)
    compared("metrics, Kafka, hiq bridge killed twice", prometheus.name, count)


# --- what is not taken ----------------------------------------------------------------------------


def test_points_that_a_backend_cannot_take_now_stay_in_the_topic(
    kafka: Kafka, prometheus: Prometheus, tmp_path: Path
) -> None:
    topic, service = new_topic("unreached"), Service()
    measured = measured_to(kafka, topic, service, tmp_path)
    # Nobody listens on this port of the discard protocol.
    nowhere = {"HIQ_REMOTE_WRITE_ENDPOINT": "http://127.0.0.1:9", "HIQ_SHUTDOWN_TIMEOUT": "300"}
    with BackgroundProgram(
        command(kafka, topic, to="remote_write"),
        folder=tmp_path,
        output=tmp_path / "bridge.txt",
        environment=nowhere,
    ) as bridge:
        bridge.wait_for_output(r"remote_write exporter: \d+ points wait", LIMIT_SECONDS)
        bridge.send_signal(signal.SIGTERM)
        ended = bridge.finish(LIMIT_SECONDS)
    left = f"{measured.points} not delivered and not committed: they stay in the topic"
    assert left in ended.stdout, ended
    way = over_remote_write(prometheus, "auto")
    assert_forwarded(bridged(kafka, topic, tmp_path, to="prometheus", **way), measured.points)
    assert_same_series(measured, prometheus, service)


@pytest.mark.parametrize(("status", "is_lost"), [(503, False), (400, True)])
def test_a_refusal_is_for_good_and_a_server_that_is_busy_is_asked_again(
    status: int, is_lost: bool, kafka: Kafka, tmp_path: Path
) -> None:
    topic = new_topic("refused")
    requests = [
        Request("r", "1").gauge("level", (time.time_ns(), 1.0), number=str(number)).proto()
        for number in range(4)
    ]
    produce(kafka, topic, tmp_path, *requests)
    with refusing(status, every=2) as url:
        finished = bridged(kafka, topic, tmp_path, to="prometheus", HIQ_REMOTE_WRITE_ENDPOINT=url)
    if is_lost:
        assert finished.code == 1
        assert "4 points read, 2 delivered, 2 lost; the lines above say why" in finished.stdout
        assert "400" in finished.stderr
    else:
        finished.require_success()
        assert "4 points read, 4 delivered\n" in finished.stdout
    assert_committed(kafka, topic, tmp_path)


def test_what_nobody_takes_is_left_out_counted_and_said_once(
    kafka: Kafka, collector: Collector, tmp_path: Path
) -> None:
    topic = new_topic("spans-only")
    sent = send(kafka, topic, "otlp_json")
    gauges = [
        Request("r", "1").gauge("level", (time.time_ns(), 1.0), number=str(number)).proto()
        for number in range(3)
    ]
    logs = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [{}]}]}]}).encode()
    produce(kafka, topic, tmp_path, *gauges, logs)
    zipkin = {"OTEL_EXPORTER_ZIPKIN_ENDPOINT": collector.url("zipkin", "/api/v2/spans")}
    finished = bridged(kafka, topic, tmp_path, to="zipkin", **zipkin)
    assert finished.code == 1
    spans = len(sent.spans)
    words = f"{spans} delivered, 1 messages left out; 3 points read, 0 delivered, 3 left out"
    assert words in finished.stdout, finished
    once = "hiq: bridge: zipkin takes no metrics: they are left out and counted\n"
    assert finished.stderr.count(once) == 1, finished
    assert "it holds logs, which hiq does not read" in finished.stderr
    assert_committed(kafka, topic, tmp_path)

    both = bridged(
        kafka,
        topic,
        tmp_path,
        "--group",
        f"{topic}-both",
        to="zipkin,otlp",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.otlp_endpoint,
        **zipkin,
    )
    assert "3 points read, 3 delivered\n" in both.stdout
    assert "zipkin takes no metrics: they go to the others alone" in both.stderr


def test_messages_that_are_said_to_hold_what_their_encoding_has_not_are_left_out(
    kafka: Kafka, tmp_path: Path
) -> None:
    topic = new_topic("wrong")
    produce(kafka, topic, tmp_path, b"[]")
    finished = bridged(
        *(kafka, topic, tmp_path, "--encoding", "zipkin_json", "--signal", "metrics"), to="console"
    )
    assert finished.code == 1
    assert "it is said to hold metrics, which zipkin_json has not" in finished.stderr
    assert "1 messages left out" in finished.stdout


def test_oracle_s_monitoring_is_given_the_metrics_of_a_topic_and_no_spans(
    request: pytest.FixtureRequest, kafka: Kafka, tmp_path: Path
) -> None:
    oracle, running = request.getfixturevalue("cloud"), request.getfixturevalue("server")
    running.answer = running.take_metrics()
    topic = new_topic("monitoring")
    sent = send(kafka, topic, "otlp_proto")
    depth = Request("mill", "3").gauge("depth", (time.time_ns(), 2.5), queue="north")
    produce(kafka, topic, tmp_path, depth.json())
    finished = bridged(
        *(kafka, topic, tmp_path),
        to="oci_monitoring",
        HOME=str(tmp_path),
        OCI_CLI_USER=oracle.USER,
        OCI_CLI_TENANCY=oracle.TENANCY,
        OCI_CLI_FINGERPRINT=oracle.FINGERPRINT,
        OCI_CLI_KEY_FILE=str(KEYS / "plain_pkcs8.pem"),
        OCI_CLI_REGION="eu-frankfurt-1",
        OCI_COMPARTMENT_ID=COMPARTMENT,
        OCI_MONITORING_NAMESPACE="shop",
        OCI_MONITORING_ENDPOINT=running.url,
    )
    assert finished.code == 1
    words = f"{len(sent.spans)} left out; the lines above say why; 1 points read, 1 delivered\n"
    assert words in finished.stdout, finished
    assert "oci_monitoring takes no spans: they are left out and counted" in finished.stderr
    (posted,) = running.requests
    (series,) = oracle.metrics(posted)
    assert (series["name"], series["compartmentId"]) == ("depth", COMPARTMENT)
    assert series["dimensions"].items() >= {"queue": "north", "service.name": "mill"}.items()
    assert [point["value"] for point in series["datapoints"]] == [2.5]
    assert_committed(kafka, topic, tmp_path)
