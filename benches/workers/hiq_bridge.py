"""`hiq bridge` from a topic of Kafka to OTLP: spans for each second of CPU of its process."""

from __future__ import annotations

import secrets
import threading
from time import process_time_ns

from hiq import _hiq
from suite import Suite

TOPIC = "full"
SPANS = 524_288


def main() -> None:
    suite = Suite()
    suite.value("forward", forward)
    suite.serve()


def forward() -> float:
    """All of the topic, as a group that has read nothing of it."""
    group = secrets.token_hex(8)
    start = process_time_ns()
    counts = _hiq.bridge([TOPIC], group, ["otlp"], threading.Event(), until_end=True)
    seconds = (process_time_ns() - start) / 1e9
    assert counts["delivered"] == counts["read"] == SPANS, counts
    return SPANS / seconds


if __name__ == "__main__":
    main()
