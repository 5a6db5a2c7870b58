"""The harness itself, for metrics: what independent senders counted is what we read back.

No line of hiq is used here. When these fail, the servers or our reading of them are at fault.
"""

from __future__ import annotations

import contextlib
import http.server
import secrets
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Summary,
    delete_from_gateway,
    push_to_gateway,
    pushadd_to_gateway,
    start_http_server,
)

from hiq_servers import Collector, Job, OldPrometheus, Prometheus, Pushgateway, ServerError
from hiq_servers.process import http_post

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TEXT = {"scrape_protocols": ["PrometheusText0.0.4"]}
OPEN_METRICS = {"scrape_protocols": ["OpenMetricsText1.0.0"]}


@contextlib.contextmanager
def exposed(registry: CollectorRegistry) -> Iterator[str]:
    """The address of an endpoint of `prometheus_client`, for as long as the block lasts."""
    server, thread = start_http_server(0, "127.0.0.1", registry)
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def registry_of_every_kind() -> CollectorRegistry:
    registry = CollectorRegistry()
    orders = Counter("shop_orders", "Orders taken.", ["city"], registry=registry)
    orders.labels("Hà Nội").inc(7, exemplar={"trace_id": TRACE_ID})
    orders.labels("Huế").inc(0.5)
    Gauge("shop_queue", "Orders that wait.", registry=registry).set(-3)
    duration = Summary("shop_work_seconds", "Time of work.", registry=registry)
    latency = Histogram(
        "shop_wait_seconds", "Time of waiting.", buckets=[0.1, 1], registry=registry
    )
    for seconds in (0.05, 0.5, 2):
        duration.observe(seconds)
        latency.observe(seconds)
    return registry


COUNTED = {
    'shop_orders_total{city="Hà Nội"}': 7,
    'shop_orders_total{city="Huế"}': 0.5,
    "shop_queue": -3,
    "shop_work_seconds_count": 3,
    "shop_work_seconds_sum": 2.55,
    "shop_wait_seconds_count": 3,
    "shop_wait_seconds_sum": 2.55,
    # From 3.0 on, Prometheus writes whole bounds with a decimal.
    'shop_wait_seconds_bucket{le="0.1"}': 1,
    'shop_wait_seconds_bucket{le=~"1|1.0"}': 2,
    'shop_wait_seconds_bucket{le="+Inf"}': 3,
}


@pytest.mark.parametrize(
    ("server", "settings"),
    [(OldPrometheus, {}), (Prometheus, TEXT), (Prometheus, OPEN_METRICS)],
    ids=["2.42", "text", "OpenMetrics"],
)
def test_what_a_program_exposes_is_queried_back(
    server: type[Prometheus], settings: dict[str, object], tmp_path: Path
) -> None:
    with (
        exposed(registry_of_every_kind()) as address,
        server(tmp_path, [Job("shop", [address], settings)]) as prometheus,
    ):
        target = prometheus.wait_for_scrape("shop")

        assert (target["health"], target["lastError"]) == ("up", "")
        for series, value in COUNTED.items():
            (sample,) = prometheus.wait_for_query(series)
            assert sample.value == pytest.approx(value, rel=1e-12), series
            assert sample.labels["job"] == "shop"
        (kind,) = prometheus.metadata("shop_wait_seconds")
        assert (kind["type"], kind["help"]) == ("histogram", "Time of waiting.")
        if settings is not TEXT:
            (exemplar,) = prometheus.exemplars("shop_orders_total")
            assert exemplar["labels"] == {"trace_id": TRACE_ID}
            assert exemplar["seriesLabels"]["city"] == "Hà Nội"


def test_a_scrape_that_fails_says_why(tmp_path: Path) -> None:
    class Nonsense(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(b"one two three\n")

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nonsense)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Prometheus(tmp_path, [Job("shop", [f"127.0.0.1:{server.server_port}"])]) as prometheus:
        target = prometheus.wait_for_scrape("shop")
    server.shutdown()
    server.server_close()

    assert target["health"] == "down"
    assert "one two" in target["lastError"] or "expected" in target["lastError"]


def test_pushed_groups_are_read_back_and_deleted(pushgateway: Pushgateway) -> None:
    job = f"job/{secrets.token_hex(4)}"
    address = pushgateway.address("web")
    registry = CollectorRegistry()
    Gauge("shop_queue", "Orders that wait.", registry=registry).set(5)
    push_to_gateway(address, job, registry, {"instance": "Hà Nội"})

    group = pushgateway.group(job=job, instance="Hà Nội")

    assert group is not None
    (metric,) = group["shop_queue"]["metrics"]
    assert metric["value"] == "5"
    more = CollectorRegistry()
    Counter("shop_orders", "Orders taken.", registry=more).inc()
    pushadd_to_gateway(address, job, more, {"instance": "Hà Nội"})
    group = pushgateway.group(job=job, instance="Hà Nội")
    assert group is not None and {"shop_queue", "shop_orders_total"} < group.keys()
    delete_from_gateway(address, job, {"instance": "Hà Nội"})
    assert pushgateway.group(job=job, instance="Hà Nội") is None


def test_a_remote_write_by_hand_is_queried_back(prometheus: Prometheus) -> None:
    # x_seconds{quantile="0.5"} 0.25 in Prometheus' own messages, up to its time.
    golden = (
        "0a3a0a150a085f5f6e616d655f5f1209785f7365636f6e64730a0f0a087175616e74696c651203302e35"
        "121009000000000000d03f10"
    )
    now_millis = int(time.time() * 1000)
    request = bytes.fromhex(golden) + varint(now_millis)
    answer = http_post(
        prometheus.url("web", "/api/v1/write"),
        snappy_literal(request),
        {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        },
    )

    assert answer is not None and answer[0] == 204, answer
    (sample,) = prometheus.wait_for_query('x_seconds{quantile="0.5"}')
    assert sample.value == 0.25
    ((labels, values),) = prometheus.points("x_seconds")
    assert labels == {"__name__": "x_seconds", "quantile": "0.5"}
    assert values == [[now_millis / 1000, "0.25"]]


def varint(number: int) -> bytes:
    low = b""
    while number >= 0x80:
        low += bytes([number & 0x7F | 0x80])
        number >>= 7
    return low + bytes([number])


def snappy_literal(data: bytes) -> bytes:
    """Snappy's block format without any compression: one literal with a length of two bytes."""
    return varint(len(data)) + bytes([61 << 2]) + struct.pack("<H", len(data) - 1) + data


@pytest.mark.parametrize("receiver", ["prometheus", "collector"])
def test_otlp_metrics_of_the_otel_sdk_are_read_back(
    receiver: str, request: pytest.FixtureRequest
) -> None:
    service = f"oracle-{secrets.token_hex(8)}"
    server: Prometheus | Collector = request.getfixturevalue(receiver)
    url = (
        server.url("web", "/api/v1/otlp/v1/metrics")
        if isinstance(server, Prometheus)
        else server.url("otlp_http", "/v1/metrics")
    )
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(url))
    resource = Resource.create({"service.name": service})
    provider = MeterProvider([reader], resource=resource)
    meter = provider.get_meter("shop")
    meter.create_counter("shop.orders").add(7, {"city": "Huế"})
    provider.shutdown()

    if isinstance(server, Prometheus):
        (sample,) = server.wait_for_query(f'{{job="{service}", city="Huế"}}')
        assert (sample.labels["__name__"], sample.value) == ("shop_orders_total", 7)
    else:
        (group,) = server.wait_for_metrics(service)
        (metric,) = group["scopeMetrics"][0]["metrics"]
        (point,) = metric["sum"]["dataPoints"]
        assert (metric["name"], point["asInt"]) == ("shop.orders", "7")


def test_a_series_that_never_comes_is_reported(
    prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hiq_servers.prometheus.READ_BACK_SECONDS", 0.2)
    with pytest.raises(ServerError, match=r"no_such_series is still \[\]"):
        prometheus.wait_for_query("no_such_series")
