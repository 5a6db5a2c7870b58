"""The measured side of a Python benchmark: named cases, run when the runner asks for them.

The runner writes `<case> <milliseconds>` and reads one number: the case's nanoseconds per iteration
over a batch of about that length, or whatever the case measures. It asks all cases of all programs
in turn, round after round, so that whatever else the machine does touches all of them alike.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from itertools import repeat
from time import thread_time_ns
from typing import Any

# Runs n iterations and returns the nanoseconds of CPU time that they took.
Batch = Callable[[int], int]


class Suite:
    def __init__(self) -> None:
        self._cases: dict[str, Callable[[int], float]] = {}

    def timed(self, name: str, batch: Batch, *, most: int = 1 << 30) -> None:
        """A case that times itself, with at most `most` iterations a batch."""
        calibrated: list[int] = []

        def measure(nanos: int) -> float:
            if not calibrated:
                calibrated.append(_iterations_for(nanos, batch, most))
            return batch(calibrated[0]) / calibrated[0]

        self._cases[name] = measure

    def value(self, name: str, measure: Callable[[], float]) -> None:
        """A case that is no time per iteration."""
        self._cases[name] = lambda _nanos: measure()

    def serve(self) -> None:
        """Answers the runner until it closes the pipe. What libraries print goes to stderr."""
        with os.fdopen(os.dup(1), "w") as answers:
            os.dup2(2, 1)
            for line in sys.stdin:
                name, milliseconds = line.split()
                answers.write(f"{self._cases[name](int(milliseconds) * 1_000_000):.6f}\n")
                answers.flush()


def calls(function: Callable[[], Any]) -> Batch:
    """Calls of `function` without arguments."""

    def batch(n: int) -> int:
        call = function
        start = thread_time_ns()
        for _ in repeat(None, n):
            call()
        return thread_time_ns() - start

    return _with_code_of_its_own(batch)


def loops(body: Callable[[Iterable[None]], object]) -> Batch:
    """`body` iterates over what it is given, once for each iteration."""

    def batch(n: int) -> int:
        start = thread_time_ns()
        body(repeat(None, n))
        return thread_time_ns() - start

    return batch


def inside(manager: Callable[[], AbstractContextManager[Any]], batch: Batch) -> Batch:
    """`batch` in a context that is entered and left outside the measured time."""

    def within(n: int) -> int:
        with manager():
            return batch(n)

    return within


def _with_code_of_its_own(function: Any) -> Any:
    """The interpreter specialises code by what it has seen there: cases must not share theirs."""
    return types.FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


def _iterations_for(nanos: int, batch: Batch, most: int) -> int:
    """How many take about `nanos`; warms the case up by the way."""
    n = 1
    while True:
        took = max(1, batch(n))
        if took >= nanos // 4 or n >= most:
            return max(1, min(most, n * nanos // took))
        n = min(most, n * 4)
