"""Blocks that are left elsewhere than they were entered: in another thread, step or job, or never, by a thread that ends."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import fastapi
import hiq
import httpx
import pytest
from conftest import python
from hiq import _hiq
from recorder import check_ledger, edges, spans, traced, waits

pytestmark = pytest.mark.usefixtures("company")

NOT_SAMPLED = "00-" + "1" * 32 + "-" + "2" * 16 + "-00"


def in_a_thread(work: Callable[[], Any]) -> Any:
    """Runs `work` in a thread of its own, to that thread's end."""
    answer: list[Any] = []
    thread = threading.Thread(target=lambda: answer.append(work()))
    thread.start()
    thread.join()
    return answer.pop() if answer else None


def left(block: Any) -> Callable[[], None]:
    return lambda: block.__exit__(None, None, None)


def is_unfinished(span: dict[str, Any]) -> bool:
    return bool(span["attributes"].get("hiq.unfinished", False))


def test_a_block_that_another_thread_leaves_ends_then() -> None:
    block = hiq.trace("block")
    block.__enter__()
    in_a_thread(left(block))
    assert not hiq.current_span().is_recording
    with hiq.trace("after"):
        pass
    assert edges(spans()) == {("block", None): 1, ("after", None): 1}


def test_an_inner_block_that_another_thread_leaves_ends_then_and_the_outer_one_goes_on() -> None:
    inner = hiq.trace("inner")
    with hiq.trace("outer"):
        inner.__enter__()
        hiq.record("in inner")
        in_a_thread(left(inner))
        hiq.record("in outer")
    expected = {("outer", None): 1, ("inner", "outer"): 1, ("in inner", "inner"): 1, ("in outer", "outer"): 1}
    assert edges(spans()) == expected


def test_the_exception_that_a_block_is_left_with_in_another_thread_is_on_its_span() -> None:
    block = hiq.trace("block")
    block.__enter__()
    error = KeyError("lost")
    in_a_thread(lambda: block.__exit__(KeyError, error, None))
    (span,) = spans()
    assert (span["status"], span["attributes"]["error.type"]) == ("error", "KeyError")


def test_a_block_whose_thread_has_ended_is_left_by_another_one() -> None:
    block = hiq.trace("block")

    def enters() -> None:
        block.__enter__()
        with hiq.trace("in block"):
            pass

    in_a_thread(enters)
    hiq.record("beside")
    block.__exit__(None, None, None)
    finished = spans()
    assert edges(finished) == {("block", None): 1, ("in block", "block"): 1, ("beside", None): 1}
    assert not any(is_unfinished(span) for span in finished)
    block, beside = (next(span for span in finished if span["name"] == name) for name in ("block", "beside"))
    assert block["end_unix_nanos"] >= beside["end_unix_nanos"], "it lasts until it is left"


def test_each_thread_leaves_its_own_entry_of_a_shared_object() -> None:
    block = hiq.trace("block")
    block.__enter__()
    in_a_thread(lambda: (block.__enter__(), hiq.record("there"), block.__exit__(None, None, None)))
    hiq.record("here")
    block.__exit__(None, None, None)
    first, second = (span for span in spans() if span["name"] == "block")
    assert first["trace_id"] != second["trace_id"]


@pytest.mark.parametrize("make", [lambda: hiq.trace("not sampled"), hiq.suppress], ids=["sampled out", "suppressed"])
def test_a_silent_block_that_another_thread_leaves_does_not_mute_the_one_that_entered(make: Callable[[], Any]) -> None:
    pool = ThreadPoolExecutor(1)

    def enters() -> Any:
        token = hiq.attach(hiq.extract({"traceparent": NOT_SAMPLED}))
        block = make()
        block.__enter__()
        hiq.detach(token)
        hiq.record("in block")
        return block

    pool.submit(enters).result().__exit__(None, None, None)
    pool.submit(hiq.record, "after").result()
    pool.shutdown()
    assert edges(spans()) == {("after", None): 1}


def test_blocks_of_a_generator_that_is_stepped_by_many_threads_are_its_own() -> None:
    def steps() -> Iterator[None]:
        for name in ("first", "second"):
            with hiq.trace(name):
                yield

    work = traced(steps, kind="generator")()
    for _ in range(3):
        in_a_thread(lambda: next(work, None))
        hiq.record("between")
    expected = {("steps", None): 1, ("first", "steps"): 1, ("second", "steps"): 1, ("between", None): 3}
    assert edges(spans()) == expected


def test_a_block_of_waiting_work_is_left_between_its_steps() -> None:
    block = hiq.trace("block")

    async def job() -> None:
        block.__enter__()
        await waits()
        hiq.record("after")

    with hiq.trace("caller"):
        work = traced(job, kind="coroutine")()
        work.send(None)
        block.__exit__(None, None, None)
        with suppress(StopIteration):
            work.send(None)
    expected = {("caller", None): 1, ("job", "caller"): 1, ("block", "job"): 1, ("after", "job"): 1}
    assert edges(spans()) == expected


def test_a_root_that_is_left_in_a_later_step_of_other_work_ends_then() -> None:
    block = hiq.trace("block")

    async def job() -> None:
        await waits()
        block.__exit__(None, None, None)
        hiq.record("in job")

    work = traced(job, kind="coroutine")()
    work.send(None)
    block.__enter__()
    hiq.record("in block")
    with suppress(StopIteration):
        work.send(None)
    hiq.record("after")
    expected = {
        ("job", None): 1,
        ("in job", "job"): 1,
        ("block", None): 1,
        ("in block", "block"): 1,
        ("after", None): 1,
    }
    assert edges(spans()) == expected


def test_every_request_of_a_threaded_endpoint_keeps_its_own_spans() -> None:
    """FastAPI enters a plain generator's block in one thread of its pool and leaves it in another."""
    app = fastapi.FastAPI()
    crossed: list[bool] = []

    def connection() -> Iterator[None]:
        with hiq.trace("connection"):
            entered_in = threading.get_ident()
            yield
            crossed.append(entered_in != threading.get_ident())

    @app.get("/{number}")
    def handler(number: int, _: None = fastapi.Depends(connection)) -> int:
        with hiq.trace("handler", number=number):
            everybody.wait(30)
        return number

    async def client() -> list[int]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
            answers = await asyncio.gather(*(http.get(f"/{number}") for number in range(8)))
        return [answer.json() for answer in answers]

    everybody = threading.Barrier(8)
    answered: list[int] = []
    # Some of the eight leave in the thread that they entered in; soon one does not.
    while not any(crossed):
        answered += asyncio.run(client())
    finished = spans()
    assert Counter(span["name"] for span in finished) == {"connection": len(answered), "handler": len(answered)}
    # The connection's block is in a context of its own. Where another test has set OpenTelemetry up, FastAPI's own spans are around.
    assert not {span["parent_span_id"] for span in finished} & {span["span_id"] for span in finished}
    numbers = [span["attributes"]["number"] for span in finished if span["name"] == "handler"]
    assert sorted(numbers) == sorted(answered)


def test_what_a_thread_has_open_when_it_ends_leaves_as_unfinished_with_all_that_is_inside_it() -> None:
    def leaks() -> None:
        hiq.trace("leaked").__enter__()
        for _ in range(20_000):
            hiq.record("later")

    in_a_thread(leaks)
    finished = spans()
    assert edges(finished) == {("leaked", None): 1, ("later", "leaked"): 20_000}
    assert [span["name"] for span in finished if is_unfinished(span)] == ["leaked"]


def test_a_block_that_a_job_leaves_open_is_not_around_the_next_job() -> None:
    import hiq.executors

    hiq.executors.install()
    pool = ThreadPoolExecutor(1)
    with hiq.trace("first"):
        pool.submit(lambda: hiq.trace("leaked").__enter__() and None).result()
    with hiq.trace("second"):
        pool.submit(hiq.record, "job").result()
    pool.shutdown()
    hiq.executors.remove()
    finished = spans()
    expected = {("first", None): 1, ("leaked", "first"): 1, ("second", None): 1, ("job", "second"): 1}
    assert edges(finished) == expected
    assert [span["name"] for span in finished if is_unfinished(span)] == ["leaked"]


def test_a_block_that_nobody_can_leave_any_more_leaves_as_unfinished() -> None:
    block = hiq.trace("block")
    in_a_thread(block.__enter__)
    assert spans() == []
    del block
    gc.collect()
    (span,) = spans()
    assert (span["name"], is_unfinished(span)) == ("block", True)


def test_a_forked_child_leaves_its_parents_blocks_to_the_parent() -> None:
    block = hiq.trace("block")
    block.__enter__()
    read, write = os.pipe()
    if os.fork() == 0:
        block.__exit__(None, None, None)
        os.write(write, repr([span["name"] for span in spans()]).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        assert answer.read() == "[]"
    os.wait()
    block.__exit__(None, None, None)
    assert edges(spans()) == {("block", None): 1}


PARKED = """
import sys, threading, hiq
from hiq import _hiq

hiq.init("exit", exporters=[hiq.FileExporter(sys.argv[1])])
block = hiq.trace("block")
thread = threading.Thread(target=block.__enter__)
thread.start()
thread.join()
"""


def test_a_block_of_a_thread_that_has_ended_leaves_as_unfinished_at_exit(tmp_path: Path) -> None:
    import json

    program, output = tmp_path / "parked.py", tmp_path / "spans.jsonl"
    program.write_text(PARKED, encoding="utf-8")
    ran = python(program, output, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    text = output.read_text(encoding="utf-8")
    found = [
        (span["name"], [pair["key"] for pair in span.get("attributes", [])])
        for line in text.splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]
    assert [name for name, _ in found] == ["block"]
    assert "hiq.unfinished" in found[0][1]


def test_threads_that_come_and_go_leave_blocks_of_each_other() -> None:
    """Whoever takes a block from the heap leaves it: no span is lost, and the ledger balances."""
    heap: list[Any] = []
    entered = 400

    def work(number: int) -> None:
        block = hiq.trace(f"block {number}")
        block.__enter__()
        hiq.record("inside")
        heap.append(block)
        with suppress(IndexError):
            heap.pop(0).__exit__(None, None, None)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(entered)))
    while heap:
        heap.pop().__exit__(None, None, None)
    finished = spans()
    names = [span["name"] for span in finished]
    assert sorted(name for name in names if name != "inside") == sorted(f"block {at}" for at in range(entered))
    assert names.count("inside") == entered
    assert not any(is_unfinished(span) for span in finished)
    assert _hiq.flush(60)
    check_ledger()
