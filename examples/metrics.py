"""A shop that counts, scraped by Prometheus: `python examples/metrics.py`, then open its address.

Its orders are traced and counted: calls and times of its functions by themselves, before sampling;
what they sold by a counter, how long that took by a summary with quantiles, what still waits by a
callback. `OTEL_EXPORTER_PROMETHEUS_HOST` and `_PORT` say where it listens (localhost:9464). It ends
when Enter is pressed, or at once where nobody could.
"""

from __future__ import annotations

import collections
import json
import queue
import sys

import hiq

ORDERS = 100

orders = hiq.metrics.counter("shop.orders", "Orders that were placed.", "{order}")
amount = hiq.metrics.histogram("shop.amount", "What an order came to.", "EUR", buckets=[10, 20, 50])
packing = hiq.metrics.summary("shop.packing", "How long an order took to be packed.", "s")
waiting: queue.Queue[int] = queue.Queue()
hiq.metrics.gauge("shop.waiting", "Orders that wait for a lorry.", callback=waiting.qsize)


@hiq.trace
def place(number: int) -> str:
    city = "Huế" if number % 4 == 0 else "Hà Nội"
    # Within a span: its trace is shown as an example, where the scraper reads OpenMetrics.
    orders.labels(city=city).inc()
    amount.observe(number % 60)
    with packing.time():
        pack(number)
    return city


@hiq.trace
def pack(number: int) -> None:
    waiting.put(number)


def main() -> int:
    try:
        hiq.init("shop", exporters=[], metrics=["prometheus"])
    except hiq.ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    sold = collections.Counter(place(number) for number in range(ORDERS))
    hiq.flush()
    address = hiq.prometheus.address()
    if address is None:
        print("another shop answers scrapes for this one as well", flush=True)
    else:
        print(f"http://{address[0]}:{address[1]}/metrics", flush=True)
    print(json.dumps(sold, ensure_ascii=False), flush=True)
    sys.stdin.readline()
    return 0


if __name__ == "__main__":
    sys.exit(main())
