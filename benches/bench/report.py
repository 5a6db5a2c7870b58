"""The table, the file for machines, and what they were measured on."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from bench.row import Result

MAX_LOAD = 0.5


def machine(interpreters: Iterable[str]) -> str:
    """One line: processor, cores, kernel, Pythons, load."""
    load = os.getloadavg()[0]
    parts = [
        datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        _processor(),
        f"{os.cpu_count()} cores",
        f"{platform.system()} {platform.release()}",
        f"CPython {', '.join(interpreters)}",
        f"load average {load:.2f}",
    ]
    return " · ".join(parts)


def load_warning() -> str | None:
    load = os.getloadavg()[0]
    if load <= MAX_LOAD:
        return None
    return (
        f"warning: the load average is {load:.2f}, above {MAX_LOAD}: figures are CPU time and "
        "ratios are of the same rounds, but a busy machine makes all of them larger"
    )


def print_result(result: Result) -> None:
    """A line for ours, and one for everything it is held against."""
    row = result.row
    word = "met" if result.is_met else "MISSED"
    verdicts = {verdict.what: verdict for verdict in result.verdicts()}
    print(f"{row.id:<5} {row.work:<62} {_number(result.ours):>11} {row.unit:<14} {word}")
    for bound in ("at most", "at least"):
        if bound in verdicts:
            verdict = verdicts[bound]
            print(f"      {bound:<62} {_number(verdict.wanted):>11} {'':<22} {_word(verdict.met)}")
    over = result.over_floor()
    if result.floor is not None and over is not None:
        _print_other("floor", result.floor, f"{over:.2f}x", verdicts.get("floor"), "<=")
    for name, value in result.peers.items():
        ratio = result.ratio_to(name)
        _print_other(name, value, f"{ratio:,.1f}x", verdicts.get(name), ">=")
    for name in row.peers.keys() - result.peers.keys():
        print(f"      {name:<62} not on this machine")


def _print_other(name, value, ratio, verdict, sign) -> None:
    wanted = "" if verdict is None else f"{sign} {verdict.wanted:g}x"
    word = "" if verdict is None else _word(verdict.met)
    print(f"      {name:<62} {_number(value):>11} {ratio:>10} {wanted:<11} {word}".rstrip())


def _word(met: bool) -> str:
    return "met" if met else "MISSED"


def write_json(results: Sequence[Result], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "id": result.row.id,
            "work": result.row.work,
            "unit": result.row.unit,
            "ours": _rounded(result.ours),
            "floor": None if result.floor is None else _rounded(result.floor),
            "peers": {name: _rounded(value) for name, value in result.peers.items()},
            "runs": result.rounds,
        }
        for result in results
    ]
    path.write_text(json.dumps(rows, indent=2) + "\n")


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def _number(value: float) -> str:
    if abs(value) >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _processor() -> str:
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.machine()
