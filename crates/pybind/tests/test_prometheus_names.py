"""Names and labels that Prometheus could take for others: its own readers, and `prometheus_client`'s parsers, find each once."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from conftest import python
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

# Every metric that is left out, or loses a series, comes after the one that it clashes with.
PROGRAM = """
import json, sys, urllib.request
import hiq

hiq.init("shop", exporters=[], metrics=[hiq.PrometheusExporter("127.0.0.1", 0)])
m = hiq.metrics
m.counter("a.b", "one").inc(1)
m.counter("a_b", "two").inc(2)
m.gauge("a-b").set(9)
m.counter("lat", unit="s").inc()
m.counter("lat_seconds").inc()
m.counter("x").inc()
m.gauge("x_total").set(1)
m.counter("x_created").inc()
m.histogram("h").observe(1)
m.counter("h_count").inc()
m.gauge("h_sum").set(1)
m.summary("sm").observe(1)
m.gauge("sm.count").set(1)
m.gauge("target_info").set(1)
m.gauge("target").set(1)
m.gauge("up").set(1)
m.counter("lab").labels({"a.b": "1", "a_b": "2", "a-b": "3"}).inc()
same = m.gauge("same")
same.labels({"a.b": "1"}).set(1)
same.labels({"a_b": "1"}).set(2)
same.labels({"a_b": "2", "empty": ""}).set(3)
m.summary("q").labels(quantile="0.5").observe(1)
m.histogram("hl").labels(le="1", pid="7").observe(1)
held = m.gauge("held")
held.labels(pid="1").set(1)
held.labels(pid="2").set(2)
with hiq.trace("f"):
    m.counter("traced").inc()

host, port = hiq.prometheus.address()
def page(accept):
    request = urllib.request.Request(f"http://{host}:{port}/metrics", headers={"Accept": accept})
    return urllib.request.urlopen(request, timeout=60).read().decode()

pages = [page(accept) for accept in ("text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0")]
pages += [b"".join(hiq.prometheus.wsgi_app()({"HTTP_ACCEPT": sys.argv[1]}, lambda *_: None)).decode()]
print(json.dumps(pages))
"""
OPEN_METRICS = "application/openmetrics-text;version=1.0.0"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("names")
    script = folder / "shop.py"
    script.write_text(PROGRAM, encoding="utf-8")
    done = python(script, OPEN_METRICS, folder=folder, HIQ_METRIC_DIR=str(folder))
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    ("place", "parse"),
    [
        (0, text_string_to_metric_families),
        (1, openmetrics.text_string_to_metric_families),
        (2, openmetrics.text_string_to_metric_families),
    ],
)
def test_every_page_is_valid_and_holds_each_series_once(done: Any, place: int, parse: Any) -> None:
    page = json.loads(done.stdout)[place]
    found = [sample for family in parse(page) for sample in family.samples]
    series = Counter((sample.name, tuple(sorted(sample.labels.items()))) for sample in found)
    assert [name for name, count in series.items() if count > 1] == []
    heads = Counter(line.split()[2] for line in page.splitlines() if line.startswith("# TYPE"))
    assert [name for name, count in heads.items() if count > 1] == []
    # A parser keeps the last value of a label that stands twice: what was read is what was written.
    assert [sample.name for sample in found if len(sample.labels) != labels_of(page, sample)] == []
    values = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in found}
    assert values["a_b_total", ()] == 1
    assert values["h_count_total", ()] == 1
    assert values["lab_total", (("a_b", "3;1;2"),)] == 1
    assert values["q", (("exported_quantile", "0.5"), ("quantile", "0.5"))] == pytest.approx(1, rel=0.0055)
    names = {sample.name for sample in found}
    assert {"target", "up", "a_b", "x_total", "x_created_total", "sm_count", "traced_total"} <= names
    if place == 2:  # Of one process, whose gauges need no label of it.
        assert values["hl_sum", (("exported_le", "1"), ("pid", "7"))] == 1
        assert [values["held", (("pid", pid),)] for pid in "12"] == [1, 2]
        return
    assert values["hl_sum", (("exported_le", "1"), ("pid", "7"))] == 1
    held = {sample.labels["exported_pid"]: sample.value for sample in found if sample.name == "held"}
    assert held == {"1": 1, "2": 2}


def labels_of(page: str, sample: Any) -> int:
    """Labels of the line that `sample` was read from, by their equals signs."""
    lines = (line.split(" # ")[0] for line in page.splitlines() if line.split("{")[0].split(" ")[0] == sample.name)
    values = list(sample.labels.values())
    own = next(line for line in lines if all(f'="{value}"' in line for value in values))
    return own.count('="')


def test_each_metric_that_is_left_out_is_told_of_once_with_its_rival(done: Any) -> None:
    lines = [line for line in done.stderr.splitlines() if "left out" in line]
    for lost, kept in (
        ("a_b", "a.b"),
        ("lat_seconds", "lat"),
        ("x_total", "x"),
        ("h_sum", "h"),
        ("sm.count", "sm"),
        ("target_info", "target_info"),
        ("same", ""),
    ):
        rivals = [line for line in lines if f"the metric `{lost}` " in line]
        # Once by the endpoint, and once by the application.
        assert len(rivals) == 2, (lost, lines)
        assert all(f"`{kept}`" in line for line in rivals if kept), rivals
    assert len(lines) == 14, lines
