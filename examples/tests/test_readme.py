"""The README's Python does what the README says. (Its Rust is a documentation test of hiq-otlp.)"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "examples" / "shop"
CHECKOUT = """
class Order:
    total = 12.5

class Receipt:
    number = "r-1"

def pay(order):
    return Receipt()
"""
# After the README's lines: the same call again, where its spans can be seen.
SEEN = """
from hiq.testing import InMemoryExporter
with InMemoryExporter() as spans:
    receipt = checkout(Order())
    seen = {span["name"]: span for span in spans.spans()}
assert seen["charge"]["parent_span_id"] == seen["checkout"]["span_id"], seen
assert seen["charge"]["attributes"] == {"amount": 12.5, "receipt": "r-1"}, seen
assert seen["checkout"]["span_id"] in receipt.headers["traceparent"], receipt.headers
assert [event["name"] for event in seen["checkout"]["events"]] == ["sold"], seen
"""


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={
            "PYTHONPATH": str(SHOP),
            "HIQ_STATUS_DIR": str(folder),
            "PYTHONIOENCODING": "utf-8",
        },
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the README's commands are typed."""
    [conf] = blocks("yaml")
    (tmp_path / "conf.yaml").write_text(conf, encoding="utf-8")
    return tmp_path


def test_the_conf_fits_the_shop(folder: Path) -> None:
    checked = run(folder, "-m", "hiq", "conf", "check", "conf.yaml")
    assert checked.returncode == 0, checked.stderr
    assert re.fullmatch(r"conf\.yaml: 3 rows, \d+ targets, 0 problems\n", checked.stdout)


def test_the_modern_face_records_what_it_shows(folder: Path) -> None:
    inside = next(block for block in blocks("python") if "hiq.init" in block)
    # Nobody listens there, so the README's flush gives up at once instead of after five seconds.
    inside = inside.replace("timeout=5.0", "timeout=0.1")
    ran = run(folder, "-c", CHECKOUT + inside + SEEN)
    assert ran.returncode == 0, ran.stderr


# After the README's lines on metrics: what was counted, and asked for.
COUNTED = """
found = {family["name"]: family["points"] for family in hiq.metrics.snapshot()}
(orders,), (latency,), (waiting,) = (
    found["shop.orders"], found["shop.latency"], found["shop.waiting"]
)
assert (orders["labels"], orders["value"]) == ({"city": "Oslo"}, 1), orders
assert latency["count"] == 1 and 0 <= latency["sum"] < 60, latency
assert waiting["value"] == 2, waiting
page = urllib.request.urlopen("http://{}:{}/metrics".format(*hiq.prometheus.address()), timeout=30)
assert b'shop_orders_total{city="Oslo"} 1' in page.read()
"""


def test_the_lines_on_metrics_count_what_they_show(folder: Path) -> None:
    metrics = next(block for block in blocks("python") if "hiq.metrics.counter" in block)
    before = (
        "import hiq, os, types, urllib.request\n"
        "os.environ.update(OTEL_EXPORTER_PROMETHEUS_PORT='0', HIQ_METRIC_DIR=os.getcwd())\n"
        "queue = types.SimpleNamespace(qsize=lambda: 2)\n"
    )
    ran = run(folder, "-c", before + metrics + COUNTED)
    assert ran.returncode == 0, ran.stderr


def test_the_test_of_the_readme_passes(folder: Path) -> None:
    testing = next(block for block in blocks("python") if "InMemoryExporter" in block)
    place_order = "import hiq\n@hiq.trace\ndef place_order(): pass\n"
    ran = run(folder, "-c", f"{place_order}{testing}\ntest_orders_are_traced()")
    assert ran.returncode == 0, ran.stderr


def test_the_lines_for_hiqs_users_draw_a_tree(folder: Path) -> None:
    migration = next(block for block in blocks("python") if "HiQLatency" in block)
    orders = (
        "import sys, types\n"
        "order = 1\n"
        "module = sys.modules['shop.orders'] = types.ModuleType('orders')\n"
    )
    ran = run(folder, "-c", f"{orders}module.place_order = lambda order: None\n{migration}")
    assert ran.returncode == 0, ran.stderr
    assert "l___place_order(" in ran.stdout
