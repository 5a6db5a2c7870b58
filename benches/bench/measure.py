"""Measures the rows of a group: every case once a round, so that the machine's moods touch all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.quantity import Case
from bench.row import Result, Row
from bench.worker import Program, Worker, WorkerError

BATCH_MILLISECONDS = 8


def measure(rows: Sequence[Row], programs: Mapping[str, Program], rounds: int) -> list[Result]:
    """The figures of `rows`. Cases of programs that this machine cannot run are left out."""
    cases = list(dict.fromkeys(case for row in rows for case in row.cases()))
    runnable = [case for case in cases if case.program in programs]
    measured: dict[Case, list[float]] = {case: [] for case in runnable}
    workers = _Workers(programs)
    try:
        # The first time each case finds out how long it takes, and warms up.
        for case in runnable:
            if not case.fresh:
                workers.measure(case)
        for _ in range(rounds):
            for case in runnable:
                measured[case].append(workers.measure(case))
    finally:
        workers.end()
    return [_result(row, measured, rounds) for row in rows]


class _Workers:
    """Programs by name, started when first needed."""

    def __init__(self, programs: Mapping[str, Program]) -> None:
        self._programs = programs
        self._running: dict[str, Worker] = {}

    def measure(self, case: Case) -> float:
        if case.fresh:
            worker = Worker(self._programs[case.program])
            try:
                return worker.measure(case.name, BATCH_MILLISECONDS)
            finally:
                worker.end()
        if case.program not in self._running:
            self._running[case.program] = Worker(self._programs[case.program])
        return self._running[case.program].measure(case.name, BATCH_MILLISECONDS)

    def end(self) -> None:
        for worker in self._running.values():
            worker.end()


def _result(row: Row, measured: Mapping[Case, list[float]], rounds: int) -> Result:
    def is_known(quantity) -> bool:
        return all(case in measured for case in quantity.cases())

    floor = row.floor.of(measured) if row.floor and is_known(row.floor) else None
    peers = {
        name: peer.quantity.of(measured)
        for name, peer in row.peers.items()
        if is_known(peer.quantity)
    }
    return Result(row, row.ours.of(measured), floor, peers, rounds)


__all__ = ["WorkerError", "measure"]
