"""First steps are recorded in the caller's tree; what waits leaves it. Whatever the caller does meanwhile, each span hangs
where the program's own log says."""

from __future__ import annotations

import asyncio
import contextvars
import secrets
import sys
import threading
from collections import Counter
from typing import Any

import hiq
import pytest
from hiq import _hiq
from recorder import Log, edges, runs, spans, traced, waits, was_always_active

pytestmark = pytest.mark.usefixtures("company")


def leaf() -> None: ...


# --- where spans are recorded -----------------------------------------------------------------------------


@pytest.mark.parametrize("waiting", [False, True])
def test_work_that_never_waits_leaves_with_its_caller_and_what_waits_leaves_when_it_ends(
    waiting: bool, company: str
) -> None:
    async def inner() -> None:
        if waiting:
            await waits()

    work = traced(inner, kind="coroutine")

    async def outer() -> None:
        await work()

    runs(traced(outer, kind="coroutine")())
    finished = spans()
    assert edges(finished) == {("outer", None): 1, ("inner", "outer"): 1}
    is_shared = company == "alone" and not waiting
    # The spans of a fragment arrive together, in the order of their start; those of several as the fragments end.
    assert [span["name"] for span in finished] == (["outer", "inner"] if is_shared else ["inner", "outer"])


def test_work_that_never_waited_was_active_all_the_time() -> None:
    async def job() -> int:
        return sum(range(1000))

    work = traced(job, kind="coroutine")

    def caller() -> None:
        runs(work())

    traced(caller)()
    by_name = {span["name"]: span for span in spans()}
    span = by_name["job"]
    assert was_always_active(span)
    assert by_name["caller"]["start_unix_nanos"] <= span["start_unix_nanos"]
    assert span["end_unix_nanos"] <= by_name["caller"]["end_unix_nanos"]


def test_what_a_span_carries_leaves_with_it() -> None:
    small = traced(leaf)

    async def job(number: int) -> None:
        _hiq.current_span().set_attribute("before", f"job {number}").add_event("begun", {"number": str(number)})
        with _hiq.trace("block", inside=f"block {number}"):
            small()
            await waits()
            _hiq.current_span().set_attribute("after", f"block {number}")
        _hiq.current_span().set_attribute("after", f"job {number}")

    work = traced(job, kind="coroutine", site="here")

    def caller() -> None:
        outer = _hiq.current_span()
        started = []
        for number in range(3):
            outer.set_attribute(f"started.{number}", f"caller {number}")
            started.append(work(number))
            started[-1].send(None)
        for coroutine in reversed(started):
            with pytest.raises(StopIteration):
                coroutine.send(None)

    traced(caller)()
    finished = spans()
    assert edges(finished) == {
        ("caller", None): 1,
        ("job", "caller"): 3,
        ("block", "job"): 3,
        ("leaf", "block"): 3,
    }
    attributes = {span["span_id"]: span["attributes"] for span in finished}
    for span in finished:
        own = dict(span["attributes"])
        if span["name"] == "job":
            number = own["before"][-1]
            assert own.pop("hiq.active_ns") > 0
            assert own == {"site": "here", "before": f"job {number}", "after": f"job {number}"}
            (event,) = span["events"]
            assert (event["name"], event["attributes"]) == ("begun", {"number": number})
        elif span["name"] == "block":
            number = attributes[span["parent_span_id"]]["before"][-1]
            assert own == {"inside": f"block {number}", "after": f"block {number}"}
        elif span["name"] == "caller":
            assert own == {f"started.{number}": f"caller {number}" for number in range(3)}


def test_a_coroutine_that_is_awaited_inside_a_later_block_hangs_where_its_function_was_called() -> None:
    async def job() -> None: ...

    work = traced(job, kind="coroutine")

    def caller() -> None:
        made = work()
        with _hiq.trace("later"):
            runs(made)
            runs(work())

    traced(caller)()
    assert edges(spans()) == {("caller", None): 1, ("later", "caller"): 1, ("job", "caller"): 1, ("job", "later"): 1}


def test_what_a_first_step_begins_inherits_its_place_and_the_baggage_that_is_attached() -> None:
    copies: list[contextvars.Context] = []

    async def job() -> None:
        copies.append(contextvars.copy_context())

    work = traced(job, kind="coroutine")

    def caller() -> None:
        runs(work())

    headers = {"traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01", "baggage": "user=7"}
    hiq.extract(headers).run(traced(caller))
    place = copies[0].run(_hiq.current_context)
    by_name = {span["name"]: span for span in spans()}
    assert (place.span_id, place.baggage) == (by_name["job"]["span_id"], {"user": "7"})
    assert by_name["job"]["parent_span_id"] == by_name["caller"]["span_id"]
    assert by_name["caller"]["trace_id"] == headers["traceparent"].split("-")[1]


# --- the caller goes on meanwhile -------------------------------------------------------------------------


def test_a_coroutine_driven_by_hand_between_its_callers_other_calls_keeps_its_children() -> None:
    log = Log()

    def note() -> None:
        with log.call("note"):
            pass

    small = traced(note)

    async def job(steps: int) -> int:
        for _ in range(steps):
            small()
            log.edges[-1] = ("note", "job")
            await waits()
        return steps

    work = traced(job, kind="coroutine")

    def caller() -> None:
        with log.call("caller"):
            started = []
            for steps in range(5):
                log.edges.append(("job", "caller"))
                started.append(work(steps))
            small()
            while started:
                for coroutine in list(started):
                    small()
                    try:
                        coroutine.send(None)
                    except StopIteration:
                        started.remove(coroutine)
                    with log.call("block"), _hiq.trace("block"):
                        small()

    traced(caller)()
    assert edges(spans()) == log.counted()


def test_a_step_in_another_thread_records_in_the_coroutines_own_fragment() -> None:
    small = traced(leaf)

    async def job() -> None:
        small()
        await waits()
        small()

    work = traced(job, kind="coroutine")

    def elsewhere(coroutine: Any) -> None:
        small()
        with pytest.raises(StopIteration):
            coroutine.send(None)
        small()

    def caller() -> None:
        coroutine = work()
        coroutine.send(None)
        small()
        thread = threading.Thread(target=traced(elsewhere), args=(coroutine,))
        thread.start()
        thread.join()
        small()

    traced(caller)()
    assert edges(spans()) == {
        ("caller", None): 1,
        ("job", "caller"): 1,
        ("leaf", "job"): 2,
        ("leaf", "caller"): 2,
        ("elsewhere", None): 1,
        ("leaf", "elsewhere"): 2,
    }


def test_a_coroutine_outlives_the_root_that_it_made_its_first_step_in() -> None:
    small = traced(leaf)

    async def inner() -> None:
        small()
        await waits()
        small()

    below = traced(inner, kind="coroutine")

    async def job() -> None:
        await below()
        small()

    work = traced(job, kind="coroutine")

    def caller() -> Any:
        coroutine = work()
        coroutine.send(None)
        return coroutine

    coroutine = traced(caller)()
    assert edges(spans()) == {("caller", None): 1}

    def other() -> None:
        small()
        runs(coroutine)
        small()

    traced(other)()
    finished = spans()
    names = {span["span_id"]: span["name"] for span in finished}
    found = Counter((span["name"], names.get(span["parent_span_id"])) for span in finished)
    assert found == {
        ("other", None): 1,
        ("leaf", "other"): 2,
        ("job", None): 1,
        ("inner", "job"): 1,
        ("leaf", "inner"): 2,
        ("leaf", "job"): 1,
    }
    by_name = {span["name"]: span for span in finished}
    assert by_name["job"]["parent_span_id"]
    assert by_name["job"]["trace_id"] != by_name["other"]["trace_id"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
def test_eager_tasks_make_their_first_step_in_the_tree_of_their_caller_and_leave_it_when_they_wait() -> None:
    log = Log()

    def note() -> None:
        with log.call("note"):
            pass

    small = traced(note)

    async def job(steps: int) -> None:
        with log.call("job"):
            for _ in range(steps):
                small()
                await asyncio.sleep(0)
            small()

    work = traced(job, kind="coroutine")

    async def main() -> None:
        with log.call("main"):
            loop = asyncio.get_running_loop()
            loop.set_task_factory(asyncio.eager_task_factory)
            tasks = []
            for steps in (0, 3, 1, 0, 2):
                tasks.append(asyncio.create_task(work(steps)))
                small()
            await asyncio.gather(*tasks)
            small()

    asyncio.run(traced(main, kind="coroutine")())
    assert edges(spans()) == log.counted()


def test_chains_fifty_deep_that_wait_on_every_level_keep_their_line() -> None:
    log = Log()

    def note() -> None:
        with log.call("note"):
            pass

    small = traced(note)
    works = {}

    async def level(depth: int) -> int:
        with log.call(f"level {depth}"):
            small()
            if depth % 3 == 0:
                await asyncio.sleep(0)
            deepest = await works[depth + 1](depth + 1) if depth < 50 else depth
            await asyncio.sleep(0)
            small()
            return deepest

    for depth in range(51):
        works[depth] = traced(level, f"level {depth}", kind="coroutine")

    async def main() -> list[int]:
        return await asyncio.gather(*(works[0](0) for _ in range(3)))

    assert asyncio.run(main()) == [50, 50, 50]
    assert edges(spans()) == log.counted()


def test_finished_spans_leave_a_long_first_step_and_its_caller_while_others_wait() -> None:
    small = traced(leaf)
    many = 5_000

    async def job() -> None:
        for _ in range(many):
            small()
        await waits()
        small()

    work = traced(job, kind="coroutine")

    def caller() -> None:
        waiting = [work() for _ in range(3)]
        for coroutine in waiting:
            coroutine.send(None)
        for _ in range(many):
            small()
        for coroutine in waiting:
            with pytest.raises(StopIteration):
                coroutine.send(None)

    traced(caller)()
    assert edges(spans()) == {
        ("caller", None): 1,
        ("job", "caller"): 3,
        ("leaf", "job"): 3 * (many + 1),
        ("leaf", "caller"): many,
    }
