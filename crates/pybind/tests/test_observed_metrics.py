"""Metrics that a callback tells, and measurements as examples of the traces that they were made in."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hiq
import pytest
from conftest import python
from hiq import _hiq
from prometheus_client.openmetrics import parser as openmetrics
from receiver import Receiver, receiver, values
from recorder import check_ledger

OPEN_METRICS = "application/openmetrics-text;version=1.0.0"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    for name in ("OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with receiver() as server:
        yield server


@pytest.fixture
def name() -> str:
    """Of a metric that no other test has."""
    return f"m.{secrets.token_hex(6)}"


@pytest.fixture
def filter_by(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Sets which measurements may be examples, for the instruments of this test."""

    def set_to(filter: str) -> None:
        monkeypatch.setenv("OTEL_METRICS_EXEMPLAR_FILTER", filter)
        hiq.metrics.counter("filter.follows")

    yield set_to
    monkeypatch.delenv("OTEL_METRICS_EXEMPLAR_FILTER", raising=False)
    hiq.metrics.counter("filter.follows")


def points(name: str) -> list[dict[str, Any]]:
    found = [family["points"] for family in hiq.metrics.snapshot() if family["name"] == name]
    return found[0] if found else []


def numbers(name: str) -> dict[tuple[tuple[str, str], ...], float]:
    return {tuple(sorted(point["labels"].items())): point["value"] for point in points(name)}


# --- callbacks ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (hiq.metrics.gauge, "gauge"),
        (hiq.metrics.counter, "counter"),
        (hiq.metrics.up_down_counter, "up_down_counter"),
    ],
)
def test_a_callback_is_asked_at_every_reading(name: str, make: Any, kind: str) -> None:
    log: list[int] = []

    def told() -> int:
        log.append(1)
        return len(log)

    observed = make(name, "What it is.", "{thing}", callback=told)
    assert log == [], "nobody has read yet"
    assert numbers(name) == {(): 1}
    assert numbers(name) == {(): 2}
    assert len(log) == 2
    (family,) = [family for family in hiq.metrics.snapshot() if family["name"] == name]
    assert (family["kind"], family["description"], family["unit"]) == (kind, "What it is.", "{thing}")
    assert repr(observed) == f"<Observed '{name}'>"
    observed.stop()
    assert numbers(name) == {}
    assert len(log) == 3


def test_pairs_of_labels_and_numbers_are_series(name: str) -> None:
    hiq.metrics.gauge(name, callback=lambda: [({"city": "Oslo"}, 3), ({"city": "Rom", "n": 1}, 0.5), ({}, -1)])
    assert numbers(name) == {(("city", "Oslo"),): 3, (("city", "Rom"), ("n", "1")): 0.5, (): -1}


def test_whole_numbers_of_sums_stay_whole(name: str) -> None:
    hiq.metrics.counter(name, callback=lambda: 2**53 + 1)
    assert numbers(name) == {(): 2**53 + 1}


def test_the_newest_callback_of_a_name_is_asked_and_an_older_one_stops_nothing(name: str) -> None:
    older = hiq.metrics.gauge(name, callback=lambda: 1)
    newer = hiq.metrics.gauge(name, callback=lambda: 2)
    assert numbers(name) == {(): 2}
    older.stop()
    assert numbers(name) == {(): 2}
    newer.stop()
    assert numbers(name) == {}


def test_a_name_is_one_metric_of_one_kind(name: str) -> None:
    hiq.metrics.gauge(name, callback=lambda: 1)
    with pytest.raises(hiq.ConfigError, match=name):
        hiq.metrics.counter(name, callback=lambda: 1)
    with pytest.raises(hiq.ConfigError, match=name):
        hiq.metrics.gauge(name)
    own = f"{name}.own"
    hiq.metrics.gauge(own)
    with pytest.raises(hiq.ConfigError, match=own):
        hiq.metrics.gauge(own, callback=lambda: 1)
    with pytest.raises(TypeError, match="callback is something to call, not int"):
        hiq.metrics.gauge(f"{name}.other", callback=3)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("three", "TypeError"),
        (None, "TypeError: a callback returns a number, or pairs of labels and number"),
        ([("no labels", 1)], "TypeError: labels takes a mapping"),
        ([({"a": "b"}, "many")], "TypeError"),
        (-1, "ValueError: a counter never falls below zero: -1; hiq.metrics.up_down_counter does"),
    ],
)
def test_what_is_no_number_is_said_once_and_left_out(
    name: str, caplog: pytest.LogCaptureFixture, returned: object, said: str
) -> None:
    hiq.metrics.counter(f"{name}.well", callback=lambda: 1)
    wrong = hiq.metrics.counter(name, callback=lambda: returned)  # type: ignore[arg-type,return-value]
    for _ in range(3):
        assert numbers(name) == {}
        assert numbers(f"{name}.well") == {(): 1}
    wrong.stop()
    lines = [record.getMessage() for record in caplog.records if name in record.getMessage()]
    assert len(lines) == 1
    assert said in lines[0]


def test_a_callback_that_raises_is_said_once_and_costs_only_its_own_metric(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> int:
        raise RuntimeError("no database")

    wrong = hiq.metrics.gauge(name, callback=fails)
    hiq.metrics.gauge(f"{name}.well", callback=lambda: 1)
    for _ in range(3):
        assert numbers(name) == {}
        assert numbers(f"{name}.well") == {(): 1}
    wrong.stop()
    (line,) = [record.getMessage() for record in caplog.records if name in record.getMessage()]
    assert line == f"hiq: the callback of the metric '{name}' failed: RuntimeError: no database"


def cancelled() -> float:
    loop = asyncio.new_event_loop()
    future: asyncio.Future[float] = loop.create_future()
    future.cancel()
    loop.close()
    return future.result()


def leaves() -> float:
    sys.exit(3)


def interrupts() -> float:
    raise KeyboardInterrupt


class Unspeakable(BaseException):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def unspeakable() -> float:
    raise Unspeakable


@pytest.mark.parametrize(
    ("callback", "said"),
    [
        (cancelled, "CancelledError"),
        (leaves, "SystemExit: 3"),
        (interrupts, "KeyboardInterrupt"),
        (unspeakable, "Unspeakable"),
    ],
)
def test_no_exception_ends_the_other_callbacks(
    name: str, caplog: pytest.LogCaptureFixture, callback: Any, said: str
) -> None:
    before = hiq.metrics.gauge(f"{name}.before", callback=lambda: 1)
    wrong = hiq.metrics.gauge(name, callback=callback)
    after = hiq.metrics.gauge(f"{name}.after", callback=lambda: 2)
    for _ in range(3):
        assert numbers(f"{name}.before") == {(): 1}
        assert numbers(name) == {}
        assert numbers(f"{name}.after") == {(): 2}
    for observed in (before, wrong, after):
        observed.stop()
    (line,) = [record.getMessage() for record in caplog.records if name in record.getMessage()]
    assert line == f"hiq: the callback of the metric '{name}' failed: {said}"


def test_those_that_never_return_are_told_of_and_the_others_are_asked_at_every_reading(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    may_return = threading.Event()
    log: list[str] = []

    def told(value: int) -> Callable[[], int]:
        def tell() -> int:
            log.append("told")
            return value

        return tell

    def waits() -> int:
        log.append("waits")
        may_return.wait(60)
        return 1

    observed = [
        hiq.metrics.gauge(f"{name}.before", callback=told(1)),
        hiq.metrics.gauge(f"{name}.stuck.one", callback=waits),
        hiq.metrics.gauge(f"{name}.between", callback=told(2)),
        hiq.metrics.gauge(f"{name}.stuck.two", callback=waits),
        hiq.metrics.gauge(f"{name}.after", callback=told(3)),
    ]
    plain = hiq.metrics.counter(f"{name}.own")
    plain.inc(3)
    # By the third reading both are stuck, however slow this machine is.
    for _ in range(3):
        hiq.metrics.snapshot()
    log.clear()
    for _ in range(3):
        found = {family["name"]: family["points"] for family in hiq.metrics.snapshot()}
        values = {place: [point["value"] for point in found.get(f"{name}.{place}", [])] for place in PLACES}
        assert values == {"before": [1], "stuck.one": [], "between": [2], "stuck.two": [], "after": [3], "own": [3]}
    assert log == ["told"] * 9, "those that have not returned are not called again"
    deadline = time.monotonic() + 60
    lines: list[str] = []
    while len(lines) < 2 and time.monotonic() < deadline:
        lines = [record.getMessage() for record in caplog.records if name in record.getMessage()]
    assert sorted(lines) == [
        f"hiq: the callback of the metric '{name}.stuck.{number}' takes over 1 s, which nobody waits for: "
        "the metric is left out until it returns"
        for number in ("one", "two")
    ]
    may_return.set()
    # One that has returned is called again, and each returns when it comes to it.
    deadline = time.monotonic() + 60
    for number in ("one", "two"):
        while numbers(f"{name}.stuck.{number}") != {(): 1} and time.monotonic() < deadline:
            pass
        assert numbers(f"{name}.stuck.{number}") == {(): 1}
    for one in observed:
        one.stop()


PLACES = ("before", "stuck.one", "between", "stuck.two", "after", "own")


STUCK = """
import logging, sys, threading
import hiq

told = threading.Event()

class Lines(logging.StreamHandler):
    def emit(self, record):
        super().emit(record)
        told.set()

logging.getLogger("hiq").addHandler(Lines(sys.stderr))
hiq.metrics.gauge("stuck", callback=threading.Event().wait)
hiq.metrics.gauge("open", callback=lambda: 7)
for _ in range(5):
    found = {family["name"]: [point["value"] for point in family["points"]] for family in hiq.metrics.snapshot()}
assert found == {"open": [7]}, found
assert told.wait(60)
"""


def test_one_that_never_returns_does_not_hold_up_the_end_of_the_program(tmp_path: Path) -> None:
    done = python("-c", STUCK, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the callback of the metric 'stuck' takes over 1 s") == 1, done.stderr


def test_nothing_in_a_callback_is_recorded_and_one_may_read_and_measure(name: str, memory: None) -> None:
    counter = hiq.metrics.counter(f"{name}.asked")

    @hiq.trace
    def count() -> int:
        counter.inc()
        return len(hiq.metrics.snapshot())

    observed = hiq.metrics.gauge(name, callback=count)
    assert numbers(name)[()] > 0
    observed.stop()
    assert hiq.flush(60)
    assert hiq.stats()["memory"]["offered"] == 0
    assert numbers(f"{name}.asked")[()] == 1


def test_what_a_callback_says_leaves_and_the_ledger_balances(name: str, server: Receiver) -> None:
    exporter = hiq.OtlpMetricExporter(server.url, protocol="http/json")
    hiq.init("shop", exporters=[], metrics=[exporter])
    observed = hiq.metrics.gauge(name, callback=lambda: [({"city": "Oslo"}, 4)])
    assert hiq.flush(60)
    observed.stop()
    assert values(server.next())[name, (("city", "Oslo"),)]["asDouble"] == 4
    check_ledger()


CALLBACKS = """
import json, os, sys, urllib.request, warnings
import hiq
# From 3.12 on Python warns of every fork beside a thread, whosever it is.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
hiq.init("shop", exporters=[], metrics=[hiq.PrometheusExporter("127.0.0.1", 0)])
hiq.metrics.gauge("whose", callback=os.getpid)

def read():
    return {family["name"]: [point["value"] for point in family["points"]] for family in hiq.metrics.snapshot()}

assert read()["whose"] == [os.getpid()]
host, port = hiq.prometheus.address()
page = urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=60).read().decode()
assert [line for line in page.splitlines() if line.startswith("whose")], page
child = os.fork()
if child == 0:
    os._exit(0 if read()["whose"] == [os.getpid()] else 1)
_, status = os.waitpid(child, 0)
sys.exit(status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_scrape_asks_and_a_forked_child_asks_its_own(tmp_path: Path) -> None:
    done = python("-c", CALLBACKS, folder=tmp_path, HIQ_METRIC_DIR=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def test_under_gevent_the_other_greenlets_go_on(tmp_path: Path) -> None:
    script = (
        "from gevent import monkey; monkey.patch_all()\nimport gevent, hiq\n"
        "hiq.metrics.gauge('open', callback=lambda: 5)\n"
        "assert gevent.spawn(lambda: 1).get(timeout=60) == 1\n"
        "assert hiq.metrics.snapshot()[0]['points'][0]['value'] == 5\n"
    )
    done = python("-c", script, folder=tmp_path)
    assert done.returncode == 0, done.stderr


# --- examples -------------------------------------------------------------------------------------


def ids() -> tuple[str, str]:
    context = hiq.current_context()
    assert context is not None
    return context.trace_id, context.span_id


def examples(name: str) -> list[tuple[float, str, str]]:
    (point,) = points(name)
    return [(one["value"], one["trace_id"], one["span_id"]) for one in point.get("exemplars", [])]


def test_what_is_counted_in_a_span_is_shown_with_it(name: str, memory: None) -> None:
    counter = hiq.metrics.counter(f"{name}.c")
    sizes = hiq.metrics.histogram(f"{name}.h", buckets=[1, 10])
    wide = hiq.metrics.exponential_histogram(f"{name}.e")
    latency = hiq.metrics.summary(f"{name}.s")
    counter.inc(9)
    with hiq.trace("buy"):
        bought = ids()
        counter.inc(2)
        for instrument in (sizes, wide, latency):
            instrument.observe(0.5)
        with hiq.trace("pay"):
            paid = ids()
            sizes.observe(5)
    counter.inc(9)
    assert examples(f"{name}.c") == [(2, *bought)]
    assert examples(f"{name}.h") == [(0.5, *bought), (5, *paid)]
    assert examples(f"{name}.e") == [(0.5, *bought)]
    assert examples(f"{name}.s") == [(0.5, *bought)]
    assert hiq.flush(60)
    recorded = {(span["trace_id"], span["span_id"]) for span in _hiq.memory_spans()}
    assert {bought, paid} == recorded


def test_tasks_have_examples_of_their_own(name: str, memory: None) -> None:
    sizes = hiq.metrics.histogram(name, buckets=[1, 2])

    async def task(size: float, other: asyncio.Event, own: asyncio.Event) -> tuple[str, str]:
        with hiq.trace(f"task {size}"):
            own.set()
            await other.wait()
            sizes.observe(size)
            return ids()

    async def main() -> list[tuple[str, str]]:
        one, two = asyncio.Event(), asyncio.Event()
        return list(await asyncio.gather(task(0.5, one, two), task(1.5, two, one)))

    first, second = asyncio.run(main())
    assert first != second
    assert examples(name) == [(0.5, *first), (1.5, *second)]


@pytest.mark.parametrize(("filter", "shown"), [("trace_based", False), ("always_on", True), ("always_off", False)])
def test_outside_of_spans_only_always_on_shows_examples(name: str, filter_by: Any, filter: str, shown: bool) -> None:
    filter_by(filter)
    hiq.metrics.counter(name).inc(3)
    assert examples(name) == ([(3, "0" * 32, "0" * 16)] if shown else [])


def test_nothing_is_shown_of_what_is_not_sampled_or_not_to_be_shown(name: str, filter_by: Any) -> None:
    hiq.init("shop", exporters=["memory"], sampler="always_off")
    counter = hiq.metrics.counter(name)
    with hiq.trace("buy"):
        counter.inc()
    assert examples(name) == []
    hiq.shutdown(60)
    hiq.init("shop", exporters=["memory"])
    filter_by("always_off")
    with hiq.trace("buy"):
        counter.inc()
    assert examples(name) == []
    filter_by("trace_based")
    with hiq.trace("buy"), hiq.suppress():
        counter.inc()
    assert examples(name) == []
    with hiq.trace("buy"):
        counter.inc()
    assert len(examples(name)) == 1


def test_examples_leave_in_every_form_that_has_room_for_them(name: str, server: Receiver) -> None:
    exporter = hiq.OtlpMetricExporter(server.url, protocol="http/json")
    hiq.init("shop", exporters=["memory"], metrics=[exporter])
    with hiq.trace("buy"):
        trace_id, span_id = ids()
        hiq.metrics.counter(name).inc(2)
    assert hiq.flush(60)
    (example,) = values(server.next())[name, ()]["exemplars"]
    assert (example["traceId"], example["spanId"], int(example["asInt"])) == (trace_id, span_id, 2)
    app = hiq.prometheus.wsgi_app()
    page = b"".join(app({"HTTP_ACCEPT": OPEN_METRICS}, lambda *_: None)).decode()
    samples = [sample for family in openmetrics.text_string_to_metric_families(page) for sample in family.samples]
    (sample,) = [sample for sample in samples if sample.name == f"{name.replace('.', '_')}_total"]
    assert sample.exemplar is not None
    assert (sample.exemplar.labels, sample.exemplar.value) == ({"trace_id": trace_id, "span_id": span_id}, 2)
    protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    page = b"".join(app({"HTTP_ACCEPT": protobuf}, lambda *_: None))
    assert trace_id.encode() in page
    assert span_id.encode() in page
    check_ledger()
