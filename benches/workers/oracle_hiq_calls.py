"""The same calls through HiQ 1.1.14, whose package has hiq's name: in an environment of its own."""

from __future__ import annotations

import atexit
from collections.abc import Iterable
from multiprocessing import active_children

import hiq
import targets
from suite import Batch, Suite, calls, loops

SPANS_OF_A_ROOT = 1_000


def main() -> None:
    # Its status is then read from shared memory at each call, as where it can be switched.
    hiq.set_global_hiq_status(True)
    atexit.register(end_helpers)
    suite = Suite()
    suite.timed("bare", calls(targets.bare))
    suite.timed("bare_fib", loops(lambda loop: [targets.bare_fib(16) for _ in loop]))
    rows = [["targets", "", name, name] for name in ("held", "hold", "declared_fib")]
    driver = hiq.HiQLatency(hiq_table_or_path=rows)

    def holding(batch: Batch) -> Batch:
        def held_batch(n: int) -> int:
            driver.reset()
            return targets.hold(batch, n)

        return held_batch

    def fib(loop: Iterable[None]) -> None:
        for _ in loop:
            driver.reset()
            targets.declared_fib(16)

    def off(n: int) -> int:
        hiq.set_global_hiq_status(False)
        try:
            return switched_off(n)
        finally:
            hiq.set_global_hiq_status(True)

    switched_off = calls(targets.held)
    suite.timed("held", holding(calls(targets.held)), most=SPANS_OF_A_ROOT)
    suite.timed("declared_fib", loops(fib))
    suite.timed("off", off)
    suite.serve()


def end_helpers() -> None:
    """It leaves processes behind that would keep this one alive."""
    for child in active_children():
        child.terminate()


if __name__ == "__main__":
    main()
