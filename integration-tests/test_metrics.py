"""Metrics of a program, by its own account, against what real servers hold of them."""

from __future__ import annotations

import contextlib
import http.server
import math
import secrets
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Gauge, push_to_gateway

from hiq_servers import (
    Collector,
    Job,
    OldPrometheus,
    OldPrometheusForProtobuf,
    Prometheus,
    Pushgateway,
    Sample,
)
from hiq_servers.measured import (
    Measured,
    Serving,
    assert_is_quantile,
    buckets,
    in_bucket,
    measure,
    served,
)

Compared = Callable[[str, str, int], None]

OTLP_HTTP = ("http/protobuf", "http/json")
OF_OTLP_PATH = "/api/v1/otlp"


@pytest.fixture
def old_prometheus(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OldPrometheus]:
    """Prometheus 2.42, for what is pushed to it."""
    with request.param(tmp_path) as running:
        yield running


class Service:
    """A name of its own for each run, in the environment of the program."""

    def __init__(self) -> None:
        self.name = f"shop-{secrets.token_hex(6)}"

    def environment(self, **more: str) -> dict[str, str]:
        attributes = "service.namespace=integration,service.instance.id=a1"
        return {"OTEL_SERVICE_NAME": self.name, "OTEL_RESOURCE_ATTRIBUTES": attributes, **more}

    @property
    def labels(self) -> dict[str, str]:
        return {"job": f"integration/{self.name}", "instance": "a1"}

    @property
    def selector(self) -> str:
        return f'job="integration/{self.name}"'


def over_otlp(url: str, protocol: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}


def over_remote_write(server: Prometheus, version: str) -> dict[str, str]:
    return {
        "HIQ_REMOTE_WRITE_ENDPOINT": server.url("web"),
        "HIQ_REMOTE_WRITE_VERSION": version,
    }


@pytest.mark.parametrize("protocol", OTLP_HTTP)
def test_every_series_sent_by_otlp_is_queried_back(
    protocol: str, prometheus: Prometheus, tmp_path: Path, compared: Compared
) -> None:
    service = Service()
    way = over_otlp(prometheus.url("web", OF_OTLP_PATH), protocol)
    measured = measure("otlp", tmp_path, service.environment(**way), "--series", 500)

    measured.assert_all_exported()
    series = assert_same_series(measured, prometheus, service)
    compared(f"metrics, OTLP {protocol}", prometheus.name, series)


@pytest.mark.parametrize("version", ["1", "2", "auto"])
def test_every_series_written_remotely_is_queried_back(
    version: str, prometheus: Prometheus, tmp_path: Path, compared: Compared
) -> None:
    service = Service()
    way = over_remote_write(prometheus, version)
    measured = measure("remote-write", tmp_path, service.environment(**way), "--series", 500)

    measured.assert_all_exported()
    series = assert_same_series(measured, prometheus, service)
    compared(f"metrics, remote write {version}", prometheus.name, series)


@pytest.mark.parametrize("old_prometheus", [OldPrometheusForProtobuf], indirect=True)
def test_an_old_server_gets_version_1_by_itself(
    old_prometheus: OldPrometheus, tmp_path: Path, compared: Compared
) -> None:
    service = Service()
    way = over_remote_write(old_prometheus, "auto")
    measured = measure("remote-write", tmp_path, service.environment(**way), "--series", 500)

    measured.assert_all_exported()
    series = assert_same_series(measured, old_prometheus, service)
    compared("metrics, remote write auto", old_prometheus.name, series)


@pytest.mark.parametrize("old_prometheus", [OldPrometheus], indirect=True)
def test_an_old_server_without_native_histograms_gets_given_bounds(
    old_prometheus: OldPrometheus, tmp_path: Path
) -> None:
    service = Service()
    way = over_remote_write(old_prometheus, "auto")
    measured = measure("remote-write", tmp_path, service.environment(**way))

    measured.assert_all_exported()
    sizes = measured.journal["size"]
    found = old_prometheus.wait_for_query(f"shop_size_bytes_bucket{{{service.selector}}}")
    assert len(found) > 10
    for sample in found:
        assert sample.value == sum(size <= float(sample.labels["le"]) for size in sizes)
    (count,) = old_prometheus.query(f"shop_size_bytes_count{{{service.selector}}}")
    assert count.value == len(sizes)


@pytest.mark.parametrize("way", ["otlp", "remote-write"])
def test_summaries_sent_as_histograms_hold_every_measurement(
    way: str, prometheus: Prometheus, tmp_path: Path
) -> None:
    service = Service()
    environment = {
        **over_otlp(prometheus.url("web", OF_OTLP_PATH), "http/protobuf"),
        **over_remote_write(prometheus, "2"),
    }
    measured = measure(way, tmp_path, service.environment(**environment), "--histograms")

    measured.assert_all_exported()
    for function, values in measured.journal["work"].items():
        series = f'shop_work_seconds{{{service.selector}, function="{function}"}}'
        (sample,) = prometheus.wait_for_query(series)
        assert_same_histogram(sample.histogram, values)
        for share in (0.5, 0.9, 0.99):
            (quantile,) = prometheus.query(f"histogram_quantile({share}, {series})")
            # It lies somewhere in a bucket of 2^(1/64): twice the error of its middle.
            exact = sorted(values)[math.ceil(share * len(values)) - 1]
            assert quantile.value == pytest.approx(exact, rel=0.012)


def assert_same_series(measured: Measured, prometheus: Prometheus, service: Service) -> int:
    """Compares every series of the service with the journal; returns how many there are."""
    # One for each point, and what else a point becomes: quantiles with sum and count, buckets with
    # them, `target_info`.
    whole = measured.points + 4 * len(measured.journal["work"]) + 6 + 1
    samples = prometheus.wait_for_query(
        f"{{{service.selector}}}", lambda samples: len(samples) >= whole
    )
    assert len(samples) == whole
    assert_same_samples(measured.journal, samples, service.labels)
    assert_same_exemplars(measured.journal, prometheus, service.selector)
    return len(samples)


def assert_same_samples(
    journal: dict[str, Any], samples: list[Sample], labels: dict[str, str]
) -> None:
    expected = expected_series(journal, labels)
    found = {}
    bounds_of_size = set()
    for sample in samples:
        name = sample.labels["__name__"]
        bound = sample.labels.get("le", "+Inf")
        if bound != "+Inf":
            # OTLP's receiver writes whole bounds without a decimal.
            sample.labels["le"] = str(float(bound))
        if sample.histogram is not None:
            assert sample.labels == {"__name__": "shop_size_bytes", **labels}
            assert_same_histogram(sample.histogram, journal["size"])
        elif name == "shop_size_bytes_bucket":
            assert sample.value == sum(size <= float(bound) for size in journal["size"])
            bounds_of_size.add(bound)
        elif name == "shop_size_bytes_count":
            assert sample.value == len(journal["size"])
        elif name == "shop_size_bytes_sum":
            assert sample.value == pytest.approx(math.fsum(journal["size"]), rel=1e-9)
        elif "quantile" in sample.labels:
            values = journal["work"][sample.labels["function"]]
            assert name == "shop_work_seconds"
            assert_is_quantile(sample.value, float(sample.labels["quantile"]), values)
        elif name == "target_info":
            assert sample.value == 1 and sample.labels["shop_region"] == "north"
        else:
            found[tuple(sorted(sample.labels.items()))] = sample.value
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-12), key
    has_native = any(sample.histogram is not None for sample in samples)
    assert has_native or (len(bounds_of_size) > 10 and "+Inf" in bounds_of_size)
    quantiles = [sample for sample in samples if "quantile" in sample.labels]
    assert len(quantiles) == 3 * len(journal["work"])


def expected_series(
    journal: dict[str, Any], labels: dict[str, str]
) -> dict[tuple[tuple[str, str], ...], float]:
    """Every series whose value is exact, whatever the form."""
    expected: dict[tuple[tuple[str, str], ...], float] = {}

    def expect(name: str, value: float, **more: str) -> None:
        key = {"__name__": name, **labels, **more}
        expected[tuple(sorted(key.items()))] = value

    for city, counted in journal["orders"].items():
        expect("shop_orders_total", counted["total"], city=city)
    expect("shop_queue", journal["queue"])
    expect("shop_temperature_celsius", journal["temperature"])
    wait = journal["wait"]
    bounds = [str(float(bound)) for bound in wait["bounds"]] + ["+Inf"]
    for bound, count in zip(bounds, buckets(wait["values"], wait["bounds"]), strict=True):
        expect("shop_wait_seconds_bucket", count, le=bound)
    expect("shop_wait_seconds_count", len(wait["values"]))
    expect("shop_wait_seconds_sum", math.fsum(wait["values"]))
    for function, values in journal["work"].items():
        expect("shop_work_seconds_count", len(values), function=function)
        expect("shop_work_seconds_sum", math.fsum(values), function=function)
    for number in range(journal["series"]):
        expect("shop_numbered_total", number, number=str(number))
    return expected


def assert_same_histogram(histogram: dict[str, Any] | None, values: list[float]) -> None:
    assert histogram is not None
    assert float(histogram["count"]) == len(values)
    assert float(histogram["sum"]) == pytest.approx(math.fsum(values), rel=1e-9)
    counted = 0
    for rule, low, high, count in histogram["buckets"]:
        assert in_bucket(values, rule, float(low), float(high)) == float(count), (low, high)
        counted += int(float(count))
    assert counted == len(values)


def assert_same_exemplars(journal: dict[str, Any], prometheus: Prometheus, selector: str) -> None:
    exemplars = prometheus.exemplars(f"shop_orders_total{{{selector}}}")
    traces = {each["seriesLabels"]["city"]: each["labels"]["trace_id"] for each in exemplars}
    assert traces == {city: counted["trace_id"] for city, counted in journal["orders"].items()}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The program, waiting for scrapes."""
    folder = tmp_path_factory.mktemp("measure")
    environment = Service().environment(
        OTEL_EXPORTER_PROMETHEUS_HOST="127.0.0.1", OTEL_EXPORTER_PROMETHEUS_PORT="0"
    )
    with served(folder, environment, "--series", 500) as running:
        yield running


SCRAPED_BY_NEW: dict[str, dict[str, Any]] = {
    "text": {"scrape_protocols": ["PrometheusText0.0.4"]},
    "OpenMetrics": {"scrape_protocols": ["OpenMetricsText1.0.0"]},
    "protobuf": {"scrape_protocols": ["PrometheusProto"], "scrape_native_histograms": True},
}


def test_prometheus_scrapes_every_series_in_every_form(
    serving: Serving, tmp_path: Path, compared: Compared
) -> None:
    jobs = [Job(form, [serving.address], how) for form, how in SCRAPED_BY_NEW.items()]
    with Prometheus(tmp_path, jobs) as prometheus:
        for job in jobs:
            series = assert_scraped(serving, prometheus, job)
            compared(f"metrics, scraped as {job.name}", prometheus.name, series)


@pytest.mark.parametrize(
    ("server", "form"),
    [(OldPrometheus, "OpenMetrics"), (OldPrometheusForProtobuf, "protobuf")],
)
def test_prometheus_2_42_scrapes_every_series(
    server: type[OldPrometheus],
    form: str,
    serving: Serving,
    tmp_path: Path,
    compared: Compared,
) -> None:
    job = Job(form, [serving.address])
    with server(tmp_path, [job]) as prometheus:
        series = assert_scraped(serving, prometheus, job)
        compared(f"metrics, scraped as {form}", prometheus.name, series)


def test_prometheus_2_42_scrapes_plain_text(
    serving: Serving, tmp_path: Path, compared: Compared
) -> None:
    with relayed(f"http://{serving.address}/metrics", accept="text/plain") as address:
        job = Job("text", [address])
        with OldPrometheus(tmp_path, [job]) as prometheus:
            series = assert_scraped(serving, prometheus, job)
            compared("metrics, scraped as text", prometheus.name, series)


def assert_scraped(serving: Serving, prometheus: Prometheus, job: Job) -> int:
    """Compares every series of a job with the journal; returns how many there are."""
    target = prometheus.wait_for_scrape(job.name)
    assert (target["health"], target["lastError"]) == ("up", "")
    selector = f'job="{job.name}", __name__=~"shop_.*|target_info"'
    (address,) = job.targets
    samples = prometheus.wait_for_query(f"{{{selector}}}")
    # 2.42 keeps OpenMetrics' times of creation as series of their own; newer ones know them.
    created = [sample for sample in samples if sample.labels["__name__"].endswith("_created")]
    assert all(0 <= time.time() - sample.value < 600 for sample in created)
    others = [sample for sample in samples if sample not in created]
    assert_same_samples(serving.journal, others, {"job": job.name, "instance": address})
    assert any(sample.histogram for sample in others) == (job.name == "protobuf")
    if job.name != "text":
        assert_same_exemplars(serving.journal, prometheus, f'job="{job.name}"')
    (orders,) = prometheus.metadata(
        "shop_orders" if job.name == "OpenMetrics" else "shop_orders_total"
    )
    assert (orders["type"], orders["help"]) == ("counter", "Orders taken.")
    return len(others)


@contextlib.contextmanager
def relayed(url: str, accept: str) -> Iterator[str]:
    """The address of a server that fetches `url` for whoever asks, in the form `accept`."""

    class Relay(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            request = urllib.request.Request(url, headers={"Accept": accept})
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(request, timeout=10) as answer:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.end_headers()
                self.wfile.write(answer.read())

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("method", ["put", "post"])
def test_a_pushed_group_is_read_back_and_scraped(
    method: str, pushgateway: Pushgateway, tmp_path: Path, compared: Compared
) -> None:
    service = Service()
    environment = service.environment(
        HIQ_PUSHGATEWAY_ENDPOINT=pushgateway.url("web"), HIQ_PUSHGATEWAY_METHOD=method
    )
    push_by_another(pushgateway, service.name, "shop_left_over")
    measured = measure("pushgateway", tmp_path, environment, "--series", 500)

    measured.assert_all_exported()
    group = pushgateway.group(job=service.name, instance="a/1")
    assert group is not None and group["shop_orders_total"]["help"] == "Orders taken."
    # A PUT leaves nothing of what the group had, a POST leaves what it does not bring itself.
    assert ("shop_left_over" in group) == (method == "post")
    settings = {"honor_labels": True, "scrape_protocols": ["PrometheusProto"]}
    native = {"scrape_native_histograms": True}
    job = Job("gateway", [pushgateway.address("web")], {**settings, **native})
    selector = f'job="{service.name}", __name__=~"shop_.*|target_info"'
    with Prometheus(tmp_path, [job]) as prometheus:
        target = prometheus.wait_for_scrape(job.name)
        assert (target["health"], target["lastError"]) == ("up", "")
        found = prometheus.wait_for_query(f"{{{selector}}}")
    samples = [each for each in found if each.labels["__name__"] != "shop_left_over"]
    labels = {"job": service.name, "instance": "a/1"}
    assert_same_samples(measured.journal, samples, labels)
    compared(f"metrics, pushed by {method}", pushgateway.name, len(samples))


def push_by_another(pushgateway: Pushgateway, job: str, name: str) -> None:
    registry = CollectorRegistry()
    Gauge(name, "Of an earlier run.", registry=registry).set(1)
    push_to_gateway(pushgateway.address("web"), job, registry, {"instance": "a/1"})


def test_a_group_that_the_gateway_refuses_is_one_clear_line(tmp_path: Path) -> None:
    # One of its own: it keeps one type for each name, whatever the group, and that one is wrong.
    with Pushgateway(tmp_path) as gateway:
        push_by_another(gateway, "other", "shop_orders_total")
        environment = Service().environment(HIQ_PUSHGATEWAY_ENDPOINT=gateway.url("web"))
        measured = measure("pushgateway", tmp_path, environment)

    assert measured.ledger["balances"] is True
    assert measured.ledger["rejected"] == measured.points
    (line,) = measured.said
    assert "400" in line and "shop_orders_total" in line


@pytest.mark.parametrize("protocol", ["grpc", *OTLP_HTTP])
def test_the_collector_takes_every_point(
    protocol: str, collector: Collector, tmp_path: Path, compared: Compared
) -> None:
    service = Service()
    way = over_otlp(collector.otlp_endpoint_for(protocol), protocol)
    measured = measure("otlp", tmp_path, service.environment(**way), "--series", 500)

    measured.assert_all_exported()
    metrics = {
        metric["name"]: metric
        for group in collector.wait_for_metrics(service.name)
        for scope in group["scopeMetrics"]
        for metric in scope["metrics"]
    }
    points = assert_same_points(measured.journal, metrics)
    assert points == measured.points
    compared(f"metrics, OTLP {protocol}", collector.name, points)


def assert_same_points(journal: dict[str, Any], metrics: dict[str, Any]) -> int:
    """Compares every point that the Collector wrote with the journal; returns how many."""
    assert metrics.keys() == {
        *("shop.orders", "shop.queue", "shop.temperature", "shop.wait", "shop.size"),
        *("shop.work", "shop.numbered"),
    }

    def points(name: str, data: str) -> list[dict[str, Any]]:
        assert metrics[name][data].get("aggregationTemporality", 2) == 2
        found: list[dict[str, Any]] = metrics[name][data]["dataPoints"]
        return found

    def labels(point: dict[str, Any]) -> dict[str, str]:
        pairs = point.get("attributes", [])
        return {pair["key"]: pair["value"]["stringValue"] for pair in pairs}

    assert metrics["shop.orders"]["sum"]["isMonotonic"] is True
    assert metrics["shop.orders"]["description"] == "Orders taken."
    orders = points("shop.orders", "sum")
    found = {labels(each)["city"]: int(each["asInt"]) for each in orders}
    assert found == {city: counted["total"] for city, counted in journal["orders"].items()}
    traces = {labels(each)["city"]: each["exemplars"][0]["traceId"] for each in orders}
    assert traces == {city: each["trace_id"] for city, each in journal["orders"].items()}
    (queue,) = points("shop.queue", "sum")
    assert int(queue["asInt"]) == journal["queue"]
    (temperature,) = points("shop.temperature", "gauge")
    assert temperature["asDouble"] == journal["temperature"]
    (wait,) = points("shop.wait", "histogram")
    values, bounds = journal["wait"]["values"], journal["wait"]["bounds"]
    below = buckets(values, bounds)
    counts = [high - low for low, high in zip([0, *below], below, strict=False)]
    assert [int(count) for count in wait["bucketCounts"]] == counts
    assert wait["explicitBounds"] == bounds
    assert wait["sum"] == pytest.approx(math.fsum(values), rel=1e-12)
    (size,) = points("shop.size", "exponentialHistogram")
    assert int(size["count"]) == len(journal["size"])
    assert_same_exponential(size, journal["size"])
    work = points("shop.work", "summary")
    for point in work:
        values = journal["work"][labels(point)["function"]]
        assert int(point["count"]) == len(values)
        assert point["sum"] == pytest.approx(math.fsum(values), rel=1e-12)
        shares = [quantile["quantile"] for quantile in point["quantileValues"]]
        assert shares == [0.5, 0.9, 0.99]
        for quantile in point["quantileValues"]:
            assert_is_quantile(quantile["value"], quantile["quantile"], values)
    numbered = points("shop.numbered", "sum")
    found = {labels(each)["number"]: int(each["asInt"]) for each in numbered}
    assert found == {str(number): number for number in range(journal["series"])}
    return len(orders) + 4 + len(work) + len(numbered)


def assert_same_exponential(point: dict[str, Any], values: list[float]) -> None:
    """Every bucket holds the values between its powers of the base."""
    base = 2 ** (2 ** -point.get("scale", 0))
    signs = {"positive": [v for v in values if v > 0], "negative": [-v for v in values if v < 0]}
    for sign, of_sign in signs.items():
        found = point.get(sign, {})
        counts = [int(count) for count in found.get("bucketCounts", [])]
        expected = dict.fromkeys(range(len(counts)), 0)
        for value in of_sign:
            expected[math.ceil(math.log(value, base)) - 1 - found["offset"]] += 1
        assert counts == list(expected.values()), sign
    assert int(point["zeroCount"]) == sum(value == 0 for value in values)


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_sample_that_prometheus_refuses_is_counted_and_said_once(
    version: str, prometheus: Prometheus, tmp_path: Path
) -> None:
    service = Service()
    way = over_remote_write(prometheus, version)
    measured = measure("remote-write", tmp_path, service.environment(**way), "--one-too-old")

    assert measured.ledger["balances"] is True
    assert measured.ledger["offered"] == measured.points + 1
    assert measured.ledger["rejected"] == 1
    assert measured.ledger["exported"] == measured.points
    (line,) = measured.said
    assert "exporter: 1 point lost: " in line
    assert "400" in line and "out of bounds" in line
    (sample,) = prometheus.wait_for_query(f"shop_queue{{{service.selector}}}")
    assert sample.value == measured.journal["queue"]
    assert prometheus.query(f"shop_yesterday{{{service.selector}}}") == []


@pytest.mark.parametrize("way", ["otlp", "remote-write", "pushgateway"])
def test_a_wrong_path_is_one_clear_line(way: str, prometheus: Prometheus, tmp_path: Path) -> None:
    nowhere = prometheus.url("web", "/api/v1/nowhere")
    environment = Service().environment(
        OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=nowhere,
        HIQ_REMOTE_WRITE_ENDPOINT=nowhere,
        HIQ_PUSHGATEWAY_ENDPOINT=nowhere,
    )
    measured = measure(way, tmp_path, environment)

    assert measured.ledger["balances"] is True
    assert measured.ledger["rejected"] == measured.points
    (line,) = measured.said
    assert "404" in line
    advice = {"otlp": "/v1/metrics", "remote-write": "/api/v1/write", "pushgateway": "port 9091"}
    assert advice[way] in line


@pytest.mark.parametrize("way", ["otlp", "remote-write", "pushgateway"])
def test_a_stopped_server_is_one_clear_line(way: str, tmp_path: Path) -> None:
    with Prometheus(tmp_path) as prometheus:
        environment = Service().environment(
            **over_otlp(prometheus.url("web", OF_OTLP_PATH), "http/protobuf"),
            **over_remote_write(prometheus, "2"),
            HIQ_PUSHGATEWAY_ENDPOINT=prometheus.url("web"),
        )
    measured = measure(way, tmp_path, environment, "--exit", 1)

    assert measured.ledger["balances"] is True
    assert measured.ledger["dropped"] == {"shutdown": measured.points}
    (line,) = measured.said
    assert f"{measured.points} points wait: " in line
    assert "connection refused" in line and prometheus.address("web") in line
