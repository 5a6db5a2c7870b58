"""What the program `measure` counted, by its own account, and what a server must hold of it."""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import functools
import json
import math
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hiq_servers.programs import BackgroundProgram, run_program
from house.places import REPOSITORY, cargo_environment

BUILD_SECONDS = 900
LIMIT_SECONDS = 60.0
SKETCH_ERROR = 0.0054
"""Of a quantile: half of a bucket of 2^(1/64)."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """A run of the program."""

    journal: dict[str, Any]
    ledger: dict[str, Any]
    said: list[str]
    """Lines on standard error."""

    @property
    def points(self) -> int:
        """One for each set of labels of each metric."""
        series = len(self.journal["orders"]) + len(self.journal["work"]) + self.journal["series"]
        return int(series) + len(("queue", "temperature", "wait", "size"))

    def assert_all_exported(self) -> None:
        all_exported = {
            "balances": True,
            "offered": self.points,
            "exported": self.points,
            "rejected": 0,
            "dropped": {},
            "unsettled": 0,
        }
        assert (self.ledger, self.said) == (all_exported, []), (self.ledger, self.said)


def measure(to: str, folder: Path, environment: Mapping[str, str], *options: str | int) -> Measured:
    """Runs the program once."""
    finished = run_program(
        [measure_program(), to, *map(str, options)],
        folder=folder,
        environment=environment,
        timeout_seconds=LIMIT_SECONDS,
    ).require_success()
    said = json.loads(finished.stdout)
    return Measured(said["journal"], said["ledger"], finished.stderr.splitlines())


@dataclasses.dataclass(frozen=True)
class Serving:
    """The program, waiting for scrapes."""

    journal: dict[str, Any]
    address: str


@contextlib.contextmanager
def served(folder: Path, environment: Mapping[str, str], *options: str | int) -> Iterator[Serving]:
    """Has the program wait for scrapes for as long as the block lasts."""
    command = [str(measure_program()), "serve", *map(str, options)]
    output = folder / "output"
    with BackgroundProgram(
        command, folder=folder, output=output, environment=environment
    ) as running:
        said = json.loads(running.wait_for_output(r"\{.*\}\n", LIMIT_SECONDS)[0])
        yield Serving(said["journal"], said["address"])


def measure_program() -> Path:
    return built_by_cargo("hiq-measure") / "hiq-measure"


@functools.cache
def built_by_cargo(package: str, *options: str) -> Path:
    """Builds a package, where that is still to be done; returns the folder with its programs."""
    environment = cargo_environment()
    subprocess.run(
        ["cargo", "build", "--quiet", "--locked", "--package", package, *options],
        cwd=REPOSITORY,
        env=environment,
        check=True,
        timeout=BUILD_SECONDS,
    )
    return Path(environment["CARGO_TARGET_DIR"]) / "debug"


def buckets(values: Sequence[float], bounds: Sequence[float]) -> list[int]:
    """How many values are at or below each bound, and at last all of them."""
    ordered = sorted(values)
    return [bisect.bisect_right(ordered, bound) for bound in bounds] + [len(ordered)]


def assert_is_quantile(found: float, share: float, values: Sequence[float]) -> None:
    """`found` is the value at that rank, to the error that the sketch promises."""
    ordered = sorted(values)
    rank = max(math.ceil(share * len(ordered)) - 1, 0)
    low = ordered[max(rank - 1, 0)] * (1 - SKETCH_ERROR)
    high = ordered[min(rank + 1, len(ordered) - 1)] * (1 + SKETCH_ERROR)
    assert low <= found <= high, (share, found, ordered[rank])


def in_bucket(values: Sequence[float], rule: int, low: float, high: float) -> int:
    """How many values are in a native histogram's bucket; `rule` as Prometheus' API says it."""
    ordered = sorted(values)
    begin = bisect.bisect_right if rule in (0, 2) else bisect.bisect_left
    end = bisect.bisect_left if rule in (1, 2) else bisect.bisect_right
    return end(ordered, high) - begin(ordered, low)
