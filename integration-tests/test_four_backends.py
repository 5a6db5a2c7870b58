"""One process, four backends at once: each has all spans, and a ledger of its own that balances."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import test_jaeger
import test_zipkin
from hiq_servers import Collector, Jaeger, Zipkin
from hiq_servers.pairs import assert_balanced, compare, send_to_all
from hiq_servers.perfetto import query
from test_perfetto import SLICES


@pytest.mark.usefixtures("hiq_installed")
def test_the_same_spans_arrive_at_four_backends_each_with_a_balanced_ledger(
    collector: Collector,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    compared: Callable[[str, str, int], None],
) -> None:
    import hiq

    file = tmp_path / "trace.json.gz"
    with (
        Jaeger(tmp_path_factory.mktemp("jaeger")) as jaeger,
        Zipkin(tmp_path_factory.mktemp("zipkin")) as zipkin,
    ):
        sent = send_to_all(
            hiq.OtlpExporter(collector.url("otlp_grpc"), protocol="grpc"),
            test_jaeger.collector_by_http(jaeger),
            test_zipkin.exporter(zipkin, format="v2"),
            hiq.ChromeExporter(file),
        )
        for each in sent:
            assert_balanced(each, "exported")
        service = sent[0].service
        at_collector = collector.settled_spans_of_service(service)
        at_jaeger = jaeger.settled_spans_of_service(service)
        at_zipkin = zipkin.settled_spans_of_service(service)

    compare(sent[0], at_collector, lambda span: span)
    compare(sent[1], at_jaeger, test_jaeger.left_by_thrift)
    seen = test_zipkin.seen_by(zipkin)
    compare(sent[2], [seen(span) for span in at_zipkin], test_zipkin.losses(zipkin, "v2"))
    slices = query(file, SLICES)
    expected = {(span.span.span_id, span.span.name) for span in sent[3].spans}
    assert {(each["id"], each["name"]) for each in slices} == expected
    count = len(at_collector) + len(at_jaeger) + len(at_zipkin) + len(slices)
    compared("four backends at once", "all four", count)
