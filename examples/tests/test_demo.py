"""What the demo prints is what the shop's own journal says happened."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[1]
SHOP = EXAMPLES / "shop"
ROW = re.compile(r"^(?P<name>__\w+) +(?P<calls>\d+) .* (?P<share>[\d.]+)% +(?P<errors>\d+)$")


class Demo:
    """One run of it."""

    def __init__(self, folder: Path) -> None:
        (folder / "demo-out").mkdir()
        journal = folder / "journal.jsonl"
        command: list[str | Path] = [
            *(sys.executable, "-m", "hiq", "run", "--service-name", "shop"),
            *("--conf", SHOP / "shop.yaml", "--file", "demo-out/trace.otlp.jsonl"),
            EXAMPLES / "demo.py",
        ]
        foreign = ("OTEL_", "HIQ_", "TRACE", "PYTHONPATH")
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(foreign)
        }
        self.finished = subprocess.run(
            command,
            cwd=folder,
            env={
                **environment,
                "SHOP_JOURNAL": str(journal),
                "HIQ_STATUS_DIR": str(folder),
                "HIQ_SHUTDOWN_TIMEOUT": "60000",
                "PYTHONIOENCODING": "utf-8",
            },
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        self.journal = list(lines_of(journal))
        self.requests = list(lines_of(folder / "demo-out" / "trace.otlp.jsonl"))

    @property
    def table(self) -> dict[str, re.Match[str]]:
        rows = (ROW.match(line) for line in self.finished.stdout.splitlines())
        return {row["name"]: row for row in rows if row}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return Demo(tmp_path_factory.mktemp("demo"))


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def span_names() -> dict[str, str]:
    """What each function of the conf is called in traces."""
    with (SHOP / "shop.csv").open() as rows:
        cells = [row for row in csv.reader(rows) if row and not row[0].startswith("#")]
    return {".".join(filter(None, row[:3])): f"__{row[3]}" for row in cells}


def test_it_ends_well_and_says_nothing_on_stderr(demo: Demo) -> None:
    assert demo.finished.returncode == 0, demo.finished.stderr
    assert demo.finished.stderr == ""


def test_calls_and_errors_of_the_table_are_those_of_the_journal(demo: Demo) -> None:
    name_of = span_names()
    calls = Counter(name_of[line["function"]] for line in demo.journal)
    raised = (line for line in demo.journal if line["outcome"] == "raised")
    errors = Counter(name_of[line["function"]] for line in raised)
    assert {name: int(row["calls"]) for name, row in demo.table.items()} == calls
    assert {name: int(row["errors"]) for name, row in demo.table.items()} == {
        name: errors[name] for name in calls
    }


def test_shares_are_of_the_whole(demo: Demo) -> None:
    shares = [float(row["share"]) for row in demo.table.values()]
    assert sum(shares) == pytest.approx(100, abs=0.05 * len(shares) + 0.01)


def test_the_file_holds_a_span_for_each_call_and_the_ledger_says_so(demo: Demo) -> None:
    spans = [
        span
        for request in demo.requests
        for resource in request["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    assert len(spans) == len(demo.journal)
    assert f"exported {len(spans)}," in demo.finished.stdout
    assert f"spans in the file: {len(spans)}" in demo.finished.stdout


def test_the_tree_is_one_request_drawn_as_hiq_draws_it(demo: Demo) -> None:
    _, _, after = demo.finished.stdout.partition("One request, as HiQ shows it")
    tree, _, _ = after.partition("\n---")
    times = r"^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} - \d\d:\d\d:\d\d\.\d{6}\]  "
    assert re.search(times + r"\[100\.00%\] 🟢_root_time\(\d+\.\d{4}\)$", tree, re.MULTILINE), after
    assert re.search(r"^ +\[OH:\d+us\]$", tree, re.MULTILINE), tree
    assert re.search(times + r"\[100\.00%\]    l___request\(", tree, re.MULTILINE), tree
    assert re.search(r"[l|]___place_order\(", tree), tree
