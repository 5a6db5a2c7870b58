"""The example of metrics: what a scrape shows is what the program itself says that it sold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import prometheus_client.openmetrics.parser

EXAMPLE = Path(__file__).resolve().parents[1] / "metrics.py"
ACCEPT = "application/openmetrics-text;version=1.0.0"


def test_a_scrape_of_the_example_shows_what_it_sold(tmp_path: Path) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    environment = {
        **kept,
        "HIQ_METRIC_DIR": str(tmp_path),
        "HIQ_STATUS_DIR": str(tmp_path),
        "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
        "PYTHONIOENCODING": "utf-8",
    }
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
    ) as shop:
        assert shop.stdout is not None
        address, sold = shop.stdout.readline().strip(), json.loads(shop.stdout.readline())
        request = urllib.request.Request(address, headers={"Accept": ACCEPT})
        with urllib.request.urlopen(request, timeout=60) as answer:
            page = answer.read().decode()
        _, said = shop.communicate("\n", timeout=60)
    assert (shop.returncode, said) == (0, "")
    parser: Any = prometheus_client.openmetrics.parser
    families = parser.text_string_to_metric_families(page)
    samples = [sample for family in families for sample in family.samples]
    found = {(one.name, *sorted(one.labels.items())): one.value for one in samples}
    assert sum(sold.values()) == 100
    for city, orders in sold.items():
        assert found["shop_orders_total", ("city", city)] == orders
    waiting = [value for (name, *_), value in found.items() if name == "shop_waiting"]
    assert waiting == [100]
    assert found["shop_packing_seconds_count",] == 100
    assert found["hiq_function_calls_total", ("function", "place")] == 100
    assert found["hiq_function_calls_total", ("function", "pack")] == 100
    assert (
        found["hiq_exporter_items_total", ("exporter", "metrics"), ("outcome", "exported")] == 200
    )
    counted = [one for one in samples if one.name == "shop_orders_total"]
    assert all(
        one.exemplar is not None and len(one.exemplar.labels["trace_id"]) == 32 for one in counted
    )
