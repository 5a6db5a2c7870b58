"""How work that is done in steps ends: by itself, by an exception, thrown away, at exit, and in a forked child."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiq
import pytest
from conftest import python
from hiq import _hiq
from recorder import edges, runs, spans, traced, waits

pytestmark = pytest.mark.usefixtures("company")


def leaf() -> None: ...


def drain(child: int, reading: int) -> Any:
    """What the forked child wrote, once it has ended well."""
    with open(reading, encoding="utf-8") as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    assert status == 0
    return json.loads(text)


def answer(writing: int) -> None:
    """Ends a forked child, which says what it has recorded."""
    found = [[span["name"], span["parent_span_id"], span["span_id"]] for span in spans()]
    os.write(writing, json.dumps(found).encode())
    os._exit(0)


def test_a_coroutine_that_is_thrown_away_while_it_waits_ends_then_and_its_clean_up_is_its_own() -> None:
    small = traced(leaf)

    async def job() -> None:
        try:
            await waits()
        finally:
            small()

    work = traced(job, kind="coroutine")

    def caller() -> None:
        coroutine = work()
        coroutine.send(None)
        small()
        del coroutine
        small()

    traced(caller)()
    finished = spans()
    assert edges(finished) == {("caller", None): 1, ("job", "caller"): 1, ("leaf", "job"): 1, ("leaf", "caller"): 2}
    assert {span["status"] for span in finished} == {"unset"}


@pytest.mark.parametrize("waiting", [False, True])
def test_an_exception_marks_the_coroutine_and_what_it_passes_on_its_way(waiting: bool) -> None:
    async def fails() -> None:
        if waiting:
            await waits()
        raise ValueError("of the job")

    work = traced(fails, kind="coroutine")

    async def catches() -> None:
        with pytest.raises(ValueError, match="of the job"):
            await work()

    async def passes() -> None:
        await work()

    def caller() -> None:
        runs(traced(catches, kind="coroutine")())
        with pytest.raises(ValueError, match="of the job"):
            runs(traced(passes, kind="coroutine")())

    traced(caller)()
    finished = spans()
    assert edges(finished) == {
        ("caller", None): 1,
        ("catches", "caller"): 1,
        ("passes", "caller"): 1,
        ("fails", "catches"): 1,
        ("fails", "passes"): 1,
    }
    status = {span["name"]: (span["status"], len(span["events"])) for span in finished}
    assert status == {"caller": ("unset", 0), "catches": ("unset", 0), "passes": ("error", 1), "fails": ("error", 1)}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups came with 3.11")
def test_each_task_of_a_group_carries_its_own_exception() -> None:
    async def fails(number: int) -> None:
        if number % 2:
            await asyncio.sleep(0)
        raise ValueError(f"number {number}")

    works = [traced(fails, f"fails {number}", kind="coroutine") for number in range(4)]

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number, work in enumerate(works):
                group.create_task(work(number))

    main_traced = traced(main, kind="coroutine")

    async def outer() -> None:
        with pytest.raises(Exception, match="unhandled errors in a TaskGroup"):
            await main_traced()

    asyncio.run(traced(outer, kind="coroutine")())
    finished = spans()
    by_name = {span["name"]: span for span in finished}
    assert by_name["main"]["attributes"]["error.type"] == "ExceptionGroup"
    for name in set(by_name) - {"main", "outer"}:
        span = by_name[name]
        assert span["parent_span_id"] == by_name["main"]["span_id"]
        kind = span["attributes"]["error.type"]
        # A task is cancelled when its neighbour fails first, with what it was doing.
        if kind == "ValueError":
            assert span["events"][0]["attributes"]["exception.message"] == name.replace("fails", "number")
        else:
            assert kind.endswith("CancelledError")
    assert by_name["outer"]["status"] == "unset"


def test_stepping_what_is_running_already_fails_without_a_trace() -> None:
    small = traced(leaf)
    made: list[Any] = []

    def numbers() -> Iterator[int]:
        for again in (next, lambda running: running.close(), lambda running: running.throw(KeyError)):
            with pytest.raises(ValueError, match="already executing"):
                again(made[0])
            small()
        yield 1

    def caller() -> None:
        made.append(traced(numbers, kind="generator")())
        assert list(made[0]) == [1]

    traced(caller)()
    finished = spans()
    assert edges(finished) == {("caller", None): 1, ("numbers", "caller"): 1, ("leaf", "numbers"): 3}
    assert {span["status"] for span in finished} == {"unset"}


def test_an_outer_block_that_is_left_in_a_first_step_takes_what_is_recorded_inside_it_along(company: str) -> None:
    small = traced(leaf)
    block = _hiq.trace("block")

    async def job() -> None:
        block.__exit__(None, None, None)
        small()
        await waits()
        small()

    work = traced(job, kind="coroutine")

    def caller() -> None:
        block.__enter__()
        coroutine = work()
        coroutine.send(None)
        small()
        with pytest.raises(StopIteration):
            coroutine.send(None)

    traced(caller)()
    spans_around = {("caller", None): 1, ("block", "caller"): 1, ("job", "block"): 1}
    # A step in a fragment of its own goes on there.
    inside = {("leaf", "caller"): 3} if company == "alone" else {("leaf", "job"): 2, ("leaf", "caller"): 1}
    assert edges(spans()) == {**spans_around, **inside}


EXIT = """
import sys, types
import hiq

@types.coroutine
def waits():
    yield

@hiq.trace
async def job():
    await waits()

@hiq.trace
async def deep():
    await job()

@hiq.trace
def caller():
    coroutine = deep()
    coroutine.send(None)
    return coroutine

hiq.init("exit", exporters=[hiq.FileExporter(sys.argv[1])])
kept = caller()
"""


def test_what_waits_at_exit_leaves_once_as_unfinished(tmp_path: Path) -> None:
    written = tmp_path / "spans.jsonl"
    ran = python("-c", EXIT, written, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    found = []
    for line in written.read_text(encoding="utf-8").splitlines():
        for group in json.loads(line)["resourceSpans"]:
            found += [span for scope in group["scopeSpans"] for span in scope["spans"]]
    names = {span["spanId"]: span["name"] for span in found}
    unfinished = {"key": "hiq.unfinished", "value": {"boolValue": True}}
    told = sorted(
        (span["name"], names.get(span.get("parentSpanId")), unfinished in span.get("attributes", [])) for span in found
    )
    assert told == [("caller", None, False), ("deep", "caller", True), ("job", "deep", True)]


# --- forks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_first_step", [True, False])
def test_a_forked_child_hangs_the_rest_under_the_parents_span_and_exports_nothing_of_it(in_first_step: bool) -> None:
    small = traced(leaf)
    reading, writing = os.pipe()
    forked: list[int] = []

    async def job() -> None:
        small()
        if in_first_step:
            forked.append(os.fork())
        await waits()
        if not in_first_step:
            forked.append(os.fork())
        small()
        await waits()
        small()

    def caller() -> None:
        small()
        runs(traced(job, kind="coroutine")())
        small()

    traced(caller)()
    (child,) = forked
    if child == 0:
        answer(writing)
    os.close(writing)
    of_child = drain(child, reading)
    finished = spans()
    assert edges(finished) == {("caller", None): 1, ("job", "caller"): 1, ("leaf", "job"): 3, ("leaf", "caller"): 2}
    of_parent = {span["span_id"]: span["name"] for span in finished}
    in_child = {span_id: name for name, _, span_id in of_child}
    assert not of_parent.keys() & in_child.keys()
    names = {**of_parent, **in_child}
    told = Counter((name, names[parent]) for name, parent, _ in of_child)
    # The rest of the job is a span of the child's own, from the next step on. What comes before and after hangs in the parent's.
    assert told == {("job", "job"): 1, ("leaf", "job"): 3}


def test_a_child_that_is_forked_in_a_call_and_context_inside_a_step_goes_on_under_that_step() -> None:
    """The place of the step, for which nobody has asked, is the parent process's."""
    small = traced(leaf)
    reading, writing = os.pipe()
    forked: list[int] = []

    def forks() -> None:
        forked.append(os.fork())

    fork = traced(forks)

    async def job() -> None:
        contextvars.Context().run(fork)
        here = hiq.current_context()
        if not forked[0] and (here is None or not here.is_remote):
            os._exit(1)
        small()

    runs(traced(job, kind="coroutine")())
    (child,) = forked
    if child == 0:
        answer(writing)
    os.close(writing)
    of_child = drain(child, reading)
    finished = spans()
    assert edges(finished) == {("job", None): 1, ("forks", "job"): 1, ("leaf", "job"): 1}
    of_parent = {span["span_id"]: span["name"] for span in finished}
    assert [(name, of_parent[parent]) for name, parent, _ in of_child] == [("leaf", "job")]
