"""Instruments of the program's own: what a snapshot says is what the test counted itself."""

from __future__ import annotations

import asyncio
import math
import os
import random
import secrets
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import hiq
import pytest
from conftest import python


def fresh(base: str = "test") -> str:
    """A name that no other test has: instruments live as long as the process."""
    return f"{base}.{secrets.token_hex(6)}"


def points(name: str) -> dict[tuple[tuple[str, str], ...], dict]:
    """The points of a metric, by their labels."""
    families = [family for family in hiq.metrics.snapshot() if family["name"] == name]
    assert len(families) <= 1
    return {tuple(sorted(point["labels"].items())): point for family in families for point in family["points"]}


def value(name: str, **labels: str):
    return points(name)[tuple(sorted(labels.items()))]["value"]


# --- counters and gauges --------------------------------------------------------------------------


def test_a_counter_adds_up_whole_numbers_and_parts() -> None:
    name = fresh()
    orders = hiq.metrics.counter(name, "Orders that were placed.", "{order}")
    orders.inc()
    orders.inc(4)
    orders.add(amount=2)
    assert value(name) == 7
    assert isinstance(value(name), int)
    orders.add(0.25)
    assert value(name) == 7.25
    orders.add(2**70)
    assert value(name) == 7.25 + 2.0**70
    (family,) = [family for family in hiq.metrics.snapshot() if family["name"] == name]
    assert (family["kind"], family["unit"], family["description"]) == ("counter", "{order}", "Orders that were placed.")
    assert (orders.name, orders.unit, orders.description) == (name, "{order}", "Orders that were placed.")


@pytest.mark.parametrize("amount", [-1, -0.5, -(2**70), float("-inf")])
def test_a_counter_refuses_to_fall_and_names_what_does(amount: float) -> None:
    counter = hiq.metrics.counter(fresh())
    with pytest.raises(ValueError, match="up_down_counter"):
        counter.add(amount)
    assert points(counter.name) == {}


def test_an_up_down_counter_rises_and_falls() -> None:
    name = fresh()
    open_ = hiq.metrics.up_down_counter(name)
    open_.inc()
    open_.inc(5)
    open_.dec()
    open_.dec(2)
    open_.add(-1)
    assert value(name) == 2
    open_.dec(0.5)
    assert value(name) == 1.5


def test_a_gauge_holds_what_was_set_last() -> None:
    name = fresh()
    gauge = hiq.metrics.gauge(name, unit="Cel")
    gauge.set(21.5)
    gauge.inc(2)
    gauge.dec()
    gauge.add(-0.5)
    assert value(name) == 22.0
    gauge.set(-3)
    assert value(name) == -3.0


@pytest.mark.parametrize("given", ["1", None, [1], 1j])
def test_what_is_no_number_is_refused(given: object) -> None:
    for instrument in (hiq.metrics.counter(fresh()), hiq.metrics.up_down_counter(fresh()), hiq.metrics.gauge(fresh())):
        with pytest.raises(TypeError):
            instrument.inc(given)
    for instrument in (hiq.metrics.summary(fresh()), hiq.metrics.histogram(fresh())):
        with pytest.raises(TypeError):
            instrument.observe(given)


def test_numbers_of_other_types_count_as_what_they_are() -> None:
    name = fresh()
    summary = hiq.metrics.summary(name)
    given = [True, 3, Fraction(1, 4), 0.5]
    for number in given:
        summary.observe(number)
    point = points(name)[()]
    assert (point["count"], point["sum"]) == (len(given), float(sum(given)))


def test_too_many_arguments_are_refused() -> None:
    counter = hiq.metrics.counter(fresh())
    for call in (lambda: counter.add(1, 2), lambda: counter.add(1, amount=2), lambda: counter.add(pounds=1)):
        with pytest.raises(TypeError, match="amount"):
            call()


# --- labels ---------------------------------------------------------------------------------------


def test_labels_tell_series_apart() -> None:
    name = fresh()
    orders = hiq.metrics.counter(name)
    counted: dict[tuple[tuple[str, str], ...], int] = {}
    for _ in range(500):
        city, paid = random.choice(["Oslo", "Hà Nội", 'a"\\\n']), random.choice([True, False])
        orders.labels(city=city, paid=paid).inc()
        key = (("city", city), ("paid", str(paid)))
        counted[key] = counted.get(key, 0) + 1
    assert {labels: point["value"] for labels, point in points(name).items()} == counted


def test_labels_may_have_any_name_and_add_to_those_of_the_handle() -> None:
    name = fresh()
    latency = hiq.metrics.summary(name)
    route = latency.labels({"http.route": "/a", "class": 1})
    route.labels(city="Oslo").observe(1)
    route.labels({"http.route": "/b"}, city="Oslo").observe(2)
    assert {labels: point["sum"] for labels, point in points(name).items()} == {
        (("city", "Oslo"), ("class", "1"), ("http.route", "/a")): 1.0,
        (("city", "Oslo"), ("class", "1"), ("http.route", "/b")): 2.0,
    }
    assert repr(route.labels(city="Oslo")) == f'<Summary "{name}" city="Oslo" class="1" http.route="/a">'


def test_a_series_that_measured_nothing_is_not_shown() -> None:
    name = fresh()
    orders = hiq.metrics.counter(name)
    orders.labels(city="Oslo")
    assert points(name) == {}
    orders.labels(city="Oslo").inc(0)
    assert list(points(name)) == [(("city", "Oslo"),)]


def test_labels_that_are_no_mapping_are_refused() -> None:
    orders = hiq.metrics.counter(fresh())
    for given in (("Oslo",), ({}, {}), ({1: "a"},), (["city"],)):
        with pytest.raises(TypeError):
            orders.labels(*given)


def test_beyond_the_limit_series_share_one() -> None:
    name = fresh()
    users = hiq.metrics.counter(name, max_series=3)
    for user in range(10):
        users.labels(user=user).inc()
    assert {labels: point["value"] for labels, point in points(name).items()} == {
        (("user", "0"),): 1,
        (("user", "1"),): 1,
        (("user", "2"),): 1,
        (("otel.metric.overflow", "true"),): 7,
    }


def test_the_environment_says_how_many_series_a_metric_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIQ_METRIC_MAX_SERIES", "1")
    users, all_users = hiq.metrics.counter(fresh()), hiq.metrics.counter(fresh(), max_series=5)
    for counter in (users, all_users):
        for user in range(3):
            counter.labels(user=user).inc()
    assert list(points(users.name)) == [(("user", "0"),), (("otel.metric.overflow", "true"),)]
    assert len(points(all_users.name)) == 3


# --- histograms and summaries ---------------------------------------------------------------------


def test_a_histogram_counts_between_its_bounds() -> None:
    name = fresh()
    sizes = hiq.metrics.histogram(name, unit="By", buckets=(1, 10, 100, float("inf")))
    for size in (0.5, 1, 2, 10, 11, 1000, 5000):
        sizes.observe(size)
    point = points(name)[()]
    assert point["bounds"] == [1.0, 10.0, 100.0]
    assert point["counts"] == [2, 2, 1, 2]
    assert (point["count"], point["sum"]) == (7, 6024.5)


def test_an_exponential_histogram_holds_every_measurement_in_the_bucket_that_it_belongs_to() -> None:
    name = fresh()
    sizes = hiq.metrics.exponential_histogram(name)
    given = [random.lognormvariate(0, 3) for _ in range(2_000)] + [-2.5, 0.0]
    for size in given:
        sizes.observe(size)
    point = points(name)[()]
    base = 2 ** (2 ** -point["scale"])
    offset, counts = point["positive"]
    expected: dict[int, int] = {}
    for size in given:
        if size > 0:
            # Bucket i holds what is above base^i and up to base^(i + 1).
            index = math.ceil(math.log(size, base)) - 1
            expected[index] = expected.get(index, 0) + 1
    assert {offset + at: count for at, count in enumerate(counts) if count} == expected
    assert point["zero_count"] == 1
    assert sum(point["negative"][1]) == 1
    assert point["sum"] == pytest.approx(math.fsum(given))


def test_quantiles_of_a_summary_are_those_of_the_measurements() -> None:
    name = fresh()
    shares = [0.0, 0.1, 0.5, 0.9, 0.99, 1.0]
    latency = hiq.metrics.summary(name, "How long.", "s", quantiles=shares)
    given = [random.lognormvariate(-3, 1.5) for _ in range(20_000)]
    for seconds in given:
        latency.observe(seconds)
    point = points(name)[()]
    assert point["count"] == len(given)
    assert point["sum"] == pytest.approx(math.fsum(given))
    exact = sorted(given)
    for share in shares:
        rank = max(1, math.ceil(share * len(exact)))
        assert point["quantiles"][share] == pytest.approx(exact[rank - 1], rel=0.0055), share


def test_infinite_and_missing_measurements_are_left_out() -> None:
    name = fresh()
    latency = hiq.metrics.summary(name)
    for seconds in (1.0, float("inf"), float("-inf"), float("nan"), 2.0):
        latency.observe(seconds)
    point = points(name)[()]
    assert (point["count"], point["sum"]) == (2, 3.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda name: hiq.metrics.summary(name, quantiles=[0.9, 0.5]), "quantiles"),
        (lambda name: hiq.metrics.summary(name, quantiles=[1.5]), "quantiles"),
        (lambda name: hiq.metrics.summary(name, max_age_s=0), "max_age_s"),
        (lambda name: hiq.metrics.summary(name, max_age_s=-1), "max_age_s"),
        (lambda name: hiq.metrics.histogram(name, buckets=[2, 1]), "bounds"),
        (lambda name: hiq.metrics.counter(""), "name"),
        (lambda name: hiq.metrics.counter(name, max_series=0), "its max_series is 0; use a whole number from 1 on"),
        (lambda name: hiq.metrics.counter(name, max_series=-1), "its max_series is -1; use a whole number from 1 on"),
        (lambda name: hiq.metrics.gauge(name, callback=int, max_series=-1), "its max_series is -1"),
    ],
)
def test_a_wrong_description_is_refused_with_the_place(make, said: str) -> None:
    with pytest.raises(hiq.ConfigError, match=said):
        make(fresh())


def test_a_name_is_one_instrument_of_one_kind() -> None:
    name = fresh()
    hiq.metrics.counter(name).inc()
    hiq.metrics.counter(name).inc()
    assert value(name) == 2
    with pytest.raises(hiq.ConfigError, match=name):
        hiq.metrics.gauge(name)


def test_a_known_histogram_has_its_buckets_and_a_known_summary_its_quantiles() -> None:
    name = fresh()
    hiq.metrics.histogram(name, buckets=[1, 2]).observe(1.5)
    hiq.metrics.histogram(name).observe(1.5)
    hiq.metrics.histogram(name, buckets=[1, 2, float("inf")]).observe(1.5)
    assert points(name)[()]["counts"] == [0, 3, 0]
    with pytest.raises(hiq.ConfigError, match=f"`{name}`: its bounds are .1.0, 2.0. already"):
        hiq.metrics.histogram(name, buckets=[1, 3])
    hiq.metrics.summary(f"{name}.s", quantiles=[0.5])
    hiq.metrics.summary(f"{name}.s")
    with pytest.raises(hiq.ConfigError, match=r"its quantiles are \[0.5\] already, and cannot be \[0.9\]"):
        hiq.metrics.summary(f"{name}.s", quantiles=[0.9])


# --- time -----------------------------------------------------------------------------------------


def busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_time_measures_seconds_around_a_block_and_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    name = fresh()
    latency = hiq.metrics.summary(name, unit="s")
    timer = latency.time()
    before = time.perf_counter()
    with timer:
        busy(0.002)
        with timer:
            busy(0.001)
    took = time.perf_counter() - before

    @latency.time()
    def work(pieces: int, *, fail: bool = False) -> int:
        """Works."""
        busy(0.001)
        if fail:
            raise KeyError("lost")
        return pieces

    before = time.perf_counter()
    assert work(3) == 3
    with pytest.raises(KeyError):
        work(1, fail=True)
    took_calls = time.perf_counter() - before
    point = points(name)[()]
    assert point["count"] == 4
    # The outer block covers the inner one; the clock outside covers all of it.
    assert 0.003 + 0.001 + 0.002 <= point["sum"] <= took + 0.001 + took_calls + took
    assert (work.__name__, work.__doc__) == ("work", "Works.")


def test_time_sets_a_gauge() -> None:
    name = fresh()
    with hiq.metrics.gauge(name, unit="s").time():
        busy(0.001)
    assert 0.001 <= value(name) < 60


def test_time_covers_a_coroutine_and_a_generator_to_their_end() -> None:
    name = fresh()
    latency = hiq.metrics.summary(name)

    @latency.labels(kind="coroutine").time()
    async def answer(question: str) -> str:
        await asyncio.sleep(0)
        busy(0.001)
        return question + "!"

    @latency.labels(kind="generator").time()
    def count(to: int):
        for number in range(to):
            busy(0.001)
            yield number
        return "done"

    async def both() -> list[str]:
        return await asyncio.gather(answer("a"), answer("b"))

    assert asyncio.run(both()) == ["a!", "b!"]
    assert list(count(3)) == [0, 1, 2]
    found = points(name)
    coroutine, generator = found[(("kind", "coroutine"),)], found[(("kind", "generator"),)]
    assert coroutine["count"] == 2
    assert coroutine["sum"] >= 0.002
    assert generator["count"] == 1
    assert generator["sum"] >= 0.003


def test_time_refuses_an_async_generator() -> None:
    latency = hiq.metrics.summary(fresh())

    async def numbers():
        yield 1

    with pytest.raises(TypeError, match="async generator"):
        latency.time()(numbers)


def test_time_decorates_methods_of_each_kind() -> None:
    name = fresh()
    latency = hiq.metrics.summary(name)

    class Cart:
        @latency.time()
        def total(self) -> int:
            return 1

        @latency.time()
        @staticmethod
        def currency() -> str:
            return "NOK"

        @latency.time()
        @classmethod
        def empty(cls) -> type:
            return cls

    assert (Cart().total(), Cart.currency(), Cart.empty()) == (1, "NOK", Cart)
    assert points(name)[()]["count"] == 3


# --- threads and processes ------------------------------------------------------------------------


def test_threads_lose_nothing() -> None:
    name, each, threads = fresh(), 20_000, 4
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        summary = hiq.metrics.summary(f"{name}.s")
        counter = hiq.metrics.counter(f"{name}.c")

        def work(number: int) -> None:
            mine = counter.labels(thread=number)
            for step in range(each):
                mine.inc()
                counter.inc()
                summary.observe(step)

        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(interval)
    assert value(f"{name}.c") == each * threads
    for number in range(threads):
        assert value(f"{name}.c", thread=str(number)) == each
    point = points(f"{name}.s")[()]
    assert (point["count"], point["sum"]) == (each * threads, threads * each * (each - 1) / 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_counts_from_zero_with_the_handles_it_inherited(tmp_path: Path) -> None:
    script = tmp_path / "forks.py"
    script.write_text(
        """
import json, os, hiq

orders = hiq.metrics.counter("orders")
oslo = orders.labels(city="Oslo")
latency = hiq.metrics.summary("latency")
oslo.inc(5)
latency.observe(2.0)

def counted():
    return {f["name"]: [[p["labels"], p.get("value", p.get("count"))] for p in f["points"]] for f in hiq.metrics.snapshot()}

read, write = os.pipe()
child = os.fork()
if child == 0:
    before = counted()
    oslo.inc()
    latency.observe(3.0)
    os.write(write, json.dumps([before, counted()]).encode())
    os._exit(0)
os.waitpid(child, 0)
print(json.dumps([*json.loads(os.read(read, 65536)), counted()]))
""",
        encoding="utf-8",
    )
    done = python(script, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    import json

    before, after, parent = json.loads(done.stdout)
    oslo = {"city": "Oslo"}
    assert before == {}
    assert after == {"orders": [[oslo, 1]], "latency": [[{}, 1]]}
    assert parent == {"orders": [[oslo, 5]], "latency": [[{}, 1]]}


def test_times_of_points_are_those_of_the_clock() -> None:
    name = fresh()
    before = time.time_ns()
    hiq.metrics.counter(name).inc()
    between = time.time_ns()
    point = points(name)[()]
    # The wall's clock is looked up once a second.
    slack = 50_000_000
    assert before - slack <= point["start_unix_nanos"] <= between + slack
    assert between - slack <= point["time_unix_nanos"] <= time.time_ns() + slack


def test_instruments_cannot_be_made_without_their_functions() -> None:
    with pytest.raises(TypeError):
        type(hiq.metrics.counter(fresh()))()
