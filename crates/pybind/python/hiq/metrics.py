"""Metrics of the program's own: counters, gauges, histograms, and summaries with quantiles.

    orders = hiq.metrics.counter("shop.orders", "Orders that were placed.")
    latency = hiq.metrics.summary("shop.latency", "How long a request took.", "s")

    orders.labels(city="Oslo").inc()
    with latency.time():
        ...
    hiq.metrics.gauge("shop.waiting", callback=orders_that_wait.qsize)

The same name is the same instrument, wherever it is asked for. Any thread may use it. `labels(...)` looks a series up:
keep what it returns where many measurements are made. A forked process counts from zero. What is infinite or not a
number is left out.

What is counted within a sampled span is shown with its trace, as an example, where a format has room for that
(`OTEL_METRICS_EXEMPLAR_FILTER`).

A metric with a `callback` is not measured but asked for, whenever metrics are read: the callback returns a number, or
pairs of labels and number, `[({"city": "Oslo"}, 3)]`; of a sum what it has come to. It is called in a thread of hiq's,
in which nothing is recorded, and all of them together have a second; beside a scrape endpoint that is once a second, as
its processes tell each other their counts. One that raises is told of once, and its metric left out; so is one that
does not return, which is not called again until it has.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, overload

from . import _hiq
from ._hiq import Counter, ExponentialHistogram, Gauge, Histogram, Summary, Timer, UpDownCounter
from ._observed import Callback, Observed, observe

__all__ = [
    "Counter",
    "ExponentialHistogram",
    "Gauge",
    "Histogram",
    "Observed",
    "Summary",
    "Timer",
    "UpDownCounter",
    "counter",
    "exponential_histogram",
    "gauge",
    "histogram",
    "snapshot",
    "summary",
    "up_down_counter",
]


@overload
def counter(name: str, description: str = "", unit: str = "", *, max_series: int | None = None) -> Counter: ...
@overload
def counter(
    name: str, description: str = "", unit: str = "", *, callback: Callback, max_series: int | None = None
) -> Observed: ...
def counter(
    name: str,
    description: str = "",
    unit: str = "",
    *,
    callback: Callback | None = None,
    max_series: int | None = None,
) -> Counter | Observed:
    """Adds up what never falls: `inc()`, `add(amount)`.

    Names are any text, by OpenTelemetry's conventions (`shop.orders`) or Prometheus's (`shop_orders_total`); units are
    UCUM's (`s`, `By`, `{order}`). Beyond `max_series` (10,000) sets of labels further ones share one series, whose
    label is `otel.metric.overflow="true"`.
    """
    if callback is not None:
        return observe("counter", name, description, unit, callback, max_series)
    return _hiq.metric("counter", name, description, unit, max_series=max_series)


@overload
def up_down_counter(
    name: str, description: str = "", unit: str = "", *, max_series: int | None = None
) -> UpDownCounter: ...
@overload
def up_down_counter(
    name: str, description: str = "", unit: str = "", *, callback: Callback, max_series: int | None = None
) -> Observed: ...
def up_down_counter(
    name: str,
    description: str = "",
    unit: str = "",
    *,
    callback: Callback | None = None,
    max_series: int | None = None,
) -> UpDownCounter | Observed:
    """Adds up what rises and falls: `inc()`, `dec()`, `add(amount)`."""
    if callback is not None:
        return observe("up_down_counter", name, description, unit, callback, max_series)
    return _hiq.metric("up_down_counter", name, description, unit, max_series=max_series)


@overload
def gauge(name: str, description: str = "", unit: str = "", *, max_series: int | None = None) -> Gauge: ...
@overload
def gauge(
    name: str, description: str = "", unit: str = "", *, callback: Callback, max_series: int | None = None
) -> Observed: ...
def gauge(
    name: str,
    description: str = "",
    unit: str = "",
    *,
    callback: Callback | None = None,
    max_series: int | None = None,
) -> Gauge | Observed:
    """Holds what was read last: `set(value)`, `inc()`, `dec()`."""
    if callback is not None:
        return observe("gauge", name, description, unit, callback, max_series)
    return _hiq.metric("gauge", name, description, unit, max_series=max_series)


def histogram(
    name: str,
    description: str = "",
    unit: str = "",
    *,
    buckets: Iterable[float] | None = None,
    max_series: int | None = None,
) -> Histogram:
    """Counts measurements between bounds: `observe(value)`, `time()`.

    `buckets` are the upper bounds, rising; by default OpenTelemetry's for seconds, 0.005 to 10.
    """
    bounds = None if buckets is None else [float(bound) for bound in buckets]
    if bounds and bounds[-1] == float("inf"):
        bounds.pop()  # As prometheus_client's users write it; it is always there.
    return _hiq.metric("histogram", name, description, unit, bounds=bounds, max_series=max_series)


def exponential_histogram(
    name: str, description: str = "", unit: str = "", *, max_series: int | None = None
) -> ExponentialHistogram:
    """Counts measurements of any size to 0.54 %, without bounds to choose: `observe(value)`, `time()`.

    It leaves as OpenTelemetry's exponential and as Prometheus's native histogram.
    """
    return _hiq.metric("exponential_histogram", name, description, unit, max_series=max_series)


def summary(
    name: str,
    description: str = "",
    unit: str = "",
    *,
    quantiles: Iterable[float] | None = None,
    max_age_s: float | None = None,
    max_series: int | None = None,
) -> Summary:
    """Counts and adds up, and knows the quantiles of the recent measurements to 0.54 %: `observe(value)`, `time()`.

    `quantiles` are shares, rising (0.5, 0.9, 0.99); a measurement counts for them for `max_age_s` seconds (600), for
    count and sum for ever.
    """
    shares = None if quantiles is None else [float(share) for share in quantiles]
    return _hiq.metric("summary", name, description, unit, quantiles=shares, max_age_s=max_age_s, max_series=max_series)


def snapshot() -> list[dict[str, Any]]:
    """What this process has measured up to now: a dict for each metric, with `points`, one for each set of labels."""
    return _hiq.metric_snapshot()
