"""Names and labels that Prometheus could take for others: its own readers, and `prometheus_client`'s parsers, find each once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
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


# --- UTF-8 ----------------------------------------------------------------------------------------

UTF8_PROGRAM = """
import json, urllib.request
import hiq

hiq.init("shop", exporters=[], metrics=[hiq.PrometheusExporter("127.0.0.1", 0, utf8_names=True)])
hiq.metrics.counter("日本").labels({"城市": "京都", "http.route": "/"}).inc(1)
hiq.metrics.counter("中国").inc(2)
host, port = hiq.prometheus.address()
# What Prometheus 3 sends, and what 2 does.
accepts = [
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4",
    "text/plain;version=1.0.0;escaping=allow-utf-8",
    "application/openmetrics-text;version=1.0.0",
    "text/plain;version=0.0.4",
]
pages = []
for accept in accepts:
    request = urllib.request.Request(f"http://{host}:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=60) as answer:
        pages.append((answer.headers["Content-Type"], answer.read().decode()))
for keeps in (True, False):
    kind = []
    app = hiq.prometheus.wsgi_app(utf8_names=keeps)
    page = b"".join(app({"HTTP_ACCEPT": accepts[0]}, lambda status, headers: kind.append(dict(headers)["Content-Type"])))
    pages.append((kind[0], page.decode()))
print(json.dumps(pages))
"""


def test_utf8_names_are_for_scrapers_that_read_them_and_told_apart_for_the_others(tmp_path: Path) -> None:
    script = tmp_path / "shop.py"
    script.write_text(UTF8_PROGRAM, encoding="utf-8")
    done = python(script, folder=tmp_path, HIQ_METRIC_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    pages = json.loads(done.stdout)
    kept = {("日本_total", (("http.route", "/"), ("城市", "京都"))): 1, ("中国_total", ()): 2}
    labels = (("U___57ce__5e02_", "京都"), ("http_route", "/"))
    told_apart = {("U___65e5__672c__total", labels): 1, ("U___4e2d__56fd__total", ()): 2}
    for (kind, page), keeps in zip(pages, (True, True, False, False, True, False), strict=True):
        assert ("escaping=allow-utf-8" in kind) == keeps, kind
        parse: Any = openmetrics.text_string_to_metric_families
        if "openmetrics" not in kind:
            parse = text_string_to_metric_families
        found = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in parse(page)
            for sample in family.samples
            if sample.name in ("日本_total", "中国_total")
            or (sample.name.startswith("U__") and "_total" in sample.name)
        }
        assert found == (kept if keeps else told_apart), page


# --- examples -------------------------------------------------------------------------------------

EXAMPLES = """
import hiq

hiq.init("shop", exporters=[], metrics=["prometheus"])

@hiq.trace
def work():
    hiq.metrics.counter("own").inc()

work()
hiq.flush(60)
print(b"".join(hiq.prometheus.wsgi_app()({"HTTP_ACCEPT": "application/openmetrics-text"}, lambda *_: None)).decode())
"""


def test_nothing_is_created_after_its_example(tmp_path: Path) -> None:
    done = python("-c", EXAMPLES, folder=tmp_path, HIQ_METRIC_DIR=str(tmp_path), OTEL_EXPORTER_PROMETHEUS_PORT="0")
    assert done.returncode == 0, done.stderr
    families = list(openmetrics.text_string_to_metric_families(done.stdout.rstrip() + "\n"))
    created = {
        (family.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if sample.name == f"{family.name}_created"
    }
    shown = {
        (family.name, tuple(sorted(sample.labels.items()))): sample.exemplar.timestamp
        for family in families
        for sample in family.samples
        if sample.exemplar is not None
    }
    assert {name for name, _ in shown} >= {"hiq_function_calls", "own"}
    for series, timestamp in shown.items():
        assert created[series] <= float(timestamp), series
