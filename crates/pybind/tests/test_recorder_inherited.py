"""What tasks, threads and callbacks that are started inside a traced coroutine inherit: the innermost block that is open then."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hiq
import pytest
from recorder import Log, edges, runs, spans, traced, waits

pytestmark = pytest.mark.usefixtures("memory")


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def leaf(log: Log) -> Callable[[], None]:
    def leaf() -> None:
        with log.call("leaf"):
            pass

    return traced(leaf)


@pytest.fixture(autouse=True)
def executors() -> Iterator[None]:
    import hiq.executors

    hiq.executors.install()
    yield
    hiq.executors.remove()


def coroutine(log: Log, name: str, body: Callable[[], Any]) -> Any:
    """A traced coroutine function."""

    async def job() -> None:
        with log.call(name):
            await body()

    return traced(job, name, kind="coroutine")


async def in_a_task(leaf: Callable[[], None]) -> None:
    async def child() -> None:
        leaf()

    await asyncio.create_task(child())


async def in_a_gathered_task(leaf: Callable[[], None]) -> None:
    async def child() -> None:
        await asyncio.sleep(0)
        leaf()

    await asyncio.gather(child(), child())


async def in_a_thread(leaf: Callable[[], None]) -> None:
    await asyncio.to_thread(leaf)


async def in_a_callback(leaf: Callable[[], None]) -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.call_soon(leaf)
    loop.call_later(0, done.set)
    await done.wait()


async def in_an_executor(leaf: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, contextvars.copy_context().run, leaf)


async def in_a_task_of_a_task(leaf: Callable[[], None]) -> None:
    async def child() -> None:
        await in_a_task(leaf)

    await asyncio.create_task(child())


STARTS = [in_a_task, in_a_gathered_task, in_a_thread, in_a_callback, in_an_executor, in_a_task_of_a_task]


@pytest.mark.parametrize("start", STARTS, ids=lambda start: start.__name__.replace("_", " "))
@pytest.mark.parametrize("waits_first", [False, True], ids=["at once", "after a wait"])
def test_work_that_is_started_in_a_block_of_a_traced_coroutine_hangs_under_the_block(
    log: Log, leaf: Callable[[], None], start: Any, waits_first: bool
) -> None:
    async def body() -> None:
        if waits_first:
            await asyncio.sleep(0)
        await start(leaf)
        with log.call("outer"), hiq.trace("outer"):
            await start(leaf)
            with log.call("inner"), hiq.trace("inner"):
                if waits_first:
                    await asyncio.sleep(0)
                await start(leaf)
            await start(leaf)
        await start(leaf)
        with log.call("outer"), hiq.trace("outer"):
            await start(leaf)

    asyncio.run(coroutine(log, "handler", body)())
    assert edges(spans()) == log.counted()


def test_what_goes_on_after_its_block_still_hangs_under_it(log: Log, leaf: Callable[[], None]) -> None:
    async def child() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            leaf()

    async def body() -> None:
        with log.call("one"), hiq.trace("one"):
            first = asyncio.create_task(child())
        with log.call("two"), hiq.trace("two"):
            second = asyncio.create_task(child())
            await asyncio.sleep(0)
        third = asyncio.create_task(child())
        await asyncio.gather(first, second, third)

    asyncio.run(coroutine(log, "handler", body)())
    assert edges(spans()) == log.counted()


def test_one_block_object_that_is_entered_again_and_again(log: Log, leaf: Callable[[], None]) -> None:
    block = hiq.trace("again")

    async def body() -> None:
        for _ in range(3):
            with log.call("again"), block:
                await in_a_task(leaf)
                with log.call("again"), block:
                    await in_a_task(leaf)
                await in_a_task(leaf)
            await in_a_task(leaf)

    asyncio.run(coroutine(log, "handler", body)())
    assert edges(spans()) == log.counted()


def test_blocks_of_coroutines_that_take_turns_in_one_task(log: Log, leaf: Callable[[], None]) -> None:
    """Both are stepped in one context, by hand: what one has attached is not there for the other."""

    async def child() -> None:
        leaf()

    def work(name: str) -> Any:
        async def job() -> None:
            with hiq.trace(f"{name} block"):
                await waits()
                contextvars.copy_context().run(lambda: runs(child()))
                contextvars.Context().run(started.append, contextvars.copy_context())
                await waits()
            started.append(contextvars.copy_context())

        return traced(job, name, kind="coroutine")()

    started: list[contextvars.Context] = []
    turns = [work("one"), work("two")]
    while turns:
        for turn in list(turns):
            try:
                turn.send(None)
            except StopIteration:
                turns.remove(turn)
    for context in started:
        context.run(leaf)
    assert hiq.current_context() is None
    each = {"block": 2, "own": 1}
    assert edges(spans()) == {(name, None): 1 for name in ("one", "two")} | {
        (f"{name} block", name): 1 for name in ("one", "two")
    } | {("leaf", f"{name} block"): each["block"] for name in ("one", "two")} | {
        ("leaf", name): each["own"] for name in ("one", "two")
    }


def test_blocks_that_are_left_in_the_wrong_order(log: Log, leaf: Callable[[], None]) -> None:
    async def handler() -> None:
        outer, inner = hiq.trace("outer"), hiq.trace("inner")
        outer.__enter__()
        inner.__enter__()
        outer.__exit__(None, None, None)
        await in_a_task(leaf)
        inner.__exit__(None, None, None)
        await in_a_task(leaf)

    asyncio.run(traced(handler, kind="coroutine")())
    assert edges(spans()) == {
        ("handler", None): 1,
        ("outer", "handler"): 1,
        ("inner", "outer"): 1,
        ("leaf", "handler"): 2,
    }


def test_a_block_that_another_coroutine_leaves_inside_a_block_of_its_own(log: Log, leaf: Callable[[], None]) -> None:
    """What it has open itself goes on: it is not inside of what it left."""

    async def child(outer: Any) -> None:
        await asyncio.sleep(0)
        with hiq.trace("inner"):
            outer.__exit__(None, None, None)
            await in_a_task(leaf)
        await in_a_task(leaf)

    work = traced(child, kind="coroutine")

    async def handler() -> None:
        outer = hiq.trace("outer")
        outer.__enter__()
        await work(outer)

    asyncio.run(traced(handler, kind="coroutine")())
    assert edges(spans()) == {
        ("handler", None): 1,
        ("outer", "handler"): 1,
        ("child", "outer"): 1,
        ("inner", "child"): 1,
        ("leaf", "inner"): 1,
        ("leaf", "child"): 1,
    }


def test_a_block_that_ends_by_an_error_or_by_cancelling(log: Log, leaf: Callable[[], None]) -> None:
    async def fails() -> None:
        with log.call("fails"), hiq.trace("fails"):
            await in_a_task(leaf)
            raise ValueError("no")

    async def waits_for_ever() -> None:
        with log.call("late"), hiq.trace("late"):
            await asyncio.Event().wait()

    async def body() -> None:
        with pytest.raises(ValueError, match="no"):
            await fails()
        await in_a_task(leaf)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(waits_for_ever(), 0.001)
        await in_a_task(leaf)

    asyncio.run(coroutine(log, "handler", body)())
    assert edges(spans()) == log.counted()


@pytest.mark.parametrize("kind", ["plain", "traced"])
def test_blocks_of_async_generators(log: Log, leaf: Callable[[], None], kind: str) -> None:
    async def items() -> AsyncIterator[int]:
        for number in range(3):
            with hiq.trace("item"):
                await in_a_task(leaf)
                await asyncio.sleep(0)
                yield number
                await in_a_task(leaf)

    made = items if kind == "plain" else traced(items, kind="async_generator")

    async def handler() -> None:
        async for _ in made():
            pass
        await in_a_task(leaf)

    asyncio.run(traced(handler, kind="coroutine")())
    around = "handler" if kind == "plain" else "items"
    expected = {("handler", None): 1, ("item", around): 3, ("leaf", "item"): 6, ("leaf", "handler"): 1}
    assert edges(spans()) == expected | ({} if kind == "plain" else {("items", "handler"): 1})


def test_an_async_generator_that_is_closed_elsewhere_leaves_its_block_behind(leaf: Callable[[], None]) -> None:
    async def items() -> AsyncIterator[int]:
        with hiq.trace("item"):
            yield 1
            yield 2

    made = traced(items, kind="async_generator")

    async def closer(opened: Any) -> None:
        await opened.aclose()
        leaf()
        await in_a_task(leaf)

    async def handler() -> None:
        opened = made()
        await opened.__anext__()
        await in_a_task(leaf)
        await asyncio.create_task(closer(opened))
        await in_a_task(leaf)

    asyncio.run(traced(handler, kind="coroutine")())
    assert edges(spans()) == {
        ("handler", None): 1,
        ("items", "handler"): 1,
        ("item", "items"): 1,
        ("leaf", "handler"): 4,
    }


def test_what_an_async_generator_does_after_its_block_when_it_is_closed_elsewhere(leaf: Callable[[], None]) -> None:
    async def items() -> AsyncIterator[int]:
        try:
            with hiq.trace("item"):
                yield 1
        finally:
            await in_a_task(leaf)

    made = traced(items, kind="async_generator")

    async def handler() -> None:
        opened = made()
        await opened.__anext__()
        await asyncio.create_task(opened.aclose())

    asyncio.run(traced(handler, kind="coroutine")())
    assert edges(spans()) == {
        ("handler", None): 1,
        ("items", "handler"): 1,
        ("item", "items"): 1,
        ("leaf", "items"): 1,
    }


def test_what_was_attached_inside_a_block_stays_attached_when_the_block_is_left_first(leaf: Callable[[], None]) -> None:
    async def handler() -> None:
        block = hiq.trace("block")
        block.__enter__()
        with hiq.attach(hiq.extract({"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"})):
            block.__exit__(None, None, None)
            await in_a_task(leaf)

    asyncio.run(traced(handler, kind="coroutine")())
    assert [span["parent_span_id"] for span in spans() if span["name"] == "leaf"] == ["2" * 16]


def test_the_block_of_a_plain_generator_is_not_its_callers(log: Log, leaf: Callable[[], None]) -> None:
    def items() -> Iterator[Any]:
        with hiq.trace("item"):
            yield asyncio.create_task(in_a_task(leaf))
            yield asyncio.create_task(in_a_task(leaf))

    made = traced(items, kind="generator")

    async def handler() -> None:
        opened = made()
        tasks = [next(opened)]
        await in_a_task(leaf)
        with hiq.trace("block"):
            tasks.append(next(opened))
            await in_a_task(leaf)
            assert not list(opened)
            await in_a_task(leaf)
        await in_a_task(leaf)
        await asyncio.gather(*tasks)

    asyncio.run(traced(handler, kind="coroutine")())
    assert edges(spans()) == {
        ("handler", None): 1,
        ("items", "handler"): 1,
        ("item", "items"): 1,
        ("leaf", "item"): 2,
        ("block", "handler"): 1,
        ("leaf", "block"): 2,
        ("leaf", "handler"): 2,
    }


@pytest.mark.parametrize("seed", range(30))
def test_random_programs(log: Log, leaf: Callable[[], None], seed: int) -> None:
    """Coroutines, traced or not, that open blocks, wait, and start others in every way there is."""
    chance = random.Random(seed)

    async def program(depth: int) -> None:
        later: list[asyncio.Task[None]] = []
        for _ in range(chance.randrange(1, 5)):
            await action(depth, later)
        await asyncio.gather(*later)

    async def action(depth: int, later: list[asyncio.Task[None]]) -> None:
        kind = chance.randrange(7)
        if kind == 0:
            await asyncio.sleep(0)
        elif kind == 1:
            leaf()
        elif kind == 2:
            await chance.choice(STARTS)(leaf)
        elif depth == 0:
            return
        elif kind == 3:
            name = f"block {depth}"
            with log.call(name), hiq.trace(name):
                await program(depth - 1)
        elif kind == 4:
            await coroutine(log, f"coroutine {depth}", lambda: program(depth - 1))()
        elif kind == 5:
            later.append(asyncio.create_task(program(depth - 1)))
        else:
            await asyncio.gather(*(program(depth - 1) for _ in range(2)))

    async def main() -> None:
        for _ in range(4):
            await coroutine(log, "handler", lambda: program(4))()

    asyncio.run(main())
    assert edges(spans()) == log.counted()


def copied(leaf: Callable[[], None]) -> None:
    contextvars.copy_context().run(leaf)


def submitted(leaf: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(contextvars.copy_context().run, leaf).result()


def in_a_loop(leaf: Callable[[], None]) -> None:
    asyncio.run(in_a_task(leaf))


def in_a_thread_of_a_loop(leaf: Callable[[], None]) -> None:
    asyncio.run(in_a_thread(leaf))


def in_a_loop_of_a_thread(leaf: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, in_a_thread(leaf)).result()


def as_an_adapter_does(leaf: Callable[[], None]) -> None:
    """Runs a loop in another thread and puts its variables back in the caller's context, as asgiref's `async_to_sync`."""
    left: list[contextvars.Context] = []

    async def main() -> None:
        await in_a_task(leaf)
        left.append(contextvars.copy_context())

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(main())).result()
    for variable, value in left[0].items():
        # Where other tests have loaded OpenTelemetry, its variable is its own affair.
        if variable.name == "hiq_context":
            variable.set(value)


CARRIES = [
    copied,
    submitted,
    in_a_loop,
    in_a_thread_of_a_loop,
    in_a_loop_of_a_thread,
    as_an_adapter_does,
]
carries = pytest.mark.parametrize("carry", CARRIES, ids=lambda carry: carry.__name__.replace("_", " "))


@carries
@pytest.mark.parametrize("root", ["function", "block"])
def test_work_that_a_plain_function_has_carried_by_a_copied_context_hangs_under_it(
    leaf: Callable[[], None], carry: Callable[[Callable[[], None]], None], root: str
) -> None:
    def body() -> None:
        carry(leaf)
        with hiq.trace("block"):
            carry(leaf)
        carry(leaf)

    def in_a_block() -> None:
        with hiq.trace("root"):
            body()

    request = traced(body, "root") if root == "function" else in_a_block
    for _ in range(2):
        request()
        assert hiq.current_context() is None
        leaf()
        carry(leaf)
    finished = spans()
    assert edges(finished) == {
        ("root", None): 2,
        ("block", "root"): 2,
        ("leaf", "block"): 2,
        ("leaf", "root"): 4,
        ("leaf", None): 4,
    }
    assert len({span["trace_id"] for span in finished}) == 6


def test_a_submitted_job_hangs_under_the_call_that_submitted_it_whatever_context_it_enters(
    leaf: Callable[[], None],
) -> None:
    """A call inside a tree attaches nothing; what is captured at the submission says where it was."""

    def call() -> None:
        submitted(leaf)
        in_a_thread_of_a_loop(leaf)

    def body() -> None:
        inner()

    inner = traced(call)
    traced(body, "root")()
    assert edges(spans()) == {("root", None): 1, ("call", "root"): 1, ("leaf", "call"): 2}


def test_tasks_of_a_loop_under_a_function_take_turns_in_their_blocks(log: Log, leaf: Callable[[], None]) -> None:
    async def task(number: int) -> None:
        leaf()
        with log.call(f"block {number}"), hiq.trace(f"block {number}"):
            await asyncio.sleep(0)
            leaf()
            await asyncio.sleep(0)
            await in_a_task(leaf)
        leaf()

    async def main() -> None:
        await asyncio.gather(*(task(number) for number in range(4)))

    def body() -> None:
        with log.call("root"):
            asyncio.run(main())

    traced(body, "root")()
    assert edges(spans()) == log.counted()
