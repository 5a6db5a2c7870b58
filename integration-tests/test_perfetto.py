"""Trace files through Perfetto's own trace processor, VizTracer's reports through `hiq convert`.

What is expected comes from the traced programs' own journals.
"""

from __future__ import annotations

import collections
import itertools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hiq_servers import run_program
from hiq_servers.forest import Node
from hiq_servers.perfetto import query
from hiq_servers.tracing import under_hiq
from test_shop import LIMIT_SECONDS, SHOP, assert_same_trees, call_forest, run_shop

FILES = ("shop.json", "shop.json.gz", "shop.pftrace", "shop.pftrace.gz")

SLICES = """
select s.name, s.ts, s.dur, ids.display_value as id, parents.display_value as parent
from slice s
join args ids on ids.arg_set_id = s.arg_set_id
    and ids.key in ('args.hiq.span_id', 'debug.hiq_span_id')
left join args parents on parents.arg_set_id = s.arg_set_id
    and parents.key in ('args.hiq.parent_span_id', 'debug.hiq_parent_span_id')
where s.category != 'event'
"""


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("name", FILES)
def test_perfetto_shows_every_call_of_the_shop(
    name: str, tmp_path: Path, compared: Callable[[str, str, int], None]
) -> None:
    trace, journal = tmp_path / name, tmp_path / "journal.jsonl"
    environment = {"OTEL_TRACES_EXPORTER": "chrome", "HIQ_CHROME_FILE": str(trace)}
    run_shop(under_hiq(SHOP / "shop.yaml"), journal, environment).require_success()

    slices = query(trace, SLICES)

    calls = call_forest(journal)
    compared("Perfetto" if "pftrace" in name else "Chrome JSON", "perfetto", len(slices))
    assert_same_trees(calls, forest(slices))
    assert all(int(each["dur"]) > 0 for each in slices)


def forest(slices: list[dict[str, str]]) -> list[Node[dict[str, str]]]:
    nodes = {
        each["id"]: Node(each, each["name"], int(each["ts"]), int(each["ts"]) + int(each["dur"]))
        for each in slices
    }
    roots: list[Node[dict[str, str]]] = []
    for node in sorted(nodes.values(), key=lambda node: node.start_unix_nanos):
        parent = nodes.get(node.item["parent"])
        (roots if parent is None else parent.children).append(node)
    return roots


POOL = """
import concurrent.futures, json, sys, threading

journal = []

def job(caller):
    journal.append([caller, threading.get_native_id()])

def work(pool):
    own = threading.get_native_id()
    for done in [pool.submit(job, own) for _ in range(20)]:
        done.result()
    job(own)

if __name__ == "__main__":
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for _ in range(4):
            work(pool)
    with open(sys.argv[1], "w") as file:
        json.dump(journal, file)
"""

CONF = """
- [__main__, "", work, work]
- [__main__, "", job, job]
"""

TASKS = """
import asyncio, json, sys

async def step(row):
    journal.append([row, "step"])
    await asyncio.sleep(0)

async def work(row):
    journal.append([row, "work"])
    for _ in range(3):
        await step(row)

async def main():
    await asyncio.gather(
        *(asyncio.create_task(work(f"worker {n}"), name=f"worker {n}") for n in range(4))
    )

if __name__ == "__main__":
    journal = []
    asyncio.run(main())
    with open(sys.argv[1], "w") as file:
        json.dump(journal, file)
"""

TASKS_CONF = """
- [__main__, "", work, work]
- [__main__, "", step, step]
"""

ROWS = """
select coalesce(thread.name, track.name) as row, substr(slice.name, 3) as name
from slice join track on track.id = slice.track_id
left join thread_track on thread_track.id = track.id
left join thread on thread.utid = thread_track.utid
where slice.category != 'event'
"""


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("name", ["tasks.json", "tasks.pftrace"])
def test_rows_have_the_names_that_the_program_gave_to_its_tasks(
    name: str, tmp_path: Path, compared: Callable[[str, str, int], None]
) -> None:
    conf, program, journal = (tmp_path / file for file in ("c.yaml", "tasks.py", "journal.json"))
    conf.write_text(TASKS_CONF)
    program.write_text(TASKS)
    run_program(
        under_hiq(conf, program, journal),
        folder=tmp_path,
        environment={"OTEL_TRACES_EXPORTER": "chrome", "HIQ_CHROME_FILE": str(tmp_path / name)},
        timeout_seconds=LIMIT_SECONDS,
    ).require_success()
    expected = sorted(map(tuple, json.loads(journal.read_text())))
    assert sorted(tuple(row.values()) for row in query(tmp_path / name, ROWS)) == expected
    title = "Perfetto tasks" if "pftrace" in name else "Chrome JSON tasks"
    compared(title, "perfetto", len(expected))


ARROWS = """
select parent.name as parent, child.name as child, parents.tid as parent_tid, children.tid as tid,
    parent.ts <= child.ts as is_later
from flow
join slice parent on parent.id = flow.slice_out
join slice child on child.id = flow.slice_in
join thread_track parent_track on parent_track.id = parent.track_id
join thread_track child_track on child_track.id = child.track_id
join thread parents on parents.utid = parent_track.utid
join thread children on children.utid = child_track.utid
"""


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("name", ["pool.json", "pool.pftrace"])
def test_arrows_lead_from_a_call_to_those_that_it_caused_in_other_threads(
    name: str, tmp_path: Path, compared: Callable[[str, str, int], None]
) -> None:
    program, journal = tmp_path / "program.py", tmp_path / "journal.json"
    program.write_text(POOL)
    (tmp_path / "conf.yaml").write_text(CONF)
    environment = {"OTEL_TRACES_EXPORTER": "chrome", "HIQ_CHROME_FILE": str(tmp_path / name)}
    command = under_hiq(tmp_path / "conf.yaml", program, journal)
    run_program(
        command, folder=tmp_path, environment=environment, timeout_seconds=LIMIT_SECONDS
    ).require_success()

    arrows = query(tmp_path / name, ARROWS)

    calls = json.loads(journal.read_text())
    expected = collections.Counter((caller, tid) for caller, tid in calls if caller != tid)
    assert expected.total() == 80
    compared("Perfetto" if "pftrace" in name else "Chrome JSON", "perfetto", len(arrows))
    found = collections.Counter((int(each["parent_tid"]), int(each["tid"])) for each in arrows)
    assert found == expected
    assert {(each["parent"], each["child"]) for each in arrows} == {("__work", "__job")}
    assert all(each["is_later"] == "1" for each in arrows)


PROGRAM = """
import json, sys, threading

journal = []

def note(function):
    journal.append([threading.current_thread().name, function])

def leaf(n):
    note("leaf")

def branch(n):
    note("branch")
    for i in range(n):
        leaf(i)

if __name__ == "__main__":
    thread = threading.Thread(target=branch, args=(7,), name="a thread")
    thread.start()
    thread.join()
    for n in range(20):
        branch(n)
    with open(sys.argv[1], "w") as file:
        json.dump(journal, file)
"""


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("report", ["report.json", "report.json.gz", "report.html"])
def test_a_report_of_viztracer_is_read_as_the_calls_that_the_program_made(
    report: str, tmp_path: Path, compared: Callable[[str, str, int], None]
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    journal, spans = tmp_path / "journal.json", tmp_path / "spans.jsonl"
    run(tmp_path, "viztracer", "--quiet", "-o", report, "program.py", str(journal))
    run(tmp_path, "hiq", "convert", report, str(spans))

    found = collections.Counter((thread, function) for thread, function, _ in functions(spans))
    expected = collections.Counter(map(tuple, json.loads(journal.read_text())))
    compared("VizTracer report", "hiq convert", sum(found.values()))
    assert {key: count for key, count in found.items() if key[1] in ("leaf", "branch")} == expected
    # Each leaf was called by a branch.
    assert {parent for _, function, parent in functions(spans) if function == "leaf"} == {"branch"}


FIB = """
import threading

def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

def many():
    for i in range(9_000):
        abs(i)

thread = threading.Thread(target=many, name="a thread")
thread.start()
thread.join()
fib(17)
"""

NESTING = """
select thread.name as thread, slice.name, slice.depth, parent.name as parent
from slice
join thread_track on thread_track.id = slice.track_id
join thread using (utid)
left join slice parent on parent.id = slice.parent_id
"""


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("by_way_of", [[], ["between.json"], ["between.pftrace"]])
def test_a_converted_report_has_the_rows_and_the_nesting_of_the_report(
    by_way_of: list[str], tmp_path: Path, compared: Callable[[str, str, int], None]
) -> None:
    (tmp_path / "program.py").write_text(FIB)
    run(tmp_path, "viztracer", "--quiet", "-o", "report.json", "program.py")
    names = ["report.json", *by_way_of, "converted.json"]
    for source, target in itertools.pairwise(names):
        run(tmp_path, "hiq", "convert", source, target)

    slices, expected = (
        collections.Counter(tuple(row.values()) for row in query(tmp_path / name, NESTING))
        for name in (names[-1], names[0])
    )
    assert expected.total() > 14_000
    compared("Chrome JSON", "perfetto", slices.total())
    assert slices == expected
    assert query(tmp_path / names[-1], "select count(*) as flows from flow") == [{"flows": "0"}]


COUNTING = """
from viztracer import get_tracer
from viztracer.vizcounter import VizCounter

counter = VizCounter(get_tracer(), "stock")

def sell(n):
    counter.apples = n
    counter.pears = n * 1.5

for n in range(100):
    sell(n)
"""

COUNTERS = """
select counter_track.name, count(*) as samples, max(value) as most
from counter
join counter_track on counter_track.id = counter.track_id
group by counter_track.name
"""


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("name", ["converted.json", "converted.pftrace"])
def test_counters_of_viztracer_are_counters_in_the_viewer(name: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(COUNTING)
    run(tmp_path, "viztracer", "--quiet", "-o", "report.json", "program.py")
    run(tmp_path, "hiq", "convert", "report.json", name)

    expected = query(tmp_path / "report.json", COUNTERS)
    assert {row["name"]: row["most"] for row in expected} == {
        "stock apples": "99",
        "stock pears": "148.5",
    }
    assert query(tmp_path / name, COUNTERS) == expected


def run(folder: Path, *command: str) -> None:
    run_program(
        [sys.executable, "-m", *command], folder=folder, timeout_seconds=LIMIT_SECONDS
    ).require_success()


def functions(path: Path) -> list[tuple[str, str, str]]:
    """Thread, function and calling function of every span in a file of OTLP JSON lines."""
    spans: dict[str, Any] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        for group in json.loads(line)["resourceSpans"]:
            for scope in group["scopeSpans"]:
                spans.update({span["spanId"]: span for span in scope["spans"]})
    found = []
    for span in spans.values():
        root = span
        while root.get("parentSpanId") in spans:
            root = spans[root["parentSpanId"]]
        caller = spans.get(span.get("parentSpanId"), {})
        found.append(
            (
                value(root, "thread.name"),
                value(span, "code.function.name"),
                value(caller, "code.function.name"),
            )
        )
    return found


def value(span: dict[str, Any], key: str) -> str:
    found = [
        each["value"]["stringValue"] for each in span.get("attributes", []) if each["key"] == key
    ]
    return found[0] if found else ""
