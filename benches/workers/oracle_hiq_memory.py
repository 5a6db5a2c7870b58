"""What spans occupy in a driver of HiQ 1.1.14."""

from __future__ import annotations

import hiq
import targets
from resident import bytes_a_span
from suite import Suite, calls

SPANS = 30_000


def main() -> None:
    suite = Suite()
    suite.value("held", held)
    suite.serve()


def held() -> float:
    driver = hiq.HiQLatency(hiq_table_or_path=[["targets", "", "held", "held"]])
    batch = calls(targets.held)
    batch(50)
    return bytes_a_span(lambda: (batch(SPANS), driver), SPANS)


if __name__ == "__main__":
    main()
