"""Beside the real OpenTelemetry SDK in one process: each side's spans hang under the other's, ids held against both."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiq
import pytest
from conftest import python
from hiq import _hiq, executors
from opentelemetry import context as otel_context
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.trace import ReadableSpan, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState
from recorder import spans, traced


class OpenTelemetry:
    """A provider of its own, and what its exporter was given."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer: Tracer = provider.get_tracer("tests")  # type: ignore[assignment]

    def span(self, name: str) -> Any:
        return self.tracer.start_as_current_span(name)

    def finished(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self._exporter.get_finished_spans()}


@pytest.fixture
def otel(memory: None) -> Iterator[OpenTelemetry]:
    yield OpenTelemetry()
    assert current_ids() is None, "something of ours is left in OpenTelemetry's context"


def current_ids() -> tuple[str, str] | None:
    place = otel_trace.get_current_span().get_span_context()
    return (f"{place.trace_id:032x}", f"{place.span_id:016x}") if place.is_valid else None


def place_of(span: ReadableSpan) -> tuple[str, str]:
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def parent_of(span: ReadableSpan) -> tuple[str, str] | None:
    return (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") if span.parent else None


def hiq_spans() -> dict[str, dict[str, Any]]:
    finished = spans()
    assert len({span["name"] for span in finished}) == len(finished)
    return {span["name"]: span for span in finished}


def hiq_place(span: dict[str, Any]) -> tuple[str, str]:
    return span["trace_id"], span["span_id"]


def hiq_parent(span: dict[str, Any]) -> tuple[str, str] | None:
    return (span["trace_id"], span["parent_span_id"]) if span["parent_span_id"] else None


def test_a_root_is_a_child_of_the_running_span(otel) -> None:
    with otel.span("request"):
        traced(lambda: None, "work")()
    ours, theirs = hiq_spans(), otel.finished()
    assert hiq_parent(ours["work"]) == place_of(theirs["request"])


def test_flags_and_trace_state_come_along() -> None:
    _hiq.init({"exporters": ["memory"], "service_name": "tests"})
    state = TraceState([("vendor", "a"), ("other", "1")])
    place = SpanContext(0x1234 << 64, 0x42, True, TraceFlags(0x03), state)
    token = otel_context.attach(otel_trace.set_span_in_context(NonRecordingSpan(place)))
    try:
        with hiq.trace("root"):
            headers = hiq.inject()
    finally:
        otel_context.detach(token)
    (root,) = spans()
    assert root["trace_id"] == f"{0x1234 << 64:032x}"
    assert root["parent_span_id"] == f"{0x42:016x}"
    assert headers["traceparent"] == f"00-{root['trace_id']}-{root['span_id']}-03"
    assert headers["tracestate"] == "vendor=a,other=1"


def test_a_span_inside_ours_is_its_child(otel) -> None:
    def inner() -> None:
        with otel.span("query"):
            pass

    inner = traced(inner, "inner")
    traced(lambda: inner(), "outer")()
    ours, theirs = hiq_spans(), otel.finished()
    assert parent_of(theirs["query"]) == hiq_place(ours["inner"])
    assert hiq_parent(ours["inner"]) == hiq_place(ours["outer"])
    assert hiq_parent(ours["outer"]) is None


def test_the_current_span_is_always_the_innermost(otel) -> None:
    seen: dict[str, Any] = {}

    def look(name: str) -> None:
        seen[name] = current_ids()

    inner = traced(look, "inner")

    def outer() -> None:
        look("before")
        inner("inside")
        look("after")

    traced(outer, "outer")()
    ours = hiq_spans()
    assert seen["before"] == seen["after"] == hiq_place(ours["outer"])
    assert seen["inside"] == hiq_place(ours["inner"])


def test_both_kinds_in_turn_make_one_chain(otel) -> None:
    with otel.span("1"), hiq.trace("2"), otel.span("3"):

        async def fourth() -> None:
            with otel.span("5"):
                traced(lambda: None, "inside 4")()

        asyncio.run(traced(fourth, "4", "coroutine")())
    ours, theirs = hiq_spans(), otel.finished()
    assert hiq_parent(ours["2"]) == place_of(theirs["1"])
    assert parent_of(theirs["3"]) == hiq_place(ours["2"])
    assert hiq_parent(ours["4"]) == place_of(theirs["3"])
    assert parent_of(theirs["5"]) == hiq_place(ours["4"])
    # No root: it is recorded in the tree that is open, beside the other side's span.
    assert hiq_parent(ours["inside 4"]) == hiq_place(ours["4"])


def test_tasks_that_take_turns_keep_apart(otel) -> None:
    count = 8

    async def query(number: int) -> None:
        with otel.span(f"query {number}"):
            await asyncio.sleep(0)
            traced(lambda: None, f"leaf {number}")()
            await asyncio.sleep(0)

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        await query(number)
        await asyncio.sleep(0)
        with otel.span(f"second {number}"):
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(traced(work, f"work {number}", "coroutine")(number) for number in range(count)))

    with otel.span("request"):
        asyncio.run(main())
    ours, theirs = hiq_spans(), otel.finished()
    for number in range(count):
        work_place = hiq_place(ours[f"work {number}"])
        assert hiq_parent(ours[f"work {number}"]) == place_of(theirs["request"])
        assert parent_of(theirs[f"query {number}"]) == work_place
        assert parent_of(theirs[f"second {number}"]) == work_place
        assert hiq_parent(ours[f"leaf {number}"]) == work_place


def test_blocks_in_tasks_keep_apart(otel) -> None:
    async def work(number: int) -> None:
        async with hiq.trace(f"block {number}"):
            await asyncio.sleep(0)
            with otel.span(f"inside {number}"):
                await asyncio.sleep(0)
        with otel.span(f"outside {number}"):
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(work(1), work(2), work(3))

    asyncio.run(main())
    ours, theirs = hiq_spans(), otel.finished()
    for number in (1, 2, 3):
        assert parent_of(theirs[f"inside {number}"]) == hiq_place(ours[f"block {number}"])
        assert parent_of(theirs[f"outside {number}"]) is None


def test_a_generator_is_current_in_its_own_steps_only(otel) -> None:
    def numbers() -> Iterator[int]:
        with otel.span("first step"):
            pass
        yield 1
        with otel.span("second step"):
            yield 2

    made = traced(numbers, "numbers", "generator")()
    with otel.span("before"):
        pass
    assert next(made) == 1
    with otel.span("between"):
        pass
    assert list(made) == [2]
    ours, theirs = hiq_spans(), otel.finished()
    assert parent_of(theirs["first step"]) == parent_of(theirs["second step"]) == hiq_place(ours["numbers"])
    assert parent_of(theirs["before"]) is None
    assert parent_of(theirs["between"]) is None


def test_an_async_generator_is_current_in_its_own_steps_only(otel) -> None:
    async def numbers() -> Any:
        for number in range(2):
            with otel.span(f"step {number}"):
                await asyncio.sleep(0)
            yield number

    async def main() -> None:
        async for number in traced(numbers, "numbers", "async_generator")():
            with otel.span(f"between {number}"):
                await asyncio.sleep(0)

    asyncio.run(main())
    ours, theirs = hiq_spans(), otel.finished()
    for number in (0, 1):
        assert parent_of(theirs[f"step {number}"]) == hiq_place(ours["numbers"])
        assert parent_of(theirs[f"between {number}"]) is None


def test_threads_each_have_their_own(otel) -> None:
    start = threading.Barrier(4)

    def work(number: int) -> None:
        start.wait(60)
        for turn in range(50):
            with otel.span(f"request {number}.{turn}"):

                def leaf() -> None:
                    with otel.span(f"query {number}.{turn}"):  # noqa: B023
                        pass

                traced(leaf, f"leaf {number}.{turn}")()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    ours, theirs = hiq_spans(), otel.finished()
    assert len(ours) == 200
    for name, leaf in ours.items():
        number = name.removeprefix("leaf ")
        assert hiq_parent(leaf) == place_of(theirs[f"request {number}"])
        assert parent_of(theirs[f"query {number}"]) == hiq_place(leaf)


def test_work_that_is_handed_to_other_threads_hangs_where_it_was_handed_over(otel) -> None:
    executors.install()

    def job(name: str) -> None:
        with otel.span(f"query of {name}"):
            traced(lambda: None, f"leaf of {name}")()

    async def main() -> None:
        await asyncio.to_thread(job, "to_thread")

    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            with hiq.trace("pool"):
                pool.submit(job, "pool").result(10)
            asyncio.run(traced(main, "task", "coroutine")())
    finally:
        executors.remove()
    ours, theirs = hiq_spans(), otel.finished()
    for place, name in (("pool", "pool"), ("task", "to_thread")):
        assert parent_of(theirs[f"query of {name}"]) == hiq_place(ours[place])
        assert hiq_parent(ours[f"leaf of {name}"]) == place_of(theirs[f"query of {name}"])


def test_an_attached_context_is_attached_on_both_sides(otel) -> None:
    remote = hiq.extract({"traceparent": f"00-{0xABC:032x}-{0xDEF:016x}-01"})
    token = hiq.attach(remote)
    with otel.span("inside"):
        pass
    hiq.detach(token)
    with otel.span("outside"):
        pass
    theirs = otel.finished()
    assert parent_of(theirs["inside"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")
    assert parent_of(theirs["outside"]) is None


def test_what_one_side_leaves_out_the_other_leaves_out() -> None:
    _hiq.init({"exporters": ["memory"], "service_name": "tests", "sampler": "parentbased_always_off"})
    _hiq.memory_spans(clear=True)
    otel = OpenTelemetry()

    def query() -> None:
        with otel.span("query"):
            pass

    async def query_later() -> None:
        query()

    traced(query, "left out")()
    asyncio.run(traced(query_later, "left out", "coroutine")())
    with hiq.trace("left out"):
        query()
    assert not spans()
    assert not otel.finished()
    query()
    assert parent_of(otel.finished()["query"]) is None
    with otel.span("request"):
        traced(lambda: None, "kept")()
    assert list(hiq_spans()) == ["kept"]


def test_a_span_that_is_not_sampled_leaves_our_root_out(otel) -> None:
    place = SpanContext(7, 7, True, TraceFlags(0))
    token = otel_context.attach(otel_trace.set_span_in_context(NonRecordingSpan(place)))
    traced(lambda: None, "work")()
    otel_context.detach(token)
    assert not hiq_spans()


def test_an_instrumentation_that_outlives_the_call_does_not_chain_requests(otel) -> None:
    """As Flask's does: a span is made current inside the traced function and ended after it."""
    open_spans: list[Any] = []

    def before_request(number: int) -> None:
        span = otel.tracer.start_span(f"request {number}")
        token = otel_context.attach(otel_trace.set_span_in_context(span))
        open_spans.append((span, token))

    dispatch = traced(before_request, "dispatch")

    def teardown() -> None:
        span, token = open_spans.pop()
        otel_context.detach(token)
        span.end()

    for number in (1, 2):
        dispatch(number)
        teardown()
        assert current_ids() is None
    first, second = spans()
    assert first["trace_id"] != second["trace_id"]
    assert first["parent_span_id"] == second["parent_span_id"] is None
    theirs = otel.finished()
    parents = {parent_of(theirs["request 1"]), parent_of(theirs["request 2"])}
    assert parents == {hiq_place(first), hiq_place(second)}
    # What is left of ours refers to nothing older of ours.
    left = otel_trace.get_current_span()
    assert left.is_left_behind
    assert otel_trace.get_current_span(left.before) is otel_trace.INVALID_SPAN
    otel_context.attach(otel_context.Context())


def test_what_is_written_to_the_current_span_is_written_to_ours(otel) -> None:
    def work() -> None:
        span = otel_trace.get_current_span()
        assert isinstance(span, NonRecordingSpan)
        assert span.is_recording()
        span.set_attribute("user", "ada")
        span.set_attributes({"count": 3})
        span.add_event("cached", {"hit": True})
        span.set_status(otel_trace.StatusCode.ERROR, "no stock")
        span.update_name("renamed")
        try:
            raise ValueError("told")
        except ValueError as error:
            span.record_exception(error)
        kept.append(span)

    kept: list[Any] = []
    traced(work, "work")()
    (ours,) = spans()
    assert ours["name"] == "renamed"
    assert {key: ours["attributes"][key] for key in ("user", "count")} == {"user": "ada", "count": 3}
    assert [event["name"] for event in ours["events"]] == ["cached", "exception"]
    assert ours["status"] == "error"
    # After its end it is there, and takes nothing more.
    kept[0].set_attribute("late", 1)
    assert not kept[0].is_recording()
    assert f"{kept[0].get_span_context().span_id:016x}" == ours["span_id"]


def test_exceptions_pass_as_they_are(otel) -> None:
    error = ValueError("mine")

    def fail() -> None:
        raise error

    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise error

    with otel.span("request"):
        for call in (traced(fail, "fail"), lambda: asyncio.run(traced(fail_later, "later", "coroutine")())):
            with pytest.raises(ValueError) as caught:
                call()
            assert caught.value is error
    ours = hiq_spans()
    assert {span["status"] for span in ours.values()} == {"error"}


def test_without_a_pipeline_its_spans_are_left_alone() -> None:
    otel = OpenTelemetry()

    def work() -> None:
        with otel.span("query"):
            pass

    driver = _hiq.Driver()
    wrapper = _hiq.traced(work, "work")
    _hiq.subscribe(wrapper, driver)
    with otel.span("request"):
        wrapper()
    assert driver.spans == 1
    assert parent_of(otel.finished()["query"]) == place_of(otel.finished()["request"])


def test_a_forked_child_goes_on_under_the_span_that_was_open(otel) -> None:
    reading, writing = os.pipe()

    def inner() -> int:
        child = os.fork()
        if child == 0:
            with otel.span("in the child"):
                pass
            span = otel.finished()["in the child"]
            os.write(writing, repr(parent_of(span)).encode())
            os._exit(0)
        os.waitpid(child, 0)
        return child

    inner = traced(inner, "inner")
    traced(lambda: inner(), "outer")()
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == repr(hiq_place(hiq_spans()["inner"]))


def test_opentelemetry_is_never_imported_by_hiq(tmp_path: Path) -> None:
    (tmp_path / "alone.py").write_text(
        """
import asyncio, sys
import hiq
from hiq.testing import InMemoryExporter

@hiq.trace
def work(): return 1

@hiq.trace
async def later(): return work()

with InMemoryExporter() as exporter:
    work(); asyncio.run(later())
    with hiq.trace("block"): pass
    hiq.detach(hiq.attach(hiq.extract({"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"})))
    assert len(exporter.spans()) == 4, exporter.spans()
print([name for name in sys.modules if "opentelemetry" in name or name == "hiq._otel"])
        """,
        encoding="utf-8",
    )
    run = python("alone.py", folder=tmp_path)
    assert (run.stdout, run.stderr) == ("[]\n", "")


def test_it_may_be_imported_while_our_span_is_open(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(
        """
import hiq
from hiq.testing import InMemoryExporter

@hiq.trace
def work():
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    tracer = TracerProvider().get_tracer("late")
    with tracer.start_as_current_span("theirs") as span:
        place = span.get_span_context()
        with hiq.trace("inside"):
            pass
        return tracer, place

@hiq.trace
def again(tracer):
    with tracer.start_as_current_span("theirs again") as span:
        return span.parent.span_id

with InMemoryExporter() as exporter:
    tracer, place = work()
    parent = again(tracer)
    spans = {span["name"]: span for span in exporter.spans()}
    assert spans["inside"]["parent_span_id"] == spans["work"]["span_id"], spans
    assert spans["again"]["span_id"] == f"{parent:016x}", spans
        """,
        encoding="utf-8",
    )
    run = python("late.py", folder=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
