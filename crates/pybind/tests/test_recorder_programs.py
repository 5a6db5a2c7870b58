"""Random programs of calls, coroutines, generators, blocks and tasks: every span hangs where the program's own log says."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hiq import _hiq
from recorder import spans, traced, waits, was_always_active

pytestmark = pytest.mark.usefixtures("company")


class Program:
    """Runs a random program and writes down, for each span, its parent, and in which order they begin and end."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.parents: dict[str, str | None] = {}
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.failed: set[str] = set()
        self.waited: set[str] = set()

    def name(self, what: str, parent: str | None) -> str:
        name = f"{what} {len(self.parents)}"
        self.parents[name] = parent
        return name

    def call(self, parent: str | None, depth: int) -> None:
        name = self.name("call", parent)

        def function() -> None:
            self.begun.append(name)
            self.sync_acts(name, depth)
            self.ended.append(name)

        traced(function, name)()

    def sync_acts(self, me: str, depth: int) -> None:
        for _ in range(self.random.randrange(3) if depth else 0):
            self.random.choice((self.call, self.generator, self.by_hand))(me, depth - 1)

    def generator(self, parent: str, depth: int) -> None:
        """Two generators, whose steps take turns; the second may be left half used."""
        made = [self.make_generator(parent, depth) for _ in range(2)]
        for item in zip(*made, strict=False):
            assert item == (1, 1)
            if depth and self.random.random() < 0.5:
                self.call(parent, depth - 1)
        del made

    def make_generator(self, parent: str, depth: int) -> Any:
        name = self.name("generator", parent)
        count = self.random.randrange(1, 4)

        def function() -> Iterator[int]:
            self.begun.append(name)
            try:
                for _ in range(count):
                    self.sync_acts(name, depth)
                    self.waited.add(name)
                    yield 1
            finally:
                self.ended.append(name)

        return traced(function, name, kind="generator")()

    def by_hand(self, parent: str, depth: int) -> None:
        """Two coroutines without a loop, whose steps take turns with calls of the caller."""
        started = [self.coroutine(parent, depth, lambda: waits()) for _ in range(2)]
        while started:
            chosen = self.random.choice(started)
            try:
                chosen.send(None)
            except (StopIteration, KeyError):
                started.remove(chosen)
            if depth and self.random.random() < 0.3:
                self.call(parent, depth - 1)

    def coroutine(self, parent: str | None, depth: int, pause: Callable[[], Any]) -> Any:
        name = self.name("coroutine", parent)

        async def function() -> None:
            self.begun.append(name)
            try:
                await self.acts(name, depth, pause)
                if self.random.random() < 0.15:
                    self.failed.add(name)
                    raise KeyError(name)
            finally:
                self.ended.append(name)

        return traced(function, name, kind="coroutine")()

    async def pause(self, me: str, pause: Callable[[], Any]) -> None:
        span: str | None = me
        while span is not None:
            self.waited.add(span)
            span = self.parents[span]
        await pause()

    async def acts(self, me: str, depth: int, pause: Callable[[], Any]) -> None:
        for _ in range(self.random.randrange(5) if depth else 1):
            act = self.random.randrange(7 if pause is not sleep else 9)
            if act < 2 or not depth:
                await self.pause(me, pause)
            elif act == 2:
                self.call(me, depth - 1)
            elif act == 3:
                self.generator(me, depth - 1)
            elif act < 6:
                await caught(self.coroutine(me, depth - 1, pause))
            elif act == 6:
                await self.block(me, depth - 1, pause)
            else:
                await self.tasks(me, depth - 1)

    async def block(self, me: str, depth: int, pause: Callable[[], Any]) -> None:
        name = self.name("block", me)
        later = self.coroutine(me, depth, pause)
        self.begun.append(name)
        with _hiq.trace(name):
            await self.acts(name, depth, pause)
            await caught(later)
            self.ended.append(name)

    async def tasks(self, me: str, depth: int) -> None:
        tasks = []
        for _ in range(self.random.randrange(1, 4)):
            tasks.append(asyncio.ensure_future(caught(self.coroutine(me, depth, sleep))))
            if depth and self.random.random() < 0.3:
                self.call(me, depth - 1)
        await self.pause(me, sleep)
        await asyncio.gather(*tasks)


def sleep() -> Any:
    return asyncio.sleep(0)


async def caught(coroutine: Any) -> None:
    with contextlib.suppress(KeyError):
        await coroutine


def run_in_a_task(program: Program) -> None:
    async def main() -> None:
        await asyncio.gather(*(caught(program.coroutine(None, 4, sleep)) for _ in range(2)))

    asyncio.run(main())


def run_inside_a_call(program: Program) -> None:
    name = program.name("root", None)

    def root() -> None:
        program.begun.append(name)

        async def main() -> None:
            await asyncio.gather(*(caught(program.coroutine(name, 4, sleep)) for _ in range(2)))

        asyncio.run(main())
        program.ended.append(name)

    traced(root, name)()


def run_eagerly(program: Program) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        await caught(program.coroutine(None, 4, sleep))

    asyncio.run(main())


def run_without_a_loop(program: Program) -> None:
    program.call(None, 5)


WAYS = [run_in_a_task, run_inside_a_call, run_without_a_loop]
if sys.version_info >= (3, 12):
    WAYS.append(run_eagerly)


@pytest.mark.parametrize("run", WAYS)
def test_random_programs_are_recorded_as_their_own_log_has_them(run: Callable[[Program], None]) -> None:
    total = 0
    for seed in range(40):
        program = Program(seed)
        run(program)
        finished = spans()
        by_name = {span["name"]: span for span in finished}
        assert len(by_name) == len(finished)
        names = {span["span_id"]: name for name, span in by_name.items()}
        began = set(program.begun)
        found = {
            name: names[span["parent_span_id"]] if span["parent_span_id"] else None for name, span in by_name.items()
        }
        assert found == {name: parent for name, parent in program.parents.items() if name in began}, seed
        starts = [by_name[name]["start_unix_nanos"] for name in program.begun]
        ends = [by_name[name]["end_unix_nanos"] for name in program.ended]
        assert (starts, ends) == (sorted(starts), sorted(ends)), seed
        assert {name for name, span in by_name.items() if span["status"] == "error"} == program.failed, seed
        traces = {name: span["trace_id"] for name, span in by_name.items()}
        assert all(parent is None or traces[name] == traces[parent] for name, parent in found.items()), seed
        for name, span in by_name.items():
            if name.startswith("coroutine") and name not in program.waited:
                assert was_always_active(span), seed
        total += len(by_name)
    assert total > 500, total
