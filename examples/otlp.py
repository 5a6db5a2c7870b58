"""Spans over OTLP, and what became of them: `python examples/otlp.py [grpc|http/protobuf|...]`

Sends to OTEL_EXPORTER_OTLP_ENDPOINT (default: port 4317 of this machine for gRPC, 4318 for HTTP).
"""

from __future__ import annotations

import json
import sys

import hiq


def main() -> int:
    protocol = sys.argv[1] if len(sys.argv) > 1 else "grpc"
    hiq.init(service_name="orders", protocol=protocol)
    for number in range(10):
        order(number)
    delivered = hiq.flush(5)
    stats = hiq.stats()["otlp"]
    print(json.dumps(stats))
    hiq.shutdown()
    return 0 if delivered and stats["exported"] == stats["offered"] else 1


def order(number: int) -> None:
    """An order is a trace: a root with two steps below."""
    with hiq.trace("order", number=number):
        for step in ("check stock", "charge card"):
            with hiq.trace(step):
                pass


if __name__ == "__main__":
    sys.exit(main())
