"""A Python program whose spans go to Jaeger: `python examples/jaeger.py [PROTOCOL]`.

PROTOCOL is `udp/thrift.compact`, `udp/thrift.binary`, `http/thrift.binary` or `grpc`; without it,
and for the addresses, `OTEL_EXPORTER_JAEGER_*` decide. Prints where to look for the trace and what
became of the spans; those sent by UDP are never confirmed.
"""

from __future__ import annotations

import sys

import hiq


def main() -> int:
    protocol = sys.argv[1] if len(sys.argv) > 1 else None
    hiq.init("brewery", exporters=[hiq.JaegerExporter(protocol=protocol)])
    with hiq.trace("brew", kind="consumer", **{"batch.litres": 400}) as batch:
        for step in ("mash", "boil", "ferment"):
            brew(step)
        print(f"look for it at http://localhost:16686/trace/{batch.trace_id}")
    delivered = hiq.flush()
    ledger = hiq.stats()["jaeger"]
    print(f"confirmed {ledger['exported']}, sent unconfirmed {ledger['sent_unconfirmed']}")
    if not delivered:
        print("not everything was delivered; is Jaeger listening?", file=sys.stderr)
    return 0 if delivered else 1


def brew(step: str) -> None:
    with hiq.trace(step) as span:
        span.set_attribute("temperatures", [52, 63, 72])
        if step == "ferment":
            span.add_event("yeast pitched", {"grams": 200})
            span.set_status("error", "too warm")


if __name__ == "__main__":
    sys.exit(main())
