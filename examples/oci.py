"""Spans to OCI APM (Oracle Cloud): `python examples/oci.py`.

Needs `APM_BASE_URL`, the data upload endpoint of an APM domain, and `APM_PUB_KEY`, its public data
key. Prints what became of the spans.
"""

from __future__ import annotations

import sys

import hiq


def main() -> int:
    try:
        hiq.init("checkout", exporters=["oci_apm"])
    except hiq.ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    with hiq.trace("POST /checkout", kind="server", **{"cart.items": 3}) as request:
        with hiq.trace("charge", kind="client", **{"peer.service": "payment"}):
            pass
        print("trace", request.trace_id)
    delivered = hiq.flush()
    ledger = hiq.stats()["oci_apm"]
    print(f"offered {ledger['offered']}, exported {ledger['exported']}")
    if not delivered:
        print("not everything was delivered; `python -m hiq doctor` says why", file=sys.stderr)
    return 0 if delivered else 1


if __name__ == "__main__":
    sys.exit(main())
