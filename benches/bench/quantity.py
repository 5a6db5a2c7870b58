"""What a figure is made of: the measurements of one or two cases, round by round."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A case of a program. A fresh one gets a new process for each measurement."""

    program: str
    name: str
    fresh: bool = False


# All measurements of a run, one a round.
Measured = Mapping[Case, list[float]]


@dataclass(frozen=True)
class Quantity:
    """The median of a case, or of what it adds to (or multiplies) another one of the same round."""

    case: Case
    less: Case | None = None
    per: Case | None = None

    def cases(self) -> list[Case]:
        return [case for case in (self.case, self.less, self.per) if case is not None]

    def of(self, measured: Measured) -> float:
        values = measured[self.case]
        if self.less is not None:
            values = [a - b for a, b in zip(values, measured[self.less], strict=True)]
        if self.per is not None:
            values = [a / b for a, b in zip(values, measured[self.per], strict=True)]
        return statistics.median(values)


def plain(program: str, name: str) -> Quantity:
    return Quantity(Case(program, name))


def fresh(program: str, name: str) -> Quantity:
    """Measured once a process: memory, and what depends on what the allocator has been through."""
    return Quantity(Case(program, name, fresh=True))


def added(program: str, name: str, bare: str = "bare") -> Quantity:
    """What tracing adds to the bare work."""
    return Quantity(Case(program, name), less=Case(program, bare))


def times(program: str, name: str, bare: str) -> Quantity:
    """How many times the bare work it is."""
    return Quantity(Case(program, name), per=Case(program, bare))
