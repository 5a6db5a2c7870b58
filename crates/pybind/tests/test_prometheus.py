"""Prometheus from Python: what `prometheus_client`'s own parsers read is what the program counted itself."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import os
import secrets
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import hiq
import prometheus_client
import pytest
from conftest import plain_environment, python
from hiq import _process_metrics
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from receiver import receiver
from recorder import check_ledger

TEXT = "text/plain;version=0.0.4"
OPEN_METRICS = "application/openmetrics-text;version=1.0.0"


def samples(families: Iterable[Any]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def read(page: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return samples(text_string_to_metric_families(page.decode()))


def scrape(url: str, **headers: str) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return answer.read()


# --- HiQ's shape ----------------------------------------------------------------------------------


def test_get_summary_is_hiq_s_and_shown_by_the_default_registry() -> None:
    tag = f"t{secrets.token_hex(6)}"
    summary = hiq.prometheus.get_summary(f"__{tag}")
    for seconds in (0.5, 1.5):
        summary.observe(seconds)
    hiq.prometheus.get_summary(f"hiq_{tag}").observe(2.0)
    page = prometheus_client.generate_latest(prometheus_client.REGISTRY)
    found = read(page)
    assert found[f"hiq_{tag}_count", ()] == 3
    assert found[f"hiq_{tag}_sum", ()] == 4.0
    assert found[f"hiq_{tag}_created", ()] > 0
    assert found[f"hiq_{tag}", (("quantile", "0.5"),)] == pytest.approx(1.5, rel=0.0055)
    assert f"# HELP hiq_{tag} hiq_{tag}\n# TYPE hiq_{tag} summary\n".encode() in page


def test_get_summary_takes_a_description_and_other_names_as_they_are() -> None:
    name = f"s{secrets.token_hex(6)}"
    hiq.prometheus.get_summary(name, "What it is.").observe(1)
    page = prometheus_client.generate_latest(prometheus_client.REGISTRY)
    assert f"# HELP {name} What it is.\n".encode() in page


PROGRAM = """
import json, sys, urllib.request
import hiq
from prometheus_client import start_http_server

log = []

def main():
    log.append("main")
    for number in range(3):
        work(number)

def work(number):
    log.append("work")
    if number == 2:
        raise ValueError("two")

server, thread = start_http_server(0, addr="127.0.0.1")
with hiq.HiQLatency([["__main__", "", "main", "main"], ["__main__", "", "work", "w"]]) as driver:
    for _ in range(4):
        try:
            main()
        except ValueError:
            pass
    page = urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=60).read().decode()
server.shutdown()
print(json.dumps({"log": log, "page": page}))
"""


def test_an_unmodified_start_http_server_shows_what_trace_type_prometheus_counts(tmp_path: Path) -> None:
    script = tmp_path / "shop.py"
    script.write_text(PROGRAM, encoding="utf-8")
    done = python(script, folder=tmp_path, TRACE_TYPE="prometheus", PYTHONPATH=site_of(prometheus_client))
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    found = read(said["page"].encode())
    # An exception is a call as well; a tag of one character has no prefix in HiQ.
    for name, shown in (("main", "hiq_main"), ("work", "w")):
        assert found[f"{shown}_count", ()] == said["log"].count(name), said["page"]
        assert 0 < found[f"{shown}_sum", ()] < 60
        assert found[f"{shown}_created", ()] > 0
        assert 0 < found[shown, (("quantile", "0.99"),)] < 60
    # prometheus_client's own are there as they were.
    assert "python_info" in {name for name, _ in found}


def test_without_prometheus_client_one_line_says_so(tmp_path: Path) -> None:
    script = tmp_path / "shop.py"
    script.write_text(
        "import sys\nsys.modules['prometheus_client'] = None\nimport importlib.util\n"
        "import hiq\ndef main(): return 7\n"
        "with hiq.HiQLatency([['__main__', '', 'main', 'main']]):\n    print(main())\n",
        encoding="utf-8",
    )
    done = python(script, folder=tmp_path, TRACE_TYPE="prometheus")
    assert done.stdout.splitlines()[-1] == "7", done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "TRACE_TYPE" in line]
    assert "prometheus_client" in line


def site_of(module: Any) -> str:
    return str(Path(module.__file__).parent.parent)


# --- a collector ----------------------------------------------------------------------------------


def test_a_collector_shows_every_kind_in_any_registry() -> None:
    name = f"k{secrets.token_hex(6)}"
    hiq.metrics.counter(f"{name}.orders", "Orders.", "{order}").labels(city="Hà Nội").inc(3)
    hiq.metrics.up_down_counter(f"{name}.open").inc(2)
    hiq.metrics.gauge(f"{name}.heat", unit="Cel").set(21.5)
    sizes = hiq.metrics.histogram(f"{name}.sizes", unit="By", buckets=[1, 10])
    latency = hiq.metrics.summary(f"{name}.latency", unit="s")
    hiq.metrics.histogram(f"{name}.drift", buckets=[-1, 1]).observe(-0.5)
    for size in (1, 5, 50):
        sizes.observe(size)
        latency.observe(size / 100)
    registry = prometheus_client.CollectorRegistry()
    registry.register(hiq.prometheus.HiqCollector())
    for page in (
        prometheus_client.generate_latest(registry).decode(),
        prometheus_client.openmetrics.exposition.generate_latest(registry).decode(),
    ):
        is_open = page.endswith("# EOF\n")
        parse = openmetrics.text_string_to_metric_families if is_open else text_string_to_metric_families
        found = samples(parse(page))
        assert found[f"{name}_orders_total", (("city", "Hà Nội"),)] == 3
        assert found[f"{name}_open", ()] == 2
        assert found[f"{name}_heat_celsius", ()] == 21.5
        buckets = {
            float(dict(labels)["le"]): value
            for (sample, labels), value in found.items()
            if sample == f"{name}_sizes_bytes_bucket"
        }
        assert buckets == {1.0: 1, 10.0: 2, math.inf: 3}
        assert found[f"{name}_sizes_bytes_sum", ()] == 56
        assert found[f"{name}_latency_seconds_count", ()] == 3
        assert found[f"{name}_latency_seconds_sum", ()] == pytest.approx(0.56)
        assert found[f"{name}_latency_seconds", (("quantile", "0.5"),)] == pytest.approx(0.05, rel=0.0055)


# --- applications ---------------------------------------------------------------------------------


def wsgi(method: str = "GET", **headers: str) -> tuple[str, dict[str, str], bytes]:
    given: list[Any] = []
    environ = {"REQUEST_METHOD": method, **{f"HTTP_{name.upper()}": value for name, value in headers.items()}}
    body = b"".join(hiq.prometheus.wsgi_app()(environ, lambda status, head: given.extend((status, dict(head)))))
    return given[0], given[1], body


def asgi(method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    sent: list[Any] = []

    async def call() -> None:
        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError("a scrape has no body")

        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        await hiq.prometheus.asgi_app()({"type": "http", "method": method, "headers": raw}, receive, send)

    asyncio.run(call())
    start, body = sent
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body["body"]


def test_applications_show_the_program_s_metrics_the_process_and_python() -> None:
    name = f"a{secrets.token_hex(6)}"
    hiq.metrics.counter(name).inc(7)
    registry = prometheus_client.CollectorRegistry()
    for collector in (
        prometheus_client.ProcessCollector,
        prometheus_client.GCCollector,
        prometheus_client.PlatformCollector,
    ):
        collector(registry=registry)
    theirs = {family.name: family for family in registry.collect()}
    for status, headers, body in (wsgi(), asgi()):
        assert int(str(status)[:3]) == 200
        assert headers[next(name for name in headers if name.lower() == "content-type")].startswith(
            "text/plain; version=0.0.4"
        )
        families = {family.name: family for family in text_string_to_metric_families(body.decode())}
        found = samples(families.values())
        assert found[f"{name}_total", ()] == 7
        for known, family in theirs.items():
            assert family.type == families[known].type, known
            assert {sample.name for sample in family.samples} <= {sample.name for sample in families[known].samples}
        labels = tuple(sorted(theirs["python_info"].samples[0].labels.items()))
        assert found["python_info", labels] == 1
        its = samples(theirs.values())
        assert found["process_start_time_seconds", ()] == pytest.approx(its["process_start_time_seconds", ()], abs=1.5)
        assert found["process_max_fds", ()] == its["process_max_fds", ()]
        assert found["process_resident_memory_bytes", ()] == pytest.approx(
            its["process_resident_memory_bytes", ()], rel=0.2
        )
        assert found["process_cpu_seconds_total", ()] >= its["process_cpu_seconds_total", ()] - 0.02
        oldest = (("generation", "2"),)
        assert found["python_gc_collections_total", oldest] >= its["python_gc_collections_total", oldest]


def test_applications_answer_in_the_form_that_is_asked_for() -> None:
    _, headers, body = wsgi(accept=OPEN_METRICS, accept_encoding="gzip")
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Length"] == str(len(body))
    assert (
        "python_info" in samples(openmetrics.text_string_to_metric_families(gzip.decompress(body).decode())).__repr__()
    )
    status, headers, body = asgi(accept=OPEN_METRICS, accept_encoding="br")
    assert (status, "content-encoding" in headers) == (200, False)
    assert body.endswith(b"# EOF\n")


def test_applications_refuse_other_methods_and_answer_head_without_a_body() -> None:
    assert wsgi("POST")[0].startswith("405")
    assert asgi("DELETE")[0] == 405
    status, headers, body = wsgi("HEAD")
    assert (status, body) == ("200 OK", b"")
    assert int(headers["Content-Length"]) > 0


def test_the_asgi_application_lives_with_its_server() -> None:
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[str] = []

    async def call() -> None:
        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await hiq.prometheus.asgi_app()({"type": "lifespan"}, receive, send)

    asyncio.run(call())
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_scrape_shows_calls_that_have_just_ended() -> None:
    function = f"f{secrets.token_hex(6)}"
    hiq.init("shop", exporters=[], metrics=[hiq.OtlpMetricExporter("http://127.0.0.1:9")], log_level="none")
    for _ in range(5):
        with hiq.trace(function):
            pass
    found = read(wsgi()[2])
    assert found["hiq_function_calls_total", (("function", function),)] == 5
    assert found["hiq_function_duration_seconds_count", (("function", function),)] == 5


def test_a_child_knows_its_own_start() -> None:
    assert _process_metrics.started() > 0
    assert _process_metrics._start_of(os.getpid()) == _process_metrics.started()


# --- an endpoint ----------------------------------------------------------------------------------


@pytest.fixture
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HIQ_METRIC_DIR", str(tmp_path))
    yield
    hiq.shutdown(60)


@pytest.mark.usefixtures("_own_folder")
def test_an_endpoint_answers_scrapes_until_shutdown(program) -> None:
    module = program("def job():\n    log.append('job')\n")
    hiq.init(
        "shop",
        exporters=[],
        metrics=[hiq.PrometheusExporter("127.0.0.1", 0)],
        conf=[[module.__name__, "", "job", f"job_{module.__name__}"]],
        sampler="always_off",
    )
    host, port = hiq.prometheus.address()
    assert host == "127.0.0.1"
    for _ in range(6):
        module.job()
    assert hiq.flush(60)
    found = read(scrape(f"http://{host}:{port}/metrics", Accept=TEXT))
    assert found["hiq_function_calls_total", (("function", f"__job_{module.__name__}"),)] == len(module.log)
    check_ledger()
    assert hiq.shutdown(60)
    assert hiq.prometheus.address() is None
    with pytest.raises(OSError, match="refused"):
        scrape(f"http://{host}:{port}/metrics")


@pytest.mark.usefixtures("_own_folder")
def test_two_endpoints_are_refused() -> None:
    with pytest.raises(hiq.ConfigError, match="two scrape endpoints"):
        hiq.init("shop", metrics=[hiq.PrometheusExporter(port=0), hiq.PrometheusExporter(port=0)])
    with pytest.raises(hiq.ConfigError, match="65536"):
        hiq.init("shop", metrics=[hiq.PrometheusExporter(port=65536)])
    hiq.init("shop", exporters=[], metrics=["none"])


WORKER = """
import sys
import hiq

hiq.init("group", exporters=[], metrics=[hiq.PrometheusExporter("127.0.0.1", int(sys.argv[1]))])
orders = hiq.metrics.counter("orders")
for line in sys.stdin:
    orders.inc(int(line))
    print(hiq.prometheus.address() and hiq.prometheus.address()[1], flush=True)
"""


def test_processes_of_one_service_are_one_behind_a_port(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER, encoding="utf-8")
    workers: list[subprocess.Popen[str]] = []

    def start(port: int) -> subprocess.Popen[str]:
        environment = plain_environment(PYTHONPATH=str(Path(hiq.__file__).parent.parent), HIQ_METRIC_DIR=str(tmp_path))
        workers.append(
            subprocess.Popen(
                [sys.executable, str(script), str(port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
            )
        )
        return workers[-1]

    def count(worker: subprocess.Popen[str], amount: int) -> str:
        worker.stdin.write(f"{amount}\n")
        worker.stdin.flush()
        return worker.stdout.readline().strip()

    def total(port: str) -> float:
        return read(scrape(f"http://127.0.0.1:{port}/metrics", Accept=TEXT)).get(("orders_total", ()), 0)

    try:
        # Somebody else's free port, so that all ask for the same.
        with receiver() as free:
            port = free.url.rpartition(":")[2]
        first, second = start(int(port)), start(int(port))
        owners = [count(first, 3), count(second, 4)]
        assert sorted(owners) == sorted(["None", port])
        # What a process has counted is laid down within a second.
        while total(port) < 7:
            threading.Event().wait(0.05)
        assert total(port) == 7
        owner = workers[owners.index(port)]
        # Its last count is laid down by its end, which comes before the next second.
        count(owner, 5)
        owner.communicate(timeout=60)
        # The other one takes the port over, and nothing is lost or counted twice.
        left = workers[1 - owners.index(port)]
        while count(left, 0) != port:
            threading.Event().wait(0.05)
        assert total(port) == 7 + 5
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate(timeout=60)


# --- a Pushgateway --------------------------------------------------------------------------------


def test_a_pushgateway_is_sent_the_group_that_is_named() -> None:
    with receiver() as server:
        gateway = hiq.PushgatewayExporter(server.url, job="nightly", grouping={"instance": "a/1"})
        hiq.init("shop", exporters=[], metrics=[gateway])
        name = f"p{secrets.token_hex(6)}"
        hiq.metrics.counter(name).inc(2)
        assert hiq.flush(60)
        request = server.next()
        assert (request.method, request.path) == ("PUT", "/metrics/job/nightly/instance@base64/YS8x")
        check_ledger()
        assert hiq.shutdown(60)
