"""A row of the table: what is measured, against whom, and what is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.quantity import Case, Quantity


@dataclass(frozen=True)
class Peer:
    """Somebody else's way to do the same work."""

    quantity: Quantity
    # How many times ours it should be at the least.
    wanted_ratio: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of targets. Rows of one group are measured in turn in the same rounds."""

    id: str
    group: str
    work: str
    unit: str
    ours: Quantity
    floor: Quantity | None = None
    peers: Mapping[str, Peer] = field(default_factory=dict)
    # How many times the floor ours may be.
    wanted_over_floor: float | None = None
    at_most: float | None = None
    at_least: float | None = None

    def cases(self) -> list[Case]:
        quantities = [self.ours, *(peer.quantity for peer in self.peers.values())]
        if self.floor is not None:
            quantities.append(self.floor)
        return [case for quantity in quantities for case in quantity.cases()]


@dataclass(frozen=True)
class Verdict:
    """One target, and whether it is met."""

    what: str
    found: float
    wanted: float
    met: bool


@dataclass(frozen=True)
class Result:
    """The figures of a row."""

    row: Row
    ours: float
    floor: float | None
    peers: Mapping[str, float]
    rounds: int

    @property
    def is_met(self) -> bool:
        return all(verdict.met for verdict in self.verdicts())

    def verdicts(self) -> list[Verdict]:
        row, verdicts = self.row, []
        if row.at_most is not None:
            verdicts.append(
                Verdict("at most", self.ours, row.at_most, met=self.ours <= row.at_most)
            )
        if row.at_least is not None:
            verdicts.append(
                Verdict("at least", self.ours, row.at_least, met=self.ours >= row.at_least)
            )
        over = self.over_floor()
        if row.wanted_over_floor is not None and over is not None:
            met = over <= row.wanted_over_floor
            verdicts.append(Verdict("floor", over, row.wanted_over_floor, met=met))
        for name, peer in row.peers.items():
            ratio = self.ratio_to(name)
            if peer.wanted_ratio is not None and ratio is not None:
                met = ratio >= peer.wanted_ratio
                verdicts.append(Verdict(name, ratio, peer.wanted_ratio, met=met))
        return verdicts

    def over_floor(self) -> float | None:
        """Ours as a multiple of the floor."""
        return self.ours / self.floor if self.floor else None

    def ratio_to(self, peer: str) -> float | None:
        """A peer as a multiple of ours; a figure of ours at or below zero beats everybody."""
        if peer not in self.peers:
            return None
        return self.peers[peer] / self.ours if self.ours > 0 else float("inf")
