"""One process, six backends at once: each has all of it, and a ledger of its own that balances."""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path

import pytest

import test_jaeger
import test_zipkin
from hiq_servers import Collector, CollectorOnKafka, Jaeger, Kafka, Prometheus, Zipkin
from hiq_servers.pairs import Sent, assert_balanced, compare, send_to_all
from hiq_servers.perfetto import query
from test_kafka import arrived
from test_perfetto import SLICES


@pytest.mark.usefixtures("hiq_installed")
def test_the_same_spans_arrive_at_six_backends_each_with_a_balanced_ledger(
    collector: Collector,
    prometheus: Prometheus,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    compared: Callable[[str, str, int], None],
) -> None:
    import hiq

    file = tmp_path / "trace.json.gz"
    with (
        Jaeger(tmp_path_factory.mktemp("jaeger")) as jaeger,
        Zipkin(tmp_path_factory.mktemp("zipkin")) as zipkin,
        Kafka(tmp_path_factory.mktemp("kafka")) as kafka,
        CollectorOnKafka(tmp_path_factory.mktemp("collector"), kafka) as reader,
    ):
        sent = send_to_all(
            hiq.OtlpExporter(collector.url("otlp_grpc"), protocol="grpc"),
            test_jaeger.collector_by_http(jaeger),
            test_zipkin.exporter(zipkin, format="v2"),
            hiq.ChromeExporter(file),
            hiq.KafkaExporter(kafka.brokers),
            metrics=[hiq.RemoteWriteExporter(prometheus.url("web"))],
        )
        for each in sent:
            assert_balanced(each, "exported")
        service = sent[0].service
        at_collector = collector.settled_spans_of_service(service)
        at_jaeger = jaeger.settled_spans_of_service(service)
        at_zipkin = zipkin.settled_spans_of_service(service)
        behind_kafka = arrived(reader, service, len(sent[4].spans))

    compare(sent[0], at_collector, lambda span: span)
    compare(sent[1], at_jaeger, test_jaeger.left_by_thrift)
    seen = test_zipkin.seen_by(zipkin)
    compare(sent[2], [seen(span) for span in at_zipkin], test_zipkin.losses(zipkin, "v2"))
    slices = query(file, SLICES)
    expected = {(span.span.span_id, span.span.name) for span in sent[3].spans}
    assert {(each["id"], each["name"]) for each in slices} == expected
    compare(sent[4], behind_kafka, lambda span: span)
    calls = assert_counted(sent[0], prometheus)
    spans = len(at_collector) + len(at_jaeger) + len(at_zipkin) + len(behind_kafka)
    compared("six backends at once", "all six", spans + len(slices) + calls)


def assert_counted(sent: Sent, prometheus: Prometheus) -> int:
    """Compares calls and errors of each function; returns how many calls."""
    names = collections.Counter(each.span.name for each in sent.spans)
    failed = (each.span.name for each in sent.spans if each.span.status_code == "ERROR")
    assert_counter("calls", names, sent.service, prometheus)
    assert_counter("errors", collections.Counter(failed), sent.service, prometheus)
    return names.total()


def assert_counter(
    metric: str, expected: collections.Counter[str], job: str, prometheus: Prometheus
) -> None:
    samples = prometheus.wait_for_query(
        f'hiq_function_{metric}_total{{job="{job}"}}',
        lambda samples: len(samples) >= len(expected),
    )
    found = {sample.labels["function"]: sample.value for sample in samples}
    # Other tests of this process have counted functions of theirs.
    assert {name: found.get(name) for name in expected} == expected
