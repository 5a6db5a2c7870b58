"""A Python program whose spans go to Kafka: `python examples/kafka.py [ENCODING]`.

ENCODING is `otlp_proto` (default), `otlp_json`, `jaeger_proto`, `zipkin_json`, `zipkin_proto` or
`hiq_text`; where the brokers are and how to log in, `HIQ_KAFKA_*` say. Prints what became of the
spans: each counts as exported once the broker has acknowledged its message.
"""

from __future__ import annotations

import json
import sys

import hiq


def main() -> int:
    encoding = sys.argv[1] if len(sys.argv) > 1 else None
    hiq.init("orchard", exporters=[hiq.KafkaExporter(encoding=encoding, key="trace")])
    for basket in range(10):
        pick(basket)
    delivered = hiq.flush(20.0)
    ledger = hiq.stats()["kafka"]
    print(json.dumps({name: ledger[name] for name in ("offered", "exported", "queued")}))
    if not delivered:
        print("not everything was delivered; is the broker running?", file=sys.stderr)
    return 0 if delivered else 1


def pick(basket: int) -> None:
    with hiq.trace("pick", kind="producer", **{"basket.number": basket}):
        weigh()


def weigh() -> None:
    with hiq.trace("weigh") as span:
        span.set_attribute("kilograms", 7.5)


if __name__ == "__main__":
    sys.exit(main())
