"""Calls and spans as hiq records them, and the floors beside them.

The pipeline exports OTLP to a server that discards it, or, for roots that meet a full queue, to one
that never answers."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterable
from itertools import repeat
from time import perf_counter_ns, thread_time_ns

import _floor
import hiq
import targets
from suite import Batch, Suite, calls, inside, loops

SPANS_OF_A_HELD_ROOT = 1_000
# Fewer than the queue has room for.
ROOTS_OF_A_BATCH = 50_000


def main() -> None:
    start_hiq()
    suite = Suite()
    plain_calls(suite)
    other_calls(suite)
    drivers(suite)
    switched_off(suite)
    tasks(suite)
    spans_by_hand(suite)
    measurements(suite)
    suite.serve()


def start_hiq() -> None:
    hiq.init(
        "bench",
        exporters=[hiq.OtlpExporter(os.environ["HIQ_BENCH_ENDPOINT"])],
        conf=[
            ["targets", "", name, name]
            for name in ("declared", "declared_failing", "declared_step", "declared_fib")
        ]
        + [["targets", "Cart", "declared", "method"]],
    )
    # Somebody has switched the status on: the byte that every call reads is the mapped one.
    hiq.set_global_hiq_status(True)


def root() -> hiq.trace:
    return hiq.trace("bench")


def plain_calls(suite: Suite) -> None:
    suite.timed("bare", calls(targets.bare))
    suite.timed("declared", inside(root, calls(targets.declared)))
    suite.timed("root", with_an_empty_queue(calls(targets.declared)), most=ROOTS_OF_A_BATCH)
    suite.timed("root_displacing", with_a_full_queue(calls(targets.declared)))
    suite.timed("through_floor", calls(_floor.hook(targets.hooked, "through")))
    suite.timed("floor", calls(_floor.hook(targets.hooked, "tsc")))
    suite.timed("floor_monotonic", calls(_floor.hook(targets.hooked, "monotonic")))
    suite.timed("pure_python", calls(timed_in_python(targets.decorated)))

    fib_inside = inside(root, loops(lambda loop: [targets.declared_fib(24) for _ in loop]))
    targets.hooked_fib = _floor.hook(targets.hooked_fib, "tsc")
    suite.timed("bare_fib", loops(lambda loop: [targets.bare_fib(24) for _ in loop]))
    suite.timed("declared_fib", fib_inside)
    suite.timed("floor_fib", loops(lambda loop: [targets.hooked_fib(24) for _ in loop]))


def with_an_empty_queue(batch: Batch) -> Batch:
    """Nothing is dropped: that would be measured too."""

    def into_empty_queue(n: int) -> int:
        hiq.flush(60)
        return batch(n)

    return into_empty_queue


def with_a_full_queue(batch: Batch) -> Batch:
    """For a server that never answers: each root drops the oldest one."""

    def into_full_queue(n: int) -> int:
        while not hiq.stats()["otlp"]["dropped"].get("queue_full"):
            batch(ROOTS_OF_A_BATCH)
        return batch(n)

    return into_full_queue


def timed_in_python(function):
    """What people write who need no tracer."""
    durations = []

    def wrapper(*args, **kwargs):
        start = perf_counter_ns()
        try:
            return function(*args, **kwargs)
        finally:
            durations.append(perf_counter_ns() - start)
            durations.clear()

    return wrapper


def other_calls(suite: Suite) -> None:
    cart = targets.Cart()
    targets.Cart.hooked = _floor.hook(targets.Cart.hooked, "tsc")

    def bare_method(loop: Iterable[None]) -> None:
        for _ in loop:
            cart.bare()

    def declared_method(loop: Iterable[None]) -> None:
        for _ in loop:
            cart.declared()

    def hooked_method(loop: Iterable[None]) -> None:
        for _ in loop:
            cart.hooked()

    def bare_failing(loop: Iterable[None]) -> None:
        for _ in loop:
            try:  # noqa: SIM105 - suppress() would be measured too
                targets.bare_failing()
            except ValueError:
                pass

    def declared_failing(loop: Iterable[None]) -> None:
        for _ in loop:
            try:  # noqa: SIM105 - suppress() would be measured too
                targets.declared_failing()
            except ValueError:
                pass

    suite.timed("bare_method", loops(bare_method))
    suite.timed("declared_method", inside(root, loops(declared_method)))
    suite.timed("floor_method", loops(hooked_method))
    suite.timed("bare_failing", loops(bare_failing))
    suite.timed("declared_failing", inside(root, loops(declared_failing)))


def drivers(suite: Suite) -> None:
    driver = hiq.HiQLatency([["targets", "", name, name] for name in ("held", "hold")])
    held_batch, held_roots = calls(targets.held), calls(targets.held)

    def held(n: int) -> int:
        driver.reset()
        return targets.hold(held_batch, n)

    def held_root(n: int) -> int:
        driver.reset()
        return held_roots(n)

    suite.timed("held", held, most=SPANS_OF_A_HELD_ROOT)
    suite.timed("held_root", held_root, most=100_000)


def measurements(suite: Suite) -> None:
    latency = hiq.metrics.summary("bench.latency", unit="s")

    def observe(loop: Iterable[None]) -> None:
        for _ in loop:
            latency.observe(0.25)

    suite.timed("observe", loops(observe))


def switched_off(suite: Suite) -> None:
    batch = calls(targets.declared)

    def off(n: int) -> int:
        hiq.set_global_hiq_status(False)
        try:
            return batch(n)
        finally:
            hiq.set_global_hiq_status(True)

    def removed(loop: Iterable[None]) -> None:
        for _ in loop:
            targets.removed()

    def never_declared(loop: Iterable[None]) -> None:
        for _ in loop:
            targets.bare()

    driver = hiq.HiQLatency([["targets", "", "removed", "removed"]])
    alias = targets.removed
    driver.disable_hiq()
    suite.timed("off", off)
    suite.timed("through", calls(alias))
    suite.timed("removed", loops(removed))
    suite.timed("never_declared", loops(never_declared))


def tasks(suite: Suite) -> None:
    """Inside an event loop: other tasks may run between any two steps."""

    async def steps(function, n: int) -> int:
        start = thread_time_ns()
        for _ in repeat(None, n):
            await function()
        return thread_time_ns() - start

    async def in_block(batch: Batch, n: int) -> int:
        with hiq.trace("bench"):
            return batch(n)

    async def in_coroutine(batch: Batch, n: int) -> int:
        return batch(n)

    traced_coroutine = hiq.trace("bench")(in_coroutine)
    traced_steps = hiq.trace("bench")(steps)
    suite.timed("bare_step", lambda n: asyncio.run(steps(targets.bare_step, n)))
    suite.timed("declared_step", lambda n: asyncio.run(traced_steps(targets.declared_step, n)))
    suite.timed("root_step", lambda n: asyncio.run(steps(targets.declared_step, n)))
    for name, task, function in (
        ("bare_in_task", in_coroutine, targets.bare),
        ("declared_in_block", in_block, targets.declared),
        ("declared_in_coroutine", traced_coroutine, targets.declared),
        ("floor_in_task", in_coroutine, _floor.hook(targets.hooked, "task")),
    ):
        batch = calls(function)
        suite.timed(name, lambda n, task=task, batch=batch: asyncio.run(task(batch, n)))


def spans_by_hand(suite: Suite) -> None:
    lock = threading.Lock()

    def record(loop: Iterable[None], record=hiq.record) -> None:
        for _ in loop:
            record("cart.add_item", method="GET", code=200, address="cart.internal", hit=True)

    def event(loop: Iterable[None], event=_floor.event) -> None:
        for _ in loop:
            event("cart.add_item", method="GET", code=200, address="cart.internal", hit=True)

    def block(loop: Iterable[None], trace=hiq.trace) -> None:
        for _ in loop:
            with trace("cart.add_item", method="GET", code=200, address="cart.internal", hit=True):
                pass

    def floor_block(loop: Iterable[None], event=_floor.event) -> None:
        for _ in loop:
            with lock:
                event("cart.add_item", method="GET", code=200, address="cart.internal", hit=True)

    def nothing(loop: Iterable[None]) -> None:
        for _ in loop:
            pass

    suite.timed("empty_loop", loops(nothing))
    suite.timed("record", inside(root, loops(record)))
    suite.timed("floor_record", loops(event))
    suite.timed("block", inside(root, loops(block)))
    suite.timed("floor_block", loops(floor_block))


if __name__ == "__main__":
    main()
