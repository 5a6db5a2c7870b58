"""Traces the shop and shows what hiq saw. `make demo` starts it; by hand, from the root:

    python -m hiq run --conf examples/shop/shop.yaml --file demo-out/trace.otlp.jsonl \\
        examples/demo.py

The shop is an ordinary program with no line of hiq in it: `hiq run` puts the recorder around the
functions that shop.yaml names, as the shop imports them. This script holds a driver beside it for
HiQ's trees, runs the shop, and makes its table from the file that was written: from what every
backend gets.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hiq

SHOP = Path(__file__).resolve().parent / "shop"
OUTPUT = Path("demo-out", "trace.otlp.jsonl")
ERROR = 2  # OTLP's status code
TREES_KEPT = 1_000_000


def main() -> int:
    if not hiq.stats():
        print(f"nothing takes the spans. {__doc__}", file=sys.stderr)
        return 2
    driver = hiq.HiQLatency(
        str(SHOP / "shop.yaml"),
        hiq_id_func=name_of_thread,
        max_hiq_size=TREES_KEPT,
        target_path=str(SHOP),
    )
    from shop.__main__ import main as run_shop

    heading("The shop, traced from outside")
    began = time.perf_counter()
    status = run_shop([])
    seconds = time.perf_counter() - began
    driver.disable_hiq()
    delivered = hiq.flush()

    heading("One request, as HiQ shows it")
    print(request_to_show(driver).get_graph(time_format=hiq.FORMAT_DATETIME), end="")
    heading(f"Every function, from {OUTPUT}")
    calls = calls_in(OUTPUT)
    print_table(calls)
    heading("What tracing has cost")
    print_overhead(driver.get_overhead_us(), len(calls), seconds)
    heading("What became of the spans")
    print_ledger(len(calls))
    heading("What next")
    print_what_next()
    return status if delivered else 1


def heading(text: str) -> None:
    print(f"\n--- {text} {'-' * (94 - len(text))}")
    sys.stdout.flush()


# --- one tree -----------------------------------------------------------------------------------


def name_of_thread() -> str:
    """The key of a tree: the shop answers each request in a thread of its own."""
    return threading.current_thread().name


def request_to_show(driver: hiq.HiQLatency) -> hiq.Tree:
    """The request whose tree has the most different functions, and of those the smallest."""
    requests = [tree for tree in driver.get_metrics() if names_in(tree)[1:2] == ["__request"]]
    return max(requests, key=lambda tree: (len(set(names_in(tree))), -len(names_in(tree))))


def names_in(tree: hiq.Tree) -> list[str]:
    names, waiting = [], [tree.get_root()]
    while waiting:
        node = waiting.pop()
        names.append(node.name)
        waiting.extend(reversed(node.nodes))
    return names


# --- the table ----------------------------------------------------------------------------------


@dataclass
class Call:
    """One span of the file."""

    name: str
    start_nanos: int
    end_nanos: int
    failed: bool
    # What the traced calls that it made covered of it.
    inner_nanos: int = 0

    @property
    def nanos(self) -> int:
        return self.end_nanos - self.start_nanos

    @property
    def own_nanos(self) -> int:
        return self.nanos - self.inner_nanos


def calls_in(path: Path) -> list[Call]:
    """The spans of a file of OTLP requests, one a line."""
    calls, parents = {}, {}
    for span in spans_in(path):
        call_id = span["traceId"], span["spanId"]
        calls[call_id] = Call(
            span["name"],
            int(span["startTimeUnixNano"]),
            int(span["endTimeUnixNano"]),
            span.get("status", {}).get("code") == ERROR,
        )
        parents[call_id] = span["traceId"], span.get("parentSpanId", "")
    inner: dict[tuple[str, str], list[Call]] = {}
    for call_id, parent_id in parents.items():
        inner.setdefault(parent_id, []).append(calls[call_id])
    for call_id, call in calls.items():
        call.inner_nanos = covered_nanos(call, inner.get(call_id, []))
    return list(calls.values())


def spans_in(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            for resource in json.loads(line)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    yield from scope["spans"]


def covered_nanos(outer: Call, inner: list[Call]) -> int:
    """How much of a call those inside cover. They may overlap, in other threads, or outlive it."""
    covered, reached = 0, outer.start_nanos
    for call in sorted(inner, key=lambda call: call.start_nanos):
        start, end = max(call.start_nanos, reached), min(call.end_nanos, outer.end_nanos)
        if end > start:
            covered += end - start
            reached = end
    return covered


def print_table(calls: list[Call]) -> None:
    of_name: dict[str, list[Call]] = {}
    for call in calls:
        of_name.setdefault(call.name, []).append(call)
    all_own = sum(call.own_nanos for call in calls) or 1
    rows = [Row.of(name, of_name[name], all_own) for name in of_name]
    times = " ".join(f"{title:>10}" for title in ("total", "mean", "p50", "p99"))
    print(f"{'function':20} {'calls':>7} {times} {'share':>7} {'errors':>7}")
    for row in sorted(rows, key=lambda row: -row.total_nanos):
        print(row)
    print("share: what was spent in the function itself, outside the traced calls that it made")


@dataclass
class Row:
    name: str
    calls: int
    total_nanos: int
    p50_nanos: int
    p99_nanos: int
    share: float
    errors: int

    @classmethod
    def of(cls, name: str, calls: list[Call], all_own_nanos: int) -> Row:
        durations = sorted(call.nanos for call in calls)
        return cls(
            name=name,
            calls=len(calls),
            total_nanos=sum(durations),
            p50_nanos=nearest_rank(durations, 0.50),
            p99_nanos=nearest_rank(durations, 0.99),
            share=sum(call.own_nanos for call in calls) / all_own_nanos,
            errors=sum(call.failed for call in calls),
        )

    def __str__(self) -> str:
        times = (self.total_nanos, self.total_nanos / self.calls, self.p50_nanos, self.p99_nanos)
        columns = " ".join(f"{duration(nanos):>10}" for nanos in times)
        return f"{self.name:20} {self.calls:7} {columns} {self.share:7.1%} {self.errors:7}"


def nearest_rank(ordered: list[int], quantile: float) -> int:
    return ordered[max(0, math.ceil(quantile * len(ordered)) - 1)]


def duration(nanos: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanos >= size:
            return f"{nanos / size:.2f} {unit}"
    return f"{nanos:.0f} ns"


# --- the rest -----------------------------------------------------------------------------------


def print_overhead(overhead_us: float, calls: int, seconds: float) -> None:
    each_ns = overhead_us * 1e3 / max(1, calls)
    share = overhead_us / (seconds * 1e6)
    print(f"{overhead_us / 1e3:.2f} ms for {calls} calls, {each_ns:.0f} ns a call", end=": ")
    print(f"{share:.3%} of the {seconds:.2f} s that the shop ran")


def print_ledger(spans_in_file: int) -> None:
    for exporter, ledger in hiq.stats().items():
        dropped = ledger["dropped"]
        counts = {**ledger, "dropped": sum(dropped.values())}
        print(f"{exporter}: {', '.join(f'{name} {count}' for name, count in counts.items())}")
        for reason, count in dropped.items():
            if count:
                print(f"  dropped because of {reason}: {count}")
    print(f"spans in the file: {spans_in_file}")


def print_what_next() -> None:
    hiq_command = f"{os.path.relpath(sys.executable)} -m hiq"
    print("send it to Jaeger:   OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 make demo")
    print(f"open what it wrote:  upload {OUTPUT} in Jaeger's page (Search, Upload)")
    print(f"trace your program:  {hiq_command} conf suggest PACKAGE > conf.yaml")
    print(f"                     {hiq_command} run --conf conf.yaml --file spans.jsonl -m PACKAGE")


if __name__ == "__main__":
    sys.exit(main())
