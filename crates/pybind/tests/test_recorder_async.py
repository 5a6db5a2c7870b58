"""Coroutines, generators and tasks: each span covers its own steps and hangs where the work was begun."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import inspect
import json
import os
import types
from typing import Any

import hiq
import pytest
from hiq import _hiq
from hiq._resolve import kind_of
from recorder import Log, edges, spans, traced

pytestmark = pytest.mark.usefixtures("memory")


def test_interleaved_tasks_never_see_each_others_spans() -> None:
    log = Log()

    def leaf() -> None:
        with log.call("leaf"):
            pass

    small = traced(leaf)

    async def job(steps: int) -> int:
        with log.call("job"):
            for _ in range(steps):
                small()
                await asyncio.sleep(0)
            return steps

    work = traced(job, kind="coroutine")

    async def main() -> list[int]:
        with log.call("main"):
            return await asyncio.gather(*(work(steps) for steps in range(20)))

    assert asyncio.run(traced(main, kind="coroutine")()) == list(range(20))
    finished = spans()
    assert edges(finished) == log.counted()
    by_id = {span["span_id"]: span for span in finished}
    per_job = [
        sum(leaf["parent_span_id"] == job for leaf in finished) for job, span in by_id.items() if span["name"] == "job"
    ]
    assert sorted(per_job) == list(range(20))


def test_a_coroutines_span_covers_first_step_to_completion() -> None:
    async def waits() -> None:
        await asyncio.sleep(0.05)

    call = traced(waits, kind="coroutine")

    async def main() -> None:
        await call()

    asyncio.run(main())
    (span,) = spans()
    duration_ns = span["end_unix_nanos"] - span["start_unix_nanos"]
    assert duration_ns >= 45_000_000
    assert 0 < span["attributes"]["hiq.active_ns"] < duration_ns


def test_the_parent_is_where_the_coroutine_function_was_called() -> None:
    async def job() -> None: ...

    work = traced(job, kind="coroutine")

    def caller() -> Any:
        return work()

    made = traced(caller)()
    asyncio.run(made)
    assert edges(spans()) == {("caller", None): 1, ("job", "caller"): 1}


def test_a_coroutine_that_is_never_awaited_makes_no_span_and_warns_as_before() -> None:
    async def job() -> None: ...

    with pytest.warns(RuntimeWarning, match="was never awaited"):
        traced(job, kind="coroutine")()
        gc.collect()
    assert spans() == []


def test_a_call_that_does_not_bind_raises_at_the_call() -> None:
    async def job(a: int) -> None: ...

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        traced(job, kind="coroutine")()
    assert spans() == []


def test_coroutine_objects_look_like_coroutines() -> None:
    async def job() -> int:
        return 4

    made = traced(job, kind="coroutine")()
    assert inspect.iscoroutine(made)
    assert isinstance(made, types.CoroutineType)
    assert asyncio.iscoroutine(made)
    assert made.cr_code is job.__code__
    assert made.__name__ == "job"
    with pytest.raises(StopIteration) as stop:
        made.send(None)
    assert stop.value.value == 4
    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        made.send(None)


@pytest.mark.parametrize("value", [(1, 2), StopIteration(5), ValueError("held"), None, 0])
def test_whatever_a_coroutine_returns_arrives_unchanged(value: Any) -> None:
    async def job() -> Any:
        await asyncio.sleep(0)
        return value

    call = traced(job, kind="coroutine")

    async def main() -> Any:
        return await call()

    assert asyncio.run(main()) is value


def test_cancellation_ends_the_span_with_an_error_and_passes() -> None:
    async def sleeper() -> None:
        await asyncio.sleep(60)

    work = traced(sleeper, kind="coroutine")

    async def main() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    (span,) = spans()
    assert span["status"] == "error"
    assert span["attributes"]["error.type"].endswith("CancelledError")


def test_tasks_and_threads_begun_inside_a_coroutine_hang_under_it() -> None:
    log = Log()

    def leaf() -> None:
        with log.call("leaf"):
            pass

    small = traced(leaf)

    async def untraced() -> None:
        small()
        await asyncio.sleep(0)
        small()

    async def main() -> None:
        with log.call("main"):
            await asyncio.gather(asyncio.create_task(untraced()), untraced(), asyncio.to_thread(small))

    asyncio.run(traced(main, kind="coroutine")())
    assert edges(spans()) == log.counted()


def test_a_loop_inside_a_sync_root_keeps_its_tasks_apart() -> None:
    log = Log()

    def leaf() -> None:
        with log.call("leaf"):
            pass

    small = traced(leaf)

    async def block(name: str) -> None:
        with log.call(name), _hiq.trace(name):
            small()
            await asyncio.sleep(0)
            small()
            await asyncio.sleep(0)
            small()

    async def main() -> None:
        await asyncio.gather(block("a"), block("b"), block("c"))
        small()

    def root() -> None:
        with log.call("root"):
            asyncio.run(main())

    traced(root)()
    assert edges(spans()) == log.counted()


def test_calls_in_a_block_of_a_task_are_in_its_fragment_and_those_of_its_tasks_hang_under_it() -> None:
    log = Log()

    def leaf() -> None:
        with log.call("leaf"):
            pass

    small = traced(leaf)

    def outer() -> None:
        with log.call("outer"):
            small()
            with log.call("inner"), _hiq.trace("inner"):
                small()
            _hiq.record("note")
            log.edges.append(("note", "outer"))

    big = traced(outer)

    async def late(left: asyncio.Event) -> None:
        small()
        await left.wait()
        small()

    async def main() -> None:
        left = asyncio.Event()
        with log.call("block"), _hiq.trace("block"):
            big()
            task = asyncio.create_task(late(left))
            await asyncio.sleep(0)
            small()
        left.set()
        await task
        small()

    asyncio.run(main())
    assert edges(spans()) == log.counted()


def test_a_block_of_a_task_that_is_left_inside_a_call_keeps_that_call() -> None:
    def leaf() -> None: ...

    small = traced(leaf)

    async def main() -> None:
        block = _hiq.trace("block")
        block.__enter__()

        def leaves() -> None:
            small()
            block.__exit__(None, None, None)
            small()

        traced(leaves)()
        small()

    asyncio.run(main())
    assert edges(spans()) == {("block", None): 1, ("leaves", "block"): 1, ("leaf", "leaves"): 2, ("leaf", None): 1}


def test_a_child_forked_in_a_block_of_a_task_hangs_under_it_and_exports_nothing_of_the_parents() -> None:
    def leaf() -> None: ...

    small = traced(leaf)
    reading, writing = os.pipe()

    def forks() -> int:
        small()
        child = os.fork()
        if child == 0:
            small()
        return child

    async def main() -> int:
        with _hiq.trace("block"):
            child = traced(forks)()
            small()
            return child

    def root() -> int:
        return asyncio.run(main())

    child = traced(root)()
    finished = spans()
    if child == 0:
        os.write(writing, json.dumps([[span["name"], span["parent_span_id"]] for span in finished]).encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as answer:
        of_child = json.loads(answer.read())
    os.waitpid(child, 0)
    ids = {span["name"]: span["span_id"] for span in finished}
    assert edges(finished) == {
        ("root", None): 1,
        ("block", "root"): 1,
        ("forks", "block"): 1,
        ("leaf", "forks"): 1,
        ("leaf", "block"): 1,
    }
    assert of_child == [["leaf", ids["block"]]] * 2


def test_one_trace_object_serves_many_tasks_and_levels() -> None:
    log = Log()
    shared = _hiq.trace("shared")

    async def job(depth: int) -> None:
        with log.call("shared"), shared:
            await asyncio.sleep(0)
            if depth:
                await job(depth - 1)
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(job(depth) for depth in range(5)))

    asyncio.run(main())
    assert edges(spans()) == log.counted()


def test_interleaved_generators_keep_their_own_children() -> None:
    log = Log()

    def leaf(name: str) -> None:
        log.edges.append((name, log_parent[-1]))

    log_parent: list[str | None] = [None]

    def numbers(name: str):
        for number in range(3):
            log_parent.append(name)
            leaves[name](name + ".leaf")
            log_parent.pop()
            yield number

    leaves = {name: traced(leaf, name + ".leaf") for name in ("a", "b")}
    make = {name: traced(numbers, name, kind="generator") for name in ("a", "b")}

    def consume() -> list[tuple[int, int]]:
        return list(zip(make["a"]("a"), make["b"]("b"), strict=True))

    assert traced(consume)() == [(0, 0), (1, 1), (2, 2)]
    expected = {("consume", None): 1, ("a", "consume"): 1, ("b", "consume"): 1}
    assert edges(spans()) == {**expected, **log.counted()}


def test_send_throw_close_and_return_values_reach_the_generator() -> None:
    seen: list[Any] = []

    def echo():
        received = yield "first"
        while True:
            try:
                received = yield received
            except KeyError as error:
                seen.append(error)
                received = "thrown"
            if received == "stop":
                return "returned"

    def drive(function: Any) -> list[Any]:
        generator = function()
        outcome = [next(generator), generator.send(5), generator.throw(KeyError("k"))]
        with pytest.raises(StopIteration) as stop:
            generator.send("stop")
        return [*outcome, stop.value.value]

    def delegate(function: Any) -> list[Any]:
        def outer():
            result = yield from function()
            yield result

        generator = outer()
        next(generator)
        return [generator.send(1), generator.send("stop")]

    call = traced(echo, kind="generator")
    assert drive(call) == drive(echo)
    assert delegate(call) == delegate(echo)
    assert {span["status"] for span in spans()} == {"unset"}
    assert inspect.isgenerator(call())


def test_an_abandoned_generator_ends_its_span_then() -> None:
    cleaned: list[str] = []

    def leaf() -> None:
        cleaned.append("leaf")

    small = traced(leaf)

    def endless():
        try:
            while True:
                yield 1
        finally:
            small()

    make = traced(endless, kind="generator")

    def consume() -> None:
        for _ in make():
            break
        gc.collect()

    traced(consume)()
    assert cleaned == ["leaf"]
    finished = spans()
    assert edges(finished) == {("consume", None): 1, ("endless", "consume"): 1, ("leaf", "endless"): 1}
    assert {span["status"] for span in finished} == {"unset"}


def test_a_generator_that_was_never_started_makes_no_span() -> None:
    def numbers():
        yield 1

    make = traced(numbers, kind="generator")
    make().close()
    del make
    gc.collect()
    assert spans() == []


def test_async_generators_are_covered_from_first_step_to_end() -> None:
    log = Log()

    def leaf() -> None:
        with log.call("leaf"):
            pass

    small = traced(leaf)

    async def ticks(count: int):
        for number in range(count):
            log.edges.append(("leaf", "ticks"))
            log.edges.pop()
            await asyncio.sleep(0)
            small()
            yield number

    make = traced(ticks, kind="async_generator")

    async def main() -> tuple[list[int], list[int]]:
        whole = [number async for number in make(3)]
        part = []
        stream = make(10)
        async for number in stream:
            part.append(number)
            if number == 1:
                break
        await stream.aclose()
        return whole, part

    assert asyncio.run(main()) == ([0, 1, 2], [0, 1])
    assert edges(spans()) == {("ticks", None): 2, ("leaf", "ticks"): 5}


def test_async_generator_send_and_throw() -> None:
    async def echo():
        received = yield "first"
        try:
            received = yield received
        except KeyError:
            received = yield "caught"

    async def drive(function: Any) -> list[Any]:
        stream = function()
        outcome = [await stream.__anext__(), await stream.asend(3), await stream.athrow(KeyError("k"))]
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()
        return outcome

    assert asyncio.run(drive(traced(echo, kind="async_generator"))) == asyncio.run(drive(echo))
    assert len(spans()) == 1


def test_a_generator_closed_in_another_context_ends_quietly() -> None:
    async def ticks():
        while True:
            yield 1
            await asyncio.sleep(0)

    make = traced(ticks, kind="async_generator")

    async def main() -> None:
        stream = make()
        await stream.__anext__()
        await asyncio.create_task(stream.aclose())

    asyncio.run(main())
    (span,) = spans()
    assert span["status"] == "unset"


def test_decorated_functions_of_every_kind_are_traced() -> None:
    @_hiq.trace
    def function() -> int:
        return 1

    @_hiq.trace("named", kind="server", key="value")
    async def coroutine() -> int:
        return function()

    @_hiq.trace
    def generator():
        yield function()

    class Holder:
        @_hiq.trace
        def method(self) -> int:
            return next(generator())

        @staticmethod
        @_hiq.trace
        def static() -> int:
            return function()

    assert asyncio.run(coroutine()) == 1
    assert Holder().method() == 1
    assert Holder.static() == 1
    finished = spans()
    names = {span["name"].rsplit(".", 1)[-1] for span in finished}
    assert names == {"function", "named", "generator", "method", "static"}
    server = next(span for span in finished if span["name"] == "named")
    assert server["kind"] == "server"
    assert server["attributes"]["key"] == "value"
    assert server["attributes"]["code.function.name"].endswith("coroutine")
    assert server["attributes"]["code.line.number"] > 0


def test_a_copied_context_carries_the_place() -> None:
    def leaf() -> None: ...

    small = traced(leaf)
    copies: list[contextvars.Context] = []

    async def main() -> None:
        copies.append(contextvars.copy_context())
        await asyncio.sleep(0)

    asyncio.run(traced(main, kind="coroutine")())
    copies[0].run(small)
    assert edges(spans()) == {("main", None): 1, ("leaf", "main"): 1}


def test_work_that_handles_what_is_thrown_into_it_and_returns_ends_without_error() -> None:
    def generator():
        try:
            yield 1
        except ValueError:
            return "handled"

    @types.coroutine
    def wait():
        yield 2

    async def coroutine():
        try:
            await wait()
        except ValueError:
            return "handled"

    for made, first in ((traced(generator, kind="generator")(), 1), (traced(coroutine, kind="coroutine")(), 2)):
        assert made.send(None) == first
        with pytest.raises(StopIteration) as stopped:
            made.throw(ValueError("thrown"))
        assert stopped.value.value == "handled"
    assert {span["name"]: (span["status"], span["events"]) for span in spans()} == {
        "generator": ("unset", []),
        "coroutine": ("unset", []),
    }


@pytest.mark.parametrize("by_decorator", [False, True], ids=["conf", "decorator"])
def test_a_generator_that_is_awaited_stays_one_and_an_iterator_too(by_decorator: bool) -> None:
    log = Log()

    @types.coroutine
    def wait(what):
        with log.call("wait"):
            yield from asyncio.sleep(0).__await__()
            return what

    made = hiq.trace("wait")(wait) if by_decorator else traced(wait, kind=kind_of(wait))

    async def work(what):
        with log.call("work"):
            return await made(what)

    task = traced(work, kind="coroutine")

    async def main():
        with log.call("main"):
            return await asyncio.gather(*(task(n) for n in range(20)))

    assert asyncio.run(traced(main, kind="coroutine")()) == list(range(20))
    assert edges(spans()) == log.counted()

    waiting = made("iterated")
    assert inspect.isawaitable(waiting)
    assert list(waiting) == [None]
    assert edges(spans()) == {("wait", None): 1}
