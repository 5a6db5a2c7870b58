"""A Python program whose spans go to Zipkin: `python examples/zipkin.py [v2|v1|proto]`.

Sends to `OTEL_EXPORTER_ZIPKIN_ENDPOINT` (default http://localhost:9411/api/v2/spans), prints the
trace id to look for and what became of the spans.
"""

from __future__ import annotations

import sys

import hiq


def main() -> int:
    format = sys.argv[1] if len(sys.argv) > 1 else None
    hiq.init("checkout", exporters=[hiq.ZipkinExporter(format=format)])
    with hiq.trace("POST /checkout", kind="server", **{"cart.items": 3}) as request:
        with hiq.trace("charge", kind="client", **{"peer.service": "payment"}) as payment:
            payment.add_event("answered", {"attempts": 2})
        try:
            send_receipt()
        except ConnectionError as error:
            print(f"no receipt: {error}")
        print("trace", request.trace_id)
    delivered = hiq.flush()
    ledger = hiq.stats()["zipkin"]
    print(f"offered {ledger['offered']}, exported {ledger['exported']}")
    if not delivered:
        print("not everything was delivered; is a Zipkin server listening?", file=sys.stderr)
    return 0 if delivered else 1


def send_receipt() -> None:
    with hiq.trace("send receipt", kind="producer", **{"peer.service": "mail-queue"}):
        raise ConnectionError("the queue is full")


if __name__ == "__main__":
    sys.exit(main())
