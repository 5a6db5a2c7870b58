"""What became of spans and points, as metrics: the ledgers of `hiq.stats()`, where somebody scrapes."""

from __future__ import annotations

import secrets
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiq
import pytest
from conftest import python
from prometheus_client.parser import text_string_to_metric_families
from receiver import Receiver, receiver, values
from recorder import check_ledger


@pytest.fixture(autouse=True)
def _own_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIQ_METRIC_DIR", str(tmp_path))
    monkeypatch.delenv("HIQ_EXPORTER_METRICS", raising=False)


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as server:
        yield server


def scraped() -> dict[tuple[str, ...], float]:
    """The samples of the ledgers, by exporter and outcome or place."""
    address = hiq.prometheus.address()
    assert address is not None
    with urllib.request.urlopen(f"http://{address[0]}:{address[1]}/metrics", timeout=60) as answer:
        return ledgers(answer.read())


def ledgers(page: bytes) -> dict[tuple[str, ...], float]:
    """Without reasons that nothing was dropped for."""
    families = text_string_to_metric_families(page.decode())
    return {
        (sample.name.removeprefix("hiq_exporter_"), *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("hiq_exporter_") and (sample.value or "reason" not in sample.labels)
    }


def shown_of(stats: dict[str, dict[str, Any]]) -> dict[tuple[str, ...], float]:
    """What a page is to show of `hiq.stats()`."""
    expected: dict[tuple[str, ...], float] = {}
    for name, row in stats.items():
        for outcome in ("exported", "sent_unconfirmed", "rejected"):
            expected["items_total", name, outcome] = row[outcome]
        for reason, dropped in row["dropped"].items():
            expected["items_total", name, "dropped", reason] = dropped
        for place in ("queued", "in_flight", "spooled"):
            expected["held", name, place] = row[place]
    return expected


def test_a_scrape_shows_the_ledgers_of_spans_and_points(server: Receiver) -> None:
    server.status = 400
    refused = hiq.OtlpExporter(server.url, protocol="http/json")
    pushed = hiq.OtlpMetricExporter(server.url, protocol="http/json")
    metrics = [hiq.PrometheusExporter("127.0.0.1", 0), pushed]
    hiq.init("shop", exporters=["memory", refused], metrics=metrics, log_level="none")
    for number in range(3):
        hiq.record(f"order-{number}")
    hiq.flush(60)
    found = scraped()
    assert found["items_total", "memory", "exported"] == 3
    assert found["items_total", "otlp", "rejected"] == 3
    assert found["items_total", "metrics-otlp", "rejected"] > 0
    assert found == shown_of(hiq.stats())
    check_ledger()


def test_what_is_pushed_has_them_only_where_that_is_asked_for(
    server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def names(**settings: Any) -> set[str]:
        pushed = hiq.OtlpMetricExporter(server.url, protocol="http/json")
        hiq.init("shop", exporters=["memory"], metrics=[pushed], **settings)
        hiq.metrics.counter(f"c.{secrets.token_hex(6)}").inc()
        hiq.record("order")
        assert hiq.shutdown(60)
        return {name for name, _ in values(list(server.rest())[-1])}

    assert "hiq.exporter.items" not in names()
    assert "hiq.exporter.items" in names(exporter_metrics=True)
    assert "hiq.exporter.items" not in names()
    monkeypatch.setenv("HIQ_EXPORTER_METRICS", "true")
    assert {"hiq.exporter.items", "hiq.exporter.held"} <= names()
    assert "hiq.exporter.items" not in names(exporter_metrics=False)


def test_a_scrape_does_without_them_where_that_is_asked_for() -> None:
    endpoint = hiq.PrometheusExporter("127.0.0.1", 0)
    hiq.init("shop", exporters=["memory"], metrics=[endpoint], exporter_metrics=False)
    hiq.metrics.counter(f"c.{secrets.token_hex(6)}").inc()
    assert scraped() == {}
    app = hiq.prometheus.wsgi_app()
    assert ledgers(b"".join(app({}, lambda *_: None))) == {}


def test_a_page_of_a_web_application_shows_them_too() -> None:
    hiq.init("shop", exporters=["memory"])
    hiq.record("order")
    assert hiq.flush(60)
    page = b"".join(hiq.prometheus.wsgi_app()({}, lambda *_: None))
    assert ledgers(page) == shown_of(hiq.stats())
    assert hiq.stats()["memory"]["exported"] == 1


ENDS = """
import sys, hiq
hiq.init("group", exporters=["memory"], metrics=[hiq.PrometheusExporter("127.0.0.1", int(sys.argv[1]))])
for number in range(3):
    hiq.record(f"order-{number}")
"""


def test_what_a_process_sent_is_shown_after_its_end(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hiq.init("group", exporters=["memory"], metrics=[hiq.PrometheusExporter("127.0.0.1", port)])
    done = python("-c", ENDS, str(port), folder=tmp_path, HIQ_METRIC_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    hiq.record("order")
    assert hiq.flush(60)
    assert scraped()["items_total", "memory", "exported"] == 3 + 1
