"""What spans occupy while they are held or wait."""

from __future__ import annotations

import os

import hiq
import targets
from resident import bytes_a_span
from suite import Suite, calls

HELD = 900_000
# At 256 bytes a span the queue's 64 MiB are enough for them.
QUEUED = 200_000
ROOTS = 2_000


def main() -> None:
    suite = Suite()
    suite.value("held", held)
    suite.value("queued", queued)
    suite.serve()


def held() -> float:
    """By a driver, in one root."""
    driver = hiq.HiQLatency([["targets", "", name, name] for name in ("held", "hold")])
    batch = calls(targets.held)
    # Whatever the first calls need is not counted.
    targets.hold(batch, 10_000)
    return bytes_a_span(lambda: (targets.hold(batch, HELD), driver), HELD)


def queued() -> float:
    """By the pipeline, whose server does not answer: trees of 100 spans with six attributes."""
    hiq.init(
        "bench",
        exporters=[hiq.OtlpExporter(os.environ["HIQ_BENCH_SILENT_ENDPOINT"])],
        max_queue_spans=2 * QUEUED,
    )
    record_trees(10)
    used = bytes_a_span(lambda: record_trees(ROOTS), QUEUED)
    waiting = sum(row["queued"] + row["in_flight"] for row in hiq.stats().values())
    assert waiting > QUEUED, f"{waiting} spans are waiting, {QUEUED} were expected"
    # What nobody takes would be waited for at exit.
    os.environ["HIQ_SHUTDOWN_TIMEOUT"] = "0"
    return used


def record_trees(roots: int) -> None:
    for root in range(roots):
        with hiq.trace("request"):
            for order in range(QUEUED // ROOTS - 1):
                hiq.record(
                    "cart.add_item",
                    method="POST",
                    status=200,
                    path=f"/api/v1/orders/{root * 1_000 + order}",
                    hit=True,
                    score=order / 7,
                    address="cart.internal",
                )


if __name__ == "__main__":
    main()
