"""`make bench`: measures hiq beside its peers."""

from __future__ import annotations

import argparse
import sys
from itertools import groupby
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from bench.measure import measure
from bench.prepare import (
    bridge_program,
    broker,
    native_programs,
    oracle_programs,
    python_programs,
    sink,
    wheels_in,
)
from bench.report import load_warning, machine, print_result, write_json
from bench.row import Result, Row
from bench.rows import rows
from bench.worker import WorkerError

from house.places import REPOSITORY
from house.step import StepError, end_with, say

RESULTS = REPOSITORY / "target" / "bench" / "results.json"


def main() -> int:
    options = arguments()
    wheels = wheels_in(options.wheel)
    if not wheels:
        return end_with(
            "bench", [f"there is no wheel for a Python of this machine in {options.wheel}"]
        )
    versions = [interpreter.minor for interpreter in wheels]
    chosen = select(rows(versions), options.only)
    say(machine([interpreter.version for interpreter in wheels]))
    try:
        programs = native_programs()
        with sink() as endpoint, sink("silent") as silent, broker() as brokers:
            programs |= python_programs(wheels, endpoint, silent) | oracle_programs()
            programs |= bridge_program(wheels, endpoint, brokers)
            if warning := load_warning():
                say(warning)
            results, failures = measure_all(chosen, programs, options.rounds)
    except StepError as error:
        return end_with("bench", [str(error)])
    write_json(results, RESULTS)
    missed = sorted({result.row.id for result in results if not result.is_met})
    say(f"targets missed in: {', '.join(missed) or 'none'}; {RESULTS.relative_to(REPOSITORY)}")
    return end_with("bench", failures)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wheel", type=Path, required=True, help="a wheel, or a folder of wheels")
    parser.add_argument("--only", default="", help="ids, with commas between")
    parser.add_argument("--rounds", type=int, default=15, help="measurements of each case")
    return parser.parse_args()


def select(every: list[Row], only: str) -> list[Row]:
    """The rows of the ids in `only`; all for none. `S1` stands for S1a to S1d."""
    wanted = [id_.strip() for id_ in only.split(",") if id_.strip()]
    known = {row.id for row in every}
    for id_ in wanted:
        if not any(one == id_ or one.rstrip("abcd") == id_ for one in known):
            raise SystemExit(f"bench: {id_} is none of {', '.join(sorted(known))}")
    return [
        row for row in every if not wanted or row.id in wanted or row.id.rstrip("abcd") in wanted
    ]


def measure_all(chosen: list[Row], programs: dict, rounds: int) -> tuple[list[Result], list[str]]:
    results: list[Result] = []
    failures: list[str] = []
    for group, members in groupby(chosen, key=lambda row: row.group):
        members = list(members)
        say(f"measuring {group}: {', '.join(dict.fromkeys(row.id for row in members))}")
        try:
            found = measure(members, programs, rounds)
        except WorkerError as error:
            failures.append(str(error))
            continue
        for result in found:
            print_result(result)
        results += found
    return results, failures


if __name__ == "__main__":
    sys.exit(main())
