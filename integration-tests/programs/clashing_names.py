"""Measures what Prometheus could take for one another, by its name or its labels.

python clashing_names.py serve|push

Where the metrics go says OTEL_METRICS_EXPORTER. To be scraped, it says its address and its number
and waits; else it says what became of its points.
"""

from __future__ import annotations

import json
import os
import sys
import threading

import hiq

FLUSH_SECONDS = 30.0


def main() -> None:
    hiq.init()
    measure()
    if sys.argv[1] == "serve":
        address = hiq.prometheus.address()
        assert address is not None
        print(json.dumps([f"{address[0]}:{address[1]}", os.getpid()]), flush=True)
        threading.Event().wait()
    hiq.flush(FLUSH_SECONDS)
    (stats,) = (stats for name, stats in hiq.stats().items() if name.startswith("metrics-"))
    print(json.dumps(stats), flush=True)


def measure() -> None:
    metrics = hiq.metrics
    # Two names that become one; of the second only what the first has not is left.
    metrics.counter("shop.one").inc(1)
    two = metrics.counter("shop_one")
    two.inc(2)
    two.labels(city="Oslo").inc(3)
    # Names that another metric adds.
    metrics.summary("shop.sm").observe(0.5)
    metrics.gauge("shop.sm.sum").set(99)
    metrics.counter("shop.x").inc(4)
    metrics.gauge("shop_x_total").set(99)
    # A counter beside its name without `_total`: nothing is lost.
    metrics.gauge("shop.y").set(5)
    metrics.counter("shop_y_total").inc(6)
    # Labels that are added, and one that becomes another.
    metrics.histogram("shop.h", buckets=[2.0]).labels(le="7", city="Oslo").observe(1)
    metrics.summary("shop.q", quantiles=[0.5]).labels(quantile="8").observe(0.5)
    held = metrics.gauge("shop.held")
    held.labels(pid="1").set(1)
    held.labels(pid="2").set(2)
    runs = metrics.counter("shop.runs")
    runs.labels(job="nightly").inc(1)
    runs.labels(job="weekly").inc(2)
    same = metrics.counter("shop.same")
    same.labels({"city.name": "Oslo"}).inc(1)
    same.labels({"city_name": "Oslo"}).inc(2)


main()
