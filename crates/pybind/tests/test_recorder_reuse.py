"""Coroutines and generators take the memory of those that have been: nothing of these shows, and nothing piles up."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import hiq
import pytest
from hiq import _hiq
from recorder import edges, runs, spans, traced, waits

pytestmark = pytest.mark.usefixtures("company")

# More than are kept.
MANY = 200


async def waiting() -> None:
    await waits()


async def at_once() -> None: ...


def items() -> Iterator[int]:
    yield 1


async def async_items() -> AsyncIterator[int]:
    yield 1


async def drains(made: Any) -> None:
    async for _ in made:
        pass


KINDS: list[tuple[Any, str, Callable[[Any], Any]]] = [
    (waiting, "coroutine", runs),
    (at_once, "coroutine", runs),
    (items, "generator", list),
    (async_items, "async_generator", lambda made: runs(drains(made))),
]


@pytest.mark.parametrize(("function", "kind", "drive"), KINDS, ids=[function.__name__ for function, _, _ in KINDS])
def test_nothing_is_left_of_what_has_been(function: Any, kind: str, drive: Callable[[Any], Any]) -> None:
    work = traced(function, kind=kind)
    # An import of OpenTelemetry's other half would be counted.
    drive(work())
    with _hiq.attach(_hiq.extract({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})):
        variables = [variable for variable in contextvars.copy_context() if variable.name == "hiq_context"]
        attached = contextvars.copy_context()[variables[0]]
        made = work()
        object_type = type(made)
        drive(made)
        del made
        references = sys.getrefcount(object_type), sys.getrefcount(attached)
        for _ in range(3):
            alive = [work() for _ in range(MANY)]
            assert all(gc.is_tracked(each) for each in alive)
            assert len({id(each) for each in alive}) == MANY
            seen = [weakref.ref(each) for each in alive]
            for each in alive:
                drive(each)
            del alive, each
            assert not any(each() for each in seen)
        assert (sys.getrefcount(object_type), sys.getrefcount(attached)) == references
    assert len({span["span_id"] for span in spans()}) == 2 + 3 * MANY


def test_what_each_of_many_begins_in_its_first_step_hangs_under_that_one() -> None:
    async def child() -> None: ...

    begin = traced(child, kind="coroutine")

    async def job() -> asyncio.Task[None]:
        return asyncio.create_task(begin())

    work = traced(job, kind="coroutine")

    async def main() -> None:
        for _ in range(3):
            await asyncio.gather(*[await work() for _ in range(MANY)])

    asyncio.run(main())
    finished = spans()
    assert edges(finished) == {("job", None): 3 * MANY, ("child", "job"): 3 * MANY}
    parents = [span["parent_span_id"] for span in finished if span["name"] == "child"]
    assert len(set(parents)) == len(parents), "each has one of its own"


def test_what_is_collected_with_a_cycle_makes_room_like_the_others() -> None:
    async def job(around: list[Any]) -> list[Any]:
        await waits()
        return around

    work = traced(job, kind="coroutine")
    for _ in range(MANY):
        around: list[Any] = []
        around.append(work(around))
        around[0].send(None)
    del around
    gc.collect()
    assert edges(spans()) == {("job", None): MANY}
    runs(traced(at_once, kind="coroutine")())
    assert edges(spans()) == {("at_once", None): 1}


def test_a_decorated_closure_goes_with_its_last_reference_and_takes_what_it_holds_along() -> None:
    class Held:
        pass

    def use(held: Held) -> None:
        @hiq.trace
        def work() -> Held:
            return held

        work()

    held = Held()
    reference = weakref.ref(held)
    use(held)
    del held
    assert reference() is None
    assert [span["name"].rpartition(".")[2] for span in spans()] == ["work"]
