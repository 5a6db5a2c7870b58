"""A program that measures cases when it is asked to."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ANSWER_TIMEOUT_SECONDS = 120


class WorkerError(Exception):
    """A program has ended or does not answer; the text is all that has to be said."""


@dataclass(frozen=True)
class Program:
    """How a worker is started."""

    name: str
    command: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict)


class Worker:
    """A running program. It is idle except while it measures."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process = subprocess.Popen(
            [str(word) for word in program.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **program.environment},
        )

    def measure(self, case: str, milliseconds: int) -> float:
        """One batch of `case`, of about `milliseconds`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{case} {milliseconds}\n")
            self._process.stdin.flush()
            if not select.select([self._process.stdout], [], [], ANSWER_TIMEOUT_SECONDS)[0]:
                raise self._error(case, f"no answer in {ANSWER_TIMEOUT_SECONDS} s")
            return float(self._process.stdout.readline())
        except (BrokenPipeError, ValueError):
            raise self._error(case, "ended, its message is above") from None

    def end(self) -> None:
        """Closes its pipe, which ends it; one that does not end is killed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(10)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def _error(self, case: str, problem: str) -> WorkerError:
        return WorkerError(f"{self.program.name}, case {case}: {problem}")
