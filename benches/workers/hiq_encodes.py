"""Spans of a Python program into the bytes of a format, by hiq: without the GIL.

Each measurement is of spans that were recorded just before it."""

from __future__ import annotations

import random
from time import thread_time_ns

import hiq
from hiq.testing import InMemoryExporter
from spans import SPANS, trees
from suite import Batch, Suite


def main() -> None:
    memory = InMemoryExporter()
    hiq.init("bench", exporters=[memory])
    suite = Suite()
    for name in ("otlp-proto", "zipkin-json"):
        suite.timed(name, encodings(memory, name))
    suite.serve()


def encodings(memory: InMemoryExporter, name: str) -> Batch:
    """An iteration is a span."""
    rng = random.Random(1)

    def batch(n: int) -> int:
        took, left = 0, n
        while left > 0:
            memory.clear()
            record(rng)
            hiq.flush(60)
            start = thread_time_ns()
            memory.encoded(name)
            took += thread_time_ns() - start
            left -= SPANS
        return took * n // (n - left)

    return batch


def record(rng: random.Random) -> None:
    for tree in trees(rng):
        name, attributes = next(tree)
        with hiq.trace(name, **attributes):
            for name, attributes in tree:
                hiq.record(name, **attributes)


if __name__ == "__main__":
    main()
