"""Tasks of whatever event loop: each runs in a `contextvars.Context` of its own, which is all that hiq goes by."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import types
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

import hiq
import pytest
from recorder import Log, edges, spans, traced

pytestmark = pytest.mark.usefixtures("memory")

Job = Callable[[], Coroutine[Any, Any, None]]


class Loop:
    """An event loop without asyncio: a queue of tasks that wait for a turn of theirs. As trio does it, a task is stepped in the
    context that its starter had."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, Any, contextvars.Context]] = []
        self._order = itertools.count()
        self._now = 0

    def start(self, job: Job) -> None:
        self._push(0, job(), contextvars.copy_context())

    def run(self, *jobs: Job) -> None:
        for job in jobs:
            self.start(job)
        while self._waiting:
            self._now, _, task, context = heapq.heappop(self._waiting)
            try:
                turns = context.run(task.send, None)
            except StopIteration:
                continue
            self._push(turns, task, context)

    @staticmethod
    @types.coroutine
    def sleep(turns: int) -> Iterator[int]:
        yield turns

    def _push(self, turns: int, task: Any, context: contextvars.Context) -> None:
        heapq.heappush(self._waiting, (self._now + turns, next(self._order), task, context))


class Asyncio:
    """The same face on asyncio."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, job: Job) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(job()))

    def run(self, *jobs: Job) -> None:
        async def main() -> None:
            for job in jobs:
                self.start(job)
            while not all(task.done() for task in self._tasks):
                await asyncio.gather(*self._tasks)

        asyncio.run(main())

    @staticmethod
    async def sleep(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)


@pytest.fixture(params=[Loop, Asyncio], ids=["a loop of one's own", "asyncio"])
def loop(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture(params=["plain", "traced"])
def made(request: pytest.FixtureRequest) -> Callable[[Job, str], Job]:
    """Whether the tasks are traced coroutines."""
    return (lambda job, _: job) if request.param == "plain" else (lambda job, name: traced(job, name, kind="coroutine"))


def test_blocks_of_tasks_that_take_turns_never_see_each_other(loop: Any) -> None:
    log = Log()

    def task(number: int) -> Job:
        async def job() -> None:
            with log.call(f"outer {number}"), hiq.trace(f"outer {number}"):
                await loop.sleep(number)
                work()
                with log.call(f"inner {number}"), hiq.trace(f"inner {number}"):
                    await loop.sleep(5 - number)
                    work()
                await loop.sleep(2)

        return job

    def leaf() -> None:
        with log.call("leaf"):
            pass

    work = traced(leaf)
    loop.run(*(task(number) for number in range(5)))
    assert edges(spans()) == log.counted()


def test_tasks_that_are_started_in_a_block_hang_under_it(loop: Any) -> None:
    log = Log()

    async def child() -> None:
        with log.call("child"), hiq.trace("child"):
            await loop.sleep(3)

    async def parent() -> None:
        with log.call("parent"), hiq.trace("parent"):
            loop.start(child)
            loop.start(child)
            await loop.sleep(1)

    async def other() -> None:
        with log.call("other"), hiq.trace("other"):
            await loop.sleep(2)

    loop.run(parent, other)
    assert edges(spans()) == log.counted()


def test_blocks_of_a_call_in_a_task_are_inside_the_call(loop: Any) -> None:
    def call() -> None:
        with hiq.trace("block"):
            hiq.record("inside")

    work = traced(call)

    async def job() -> None:
        work()
        with hiq.trace("around"):
            work()
            await loop.sleep(1)

    loop.run(job)
    finished = spans()
    found = edges(finished)
    assert found == {
        ("around", None): 1,
        ("call", None): 1,
        ("call", "around"): 1,
        ("block", "call"): 2,
        ("inside", "block"): 2,
    }


def test_a_loop_inside_a_block_of_a_plain_program_keeps_its_tasks_apart_under_it(loop: Any) -> None:
    async def job() -> None:
        with hiq.trace("task"):
            await loop.sleep(2)

    with hiq.trace("program"):
        loop.run(job, job, job)
        hiq.record("after")
    assert edges(spans()) == {("program", None): 1, ("task", "program"): 3, ("after", "program"): 1}


def test_a_suppression_silences_its_own_task_alone(loop: Any, made: Callable[[Job, str], Job]) -> None:
    work = traced(lambda: None, "leaf")

    async def quiet() -> None:
        with hiq.suppress():
            work()
            await loop.sleep(2)
            work()
            with hiq.trace("quiet block"):
                await loop.sleep(2)
            hiq.record("quiet moment")
        hiq.record("loud again")

    async def other() -> None:
        await loop.sleep(1)
        with hiq.trace("other"):
            work()
            await loop.sleep(5)
            work()

    loop.run(made(quiet, "task"), made(other, "task"))
    found = edges(spans())
    parent = None if ("task", None) not in found else "task"
    expected = {("other", parent): 1, ("leaf", "other"): 2, ("loud again", parent): 1}
    assert found == ({**expected, ("task", None): 2} if parent else expected)


def test_suppressions_of_two_tasks_that_end_out_of_order_are_both_over(loop: Any) -> None:
    def quiet(turns: int) -> Job:
        async def job() -> None:
            with hiq.suppress():
                await loop.sleep(turns)
                hiq.record("silent")
            hiq.record(f"after {turns}")

        return job

    loop.run(quiet(3), quiet(1))
    hiq.record("end")
    assert edges(spans()) == {("after 3", None): 1, ("after 1", None): 1, ("end", None): 1}


def test_tasks_that_are_started_in_a_suppression_are_silent_as_long_as_it_lasts(
    loop: Any, made: Callable[[Job, str], Job]
) -> None:
    async def child() -> None:
        hiq.record("silent")
        await loop.sleep(4)
        hiq.record("heard")

    async def parent() -> None:
        with hiq.trace("parent"), hiq.suppress():
            loop.start(child)
            await loop.sleep(2)
        await loop.sleep(1)
        loop.start(after)
        hiq.record("own")

    async def after() -> None:
        hiq.record("after")

    async def other() -> None:
        with hiq.suppress():
            await loop.sleep(9)

    loop.run(made(parent, "task"), other)
    found = edges(spans())
    if ("task", None) in found:
        assert found == {("task", None): 1, ("parent", "task"): 1, ("heard", "parent"): 1} | {
            (name, "task"): 1 for name in ("own", "after")
        }
    else:
        assert found == {("parent", None): 1, ("heard", "parent"): 1, ("own", None): 1, ("after", None): 1}


def test_tasks_that_a_generator_starts_in_a_suppression_are_silent() -> None:
    """The plain generator keeps it between its steps; its caller does not see it."""

    async def child(name: str) -> None:
        hiq.record(name)

    def starts() -> Iterator[asyncio.Task[None]]:
        with hiq.suppress():
            yield asyncio.create_task(child("silent"))
            yield asyncio.create_task(child("silent"))
        yield asyncio.create_task(child("heard inside"))

    async def main() -> None:
        for started in traced(starts, kind="generator")():
            await asyncio.create_task(child("heard"))
            await started

    asyncio.run(traced(main, kind="coroutine")())
    assert edges(spans()) == {
        ("main", None): 1,
        ("starts", "main"): 1,
        ("heard", "main"): 3,
        ("heard inside", "main"): 1,
    }


def test_one_suppression_object_serves_many_tasks(loop: Any) -> None:
    shared = hiq.suppress()

    def quiet(turns: int) -> Job:
        async def job() -> None:
            with shared:
                await loop.sleep(turns)
                hiq.record("silent")
            hiq.record("heard")

        return job

    loop.run(*(quiet(turns) for turns in (3, 1, 2)))
    assert edges(spans()) == {("heard", None): 3}


def test_work_without_a_context_of_its_own_is_no_task() -> None:
    """A call in a copy of the context, as `to_thread` makes it, is left before anything else runs."""

    def job() -> Awaitable[None] | None:
        with hiq.trace("outer"):
            with hiq.trace("inner"):
                hiq.record("inside")
        return None

    contextvars.copy_context().run(traced(job))
    finished = spans()
    assert edges(finished) == {("job", None): 1, ("outer", "job"): 1, ("inner", "outer"): 1, ("inside", "inner"): 1}
