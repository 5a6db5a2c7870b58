"""`hiq.init(metrics=...)`: what arrives is what the program counted itself, and the ledgers balance."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hiq
import pytest
from conftest import python
from receiver import Receiver, receiver, values
from recorder import check_ledger

ORDERS = """
def place(city):
    log.append("place")
    pay(len(city))

def pay(amount):
    log.append("pay")
    if amount == 3:
        log.append("failed")
        raise ValueError("three")
"""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    for name in ("OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with receiver() as server:
        yield server


def otlp(server: Receiver, **settings: object) -> hiq.OtlpMetricExporter:
    return hiq.OtlpMetricExporter(server.url, protocol="http/json", **settings)


def rows(module) -> list[list[str]]:
    return [[module.__name__, "", name, f"{name}_{module.__name__}"] for name in ("place", "pay")]


def run(module) -> Counter[str]:
    for city in ("Oslo", "Rom", "Bergen", "Ulm", "Paris"):
        with contextlib.suppress(ValueError):
            module.place(city)
    return Counter(module.log)


# --- metrics of trees -----------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["always_on", "always_off"])
def test_a_conf_alone_yields_calls_errors_and_times_before_sampling(program, server: Receiver, sampler: str) -> None:
    module = program(ORDERS)
    hiq.init("shop", exporters=[], metrics=[otlp(server)], conf=rows(module), sampler=sampler)
    counted = run(module)
    assert hiq.flush(60)
    request = server.next()
    assert request.path == "/v1/metrics"
    found = values(request)
    for name in ("place", "pay"):
        labels = (("function", f"__{name}_{module.__name__}"),)
        assert int(found["hiq.function.calls", labels]["asInt"]) == counted[name]
        # An error passes both functions.
        assert int(found["hiq.function.errors", labels]["asInt"]) == counted["failed"]
        duration = found["hiq.function.duration", labels]
        assert int(duration["count"]) == counted[name]
        shares = [pair.get("quantile", 0) for pair in duration["quantileValues"]]
        assert shares == [0.5, 0.9, 0.99]
        assert 0 < duration["sum"] < 60
    check_ledger()
    stats = hiq.stats()
    assert set(stats) == {"metrics", "metrics-otlp"}
    assert stats["metrics"]["exported"] == counted["place"] + counted["pay"]
    assert stats["metrics-otlp"]["exported"] == len(found)


def test_the_resource_is_that_of_the_spans(server: Receiver) -> None:
    hiq.init("shop", exporters=[], metrics=[otlp(server)], resource={"team": "billing"})
    hiq.metrics.counter(f"c.{secrets.token_hex(6)}").inc()
    assert hiq.flush(60)
    (resource,) = server.next().json()["resourceMetrics"]
    attributes = {pair["key"]: pair["value"].get("stringValue") for pair in resource["resource"]["attributes"]}
    assert (attributes["service.name"], attributes["team"]) == ("shop", "billing")
    assert attributes["telemetry.sdk.language"] == "python"


# --- the program's own ----------------------------------------------------------------------------


def test_instruments_leave_with_their_values_labels_and_units(server: Receiver) -> None:
    name = f"own.{secrets.token_hex(6)}"
    hiq.init("shop", exporters=[], metrics=[otlp(server)])
    hiq.metrics.counter(f"{name}.orders", "Orders.", "{order}").labels(city="Oslo").inc(3)
    hiq.metrics.gauge(f"{name}.open").set(2.5)
    sizes = hiq.metrics.histogram(f"{name}.sizes", unit="By", buckets=[1, 10])
    for size in (1, 5, 50):
        sizes.observe(size)
    assert hiq.flush(60)
    found = values(server.next())
    assert int(found[f"{name}.orders", (("city", "Oslo"),)]["asInt"]) == 3
    assert found[f"{name}.open", ()]["asDouble"] == 2.5
    assert found[f"{name}.sizes", ()]["bucketCounts"] in (["1", "1", "1"], [1, 1, 1])
    check_ledger()


def test_points_are_given_up_when_they_are_as_old_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIQ_QUEUE_MAX_AGE", "1")
    # Nobody listens on this port of the discard protocol.
    nowhere = "http://127.0.0.1:9"
    exporters = [hiq.OtlpMetricExporter(nowhere), hiq.RemoteWriteExporter(nowhere)]
    hiq.init("shop", exporters=[], metrics=exporters)
    hiq.metrics.counter(f"own.{secrets.token_hex(6)}").inc()
    assert hiq.flush(60)
    stats = hiq.stats()
    for name in ("metrics-otlp", "metrics-remote_write"):
        ledger = stats[name]
        assert ledger["dropped"] == {"expired": ledger["offered"]}
    check_ledger()


def test_a_summary_leaves_as_a_histogram_where_that_is_asked_for(server: Receiver) -> None:
    name = f"own.{secrets.token_hex(6)}"
    hiq.init("shop", exporters=[], metrics=[otlp(server, summaries="histogram")])
    for seconds in (0.5, 1.5, 2.5):
        hiq.metrics.summary(name, unit="s").observe(seconds)
    assert hiq.flush(60)
    point = values(server.next())[name, ()]
    assert (int(point["count"]), point["sum"]) == (3, 4.5)
    assert sum(map(int, point["positive"]["bucketCounts"])) == 3


def test_metrics_leave_by_themselves_every_interval(server: Receiver) -> None:
    name = f"own.{secrets.token_hex(6)}"
    hiq.init("shop", exporters=[], metrics=[otlp(server)], metric_interval_s=0.05)
    counter = hiq.metrics.counter(name)
    counter.inc(1)
    while int(values(server.next()).get((name, ()), {"asInt": 0})["asInt"]) < 1:
        pass
    counter.inc(1)
    while int(values(server.next())[name, ()]["asInt"]) < 2:
        pass
    assert hiq.shutdown(60)


def test_two_exporters_of_one_kind_have_a_ledger_each(server: Receiver) -> None:
    hiq.init("shop", exporters=["memory"], metrics=[otlp(server), otlp(server)])
    hiq.metrics.counter(f"c.{secrets.token_hex(6)}").inc()
    assert hiq.flush(60)
    assert set(hiq.stats()) == {"memory", "metrics", "metrics-otlp", "metrics-otlp-2"}
    check_ledger()
    assert {server.next().path, server.next().path} == {"/v1/metrics"}


def test_remote_write_arrives_in_prometheus_s_form(server: Receiver) -> None:
    server.status = 204
    hiq.init("shop", exporters=[], metrics=[hiq.RemoteWriteExporter(server.url, version=1)])
    hiq.metrics.counter(f"c.{secrets.token_hex(6)}").inc()
    assert hiq.flush(60)
    request = server.next()
    assert request.path == "/api/v1/write"
    assert request.headers["x-prometheus-remote-write-version"] == "0.1.0"
    assert request.headers["content-encoding"] == "snappy"
    check_ledger()


def test_a_refusal_is_counted_as_rejected(server: Receiver) -> None:
    server.status = 400
    hiq.init("shop", exporters=[], metrics=[otlp(server)], log_level="none")
    hiq.metrics.counter(f"c.{secrets.token_hex(6)}").inc()
    hiq.flush(60)
    row = hiq.stats()["metrics-otlp"]
    assert row["rejected"] == row["offered"] > 0
    check_ledger()


# --- settings -------------------------------------------------------------------------------------


def test_nothing_is_sent_unless_asked_for(monkeypatch: pytest.MonkeyPatch, server: Receiver) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
    for metrics in (None, [], ["none"]):
        hiq.init("shop", exporters=[], metrics=metrics)
        hiq.metrics.counter(f"c.{secrets.token_hex(6)}").inc()
        assert hiq.shutdown(60)
    assert list(server.rest()) == []


def test_the_environment_names_exporters(monkeypatch: pytest.MonkeyPatch, server: Receiver) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"{server.url}/elsewhere")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "50")
    name = f"c.{secrets.token_hex(6)}"
    hiq.init("shop", exporters=[])
    hiq.metrics.counter(name).inc()
    # By the interval that the environment says.
    request = server.next()
    assert request.path == "/elsewhere"
    assert hiq.shutdown(60)


def test_the_environment_may_name_what_is_not_there(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "pigeon,none-such")
    hiq.init("shop", exporters=[])
    assert "OTEL_METRICS_EXPORTER" in caplog.text
    assert "pigeon" in caplog.text
    assert hiq.stats() == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"metrics": ["pigeon"]}, "pigeon"),
        ({"metrics": "otlp"}, r"\['otlp'\]"),
        ({"metrics": [{"endpoint": "http://localhost"}]}, "type"),
        ({"metrics": [hiq.OtlpMetricExporter(summaries="both")]}, "summaries"),
        ({"metrics": [hiq.RemoteWriteExporter(version=3)]}, "version"),
        ({"metrics": [hiq.PrometheusExporter(port=65536)]}, "65536 is no port; use 0 to 65535"),
        ({"metrics": [hiq.PrometheusExporter(utf8_names="yes")]}, "utf8_names"),
        ({"metrics": [hiq.RemoteWriteExporter(client_key="key.pem")]}, "client_certificate"),
        ({"metrics": ["otlp"], "metric_interval_s": 0}, "metric_interval_s"),
        ({"metrics": ["otlp"], "metric_interval_s": -1}, "metric_interval_s"),
    ],
)
def test_wrong_settings_are_refused(arguments: dict, said: str) -> None:
    with pytest.raises(hiq.ConfigError, match=said):
        hiq.init("shop", exporters=[], **arguments)
    # Nothing is left of the attempt.
    hiq.init("shop", exporters=[])


# --- processes ------------------------------------------------------------------------------------


def test_the_last_snapshot_leaves_at_exit(server: Receiver, tmp_path: Path) -> None:
    script = tmp_path / "exits.py"
    script.write_text(
        "import hiq\nhiq.init('shop', exporters=[], metrics=['otlp'])\nhiq.metrics.counter('exits').inc(41)\n"
        "@hiq.trace\ndef f(): pass\nf()\n",
        encoding="utf-8",
    )
    done = python(
        script, folder=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=server.url, OTEL_EXPORTER_OTLP_PROTOCOL="http/json"
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = values(list(server.rest())[-1])
    assert int(found["exits", ()]["asInt"]) == 41
    assert int(found["hiq.function.calls", (("function", "f"),)]["asInt"]) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_sends_its_own_under_a_name_of_its_own(server: Receiver, tmp_path: Path) -> None:
    script = tmp_path / "forks.py"
    script.write_text(
        """
import os, sys, warnings, hiq
# From 3.12 on Python warns of every fork beside a thread, whosever it is.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
hiq.init("shop", exporters=[], metrics=["otlp"])
orders = hiq.metrics.counter("orders")

@hiq.trace
def place(times):
    orders.inc(times)

place(5)
hiq.flush(60)
child = os.fork()
place(7 if child == 0 else 1)
if child == 0:
    assert hiq.shutdown(60)
    os._exit(0)
_, status = os.waitpid(child, 0)
sys.exit(status)
""",
        encoding="utf-8",
    )
    done = python(
        script, folder=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=server.url, OTEL_EXPORTER_OTLP_PROTOCOL="http/json"
    )
    assert (done.returncode, done.stderr) == (0, "")
    last: dict[str, tuple[int, int]] = {}
    for request in server.rest():
        (resource,) = request.json()["resourceMetrics"]
        attributes = {pair["key"]: pair["value"] for pair in resource["resource"]["attributes"]}
        found = values(request)
        last[attributes["service.instance.id"]["stringValue"]] = (
            int(found["orders", ()]["asInt"]),
            int(found["hiq.function.calls", (("function", "place"),)]["asInt"]),
        )
    assert sorted(last.values()) == [(6, 2), (7, 1)]


def test_the_console_shows_metrics(tmp_path: Path) -> None:
    script = tmp_path / "shows.py"
    script.write_text(
        "import hiq\nhiq.init('shop', exporters=[], metrics=['console'])\nhiq.metrics.counter('shown').inc(2)\n",
        encoding="utf-8",
    )
    done = python(script, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    (metric,) = json.loads(line)["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    assert metric["name"] == "shown"
