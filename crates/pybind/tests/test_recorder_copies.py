"""Work that enters a copied context hangs where the copy was made, as with OpenTelemetry, whoever carries it and whenever it runs."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import hiq
import pytest
from hiq import _hiq
from recorder import edges, spans, traced, waits

pytestmark = pytest.mark.usefixtures("memory", "carried")

Work = Callable[[], None]
Carry = Callable[[Work], None]


@pytest.fixture
def carried() -> Iterator[None]:
    import hiq.executors

    hiq.executors.install()
    yield
    hiq.executors.remove()


@pytest.fixture
def leaf() -> Work:
    return traced(lambda: None, "leaf")


class Worker:
    """A thread that lives on between jobs and enters the context of each, as those of anyio do."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        while job := self._jobs.get():
            context, func, done = job
            done.set_result(context.run(func))

    def run(self, func: Work, context: contextvars.Context | None = None) -> None:
        done: Future[None] = Future()
        self._jobs.put((context or contextvars.copy_context(), func, done))
        done.result(10)

    def end(self) -> None:
        self._jobs.put(None)
        self._thread.join(10)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.end()


def run_in_a_thread(work: Work, context: contextvars.Context | None = None) -> None:
    thread = threading.Thread(target=(context or contextvars.copy_context()).run, args=(work,))
    thread.start()
    thread.join(10)


@pytest.fixture(params=["a new thread", "a thread that lives on", "this thread"])
def carry(request: pytest.FixtureRequest, worker: Worker) -> Carry:
    if request.param == "this thread":
        return lambda work: contextvars.copy_context().run(work)
    return run_in_a_thread if request.param == "a new thread" else worker.run


@pytest.mark.parametrize("root", ["function", "block", "generator"])
def test_work_hangs_under_the_innermost_span_that_was_open_when_its_context_was_copied(
    leaf: Work, carry: Carry, root: str
) -> None:
    inner = traced(lambda: carry(leaf), "inner")

    def body() -> None:
        carry(leaf)
        inner()
        with hiq.trace("block"):
            carry(leaf)
        carry(leaf)

    def generator() -> Iterator[None]:
        yield body()

    def block() -> None:
        with hiq.trace("root"):
            body()

    request = {
        "function": traced(body, "root"),
        "block": block,
        "generator": lambda: list(traced(generator, "root", kind="generator")()),
    }[root]
    for _ in range(2):
        request()
        carry(leaf)
        leaf()
    finished = spans()
    assert edges(finished) == {
        ("root", None): 2,
        ("inner", "root"): 2,
        ("block", "root"): 2,
        ("leaf", "root"): 4,
        ("leaf", "inner"): 2,
        ("leaf", "block"): 2,
        ("leaf", None): 4,
    }
    assert len({span["trace_id"] for span in finished}) == 6


def test_a_function_in_a_traced_coroutine_has_its_copies_hang_under_itself(leaf: Work, carry: Carry) -> None:
    inner = traced(lambda: carry(leaf), "inner")

    async def handler() -> None:
        inner()
        await asyncio.sleep(0)
        inner()
        carry(leaf)

    asyncio.run(traced(handler, kind="coroutine")())
    assert edges(spans()) == {
        ("handler", None): 1,
        ("inner", "handler"): 2,
        ("leaf", "inner"): 2,
        ("leaf", "handler"): 1,
    }


def test_the_copy_decides_not_who_hands_it_over(leaf: Work, worker: Worker) -> None:
    copies = [contextvars.copy_context()]
    first = traced(lambda: copies.append(contextvars.copy_context()), "first")
    first()

    def run_copies() -> None:
        for copy in copies:
            worker.run(leaf, copy)
            run_in_a_thread(leaf, copy)

    traced(run_copies, "second")()
    assert edges(spans()) == {
        ("first", None): 1,
        ("second", None): 1,
        ("leaf", None): 2,
        ("leaf", "first"): 2,
    }


def test_a_sampled_out_root_leaves_out_what_its_copies_carry(leaf: Work, carry: Carry) -> None:
    hiq.shutdown(60)
    _hiq.init({"exporters": ["memory"], "sampler": "always_off"})

    def in_a_block() -> None:
        with hiq.trace("root"):
            carry(leaf)

    traced(lambda: carry(leaf), "root")()
    in_a_block()
    hiq.shutdown(60)
    _hiq.init({"exporters": ["memory"], "sampler": "parentbased_always_on"})
    copies: list[contextvars.Context] = []
    with hiq.attach(hiq.extract({"traceparent": f"00-{'1' * 32}-{'2' * 16}-00"})):
        traced(lambda: copies.append(contextvars.copy_context()), "root")()
    run_in_a_thread(leaf, copies[0])
    assert spans() == []
    run_in_a_thread(leaf)
    assert edges(spans()) == {("leaf", None): 1}


def test_the_decision_of_a_root_goes_along_with_its_copies(leaf: Work, carry: Carry) -> None:
    hiq.shutdown()
    _hiq.init({"exporters": ["memory"], "sampler": "parentbased_traceidratio", "sampler_arg": 0.5})
    root = traced(lambda: carry(leaf), "root")
    for _ in range(60):
        root()
    found = edges(spans())
    assert set(found) <= {("root", None), ("leaf", "root")}
    assert found["root", None] == found["leaf", "root"] > 0


def test_the_place_of_suppressed_work_is_carried_and_the_suppression_stays(leaf: Work) -> None:
    """As `hiq.capture` says where spans hang, and not whether they are recorded."""

    def body() -> None:
        with hiq.suppress():
            run_in_a_thread(leaf)
            contextvars.copy_context().run(leaf)

    traced(body, "root")()
    assert edges(spans()) == {("root", None): 1, ("leaf", "root"): 1}


def test_a_copy_that_is_made_in_the_suppression_of_a_coroutine_is_as_silent(leaf: Work) -> None:
    async def child() -> None:
        leaf()

    async def handler() -> None:
        with hiq.suppress():
            await contextvars.copy_context().run(asyncio.create_task, child())
        await contextvars.copy_context().run(asyncio.create_task, child())

    asyncio.run(traced(handler, kind="coroutine")())
    assert edges(spans()) == {("handler", None): 1, ("leaf", "handler"): 1}


def put_back(copy: contextvars.Context) -> None:
    """As asgiref's `async_to_sync` does with what its worker's context holds at the end."""
    for variable, value in copy.items():
        if variable.name == "hiq_context":
            variable.set(value)


def adapter() -> None:
    put_back(contextvars.copy_context())


def through_a_block() -> None:
    with hiq.trace("root"):
        adapter()


ROOTS = [traced(adapter, "root"), through_a_block]


@pytest.mark.parametrize("root", ROOTS, ids=["function", "block"])
@pytest.mark.parametrize("place", ["this thread", "a context", "a thread of a context"])
def test_a_copied_place_that_is_put_back_is_gone_with_its_root(leaf: Work, root: Work, place: str) -> None:
    def program() -> None:
        for _ in range(2):
            root()
            leaf()
            run_in_a_thread(leaf)

    run = {
        "this thread": lambda: program(),
        "a context": lambda: contextvars.Context().run(program),
        "a thread of a context": lambda: run_in_a_thread(program, contextvars.Context()),
    }[place]
    run()
    assert edges(spans()) == {("root", None): 2, ("leaf", None): 4}


@pytest.mark.parametrize("sampler", ["always_on", "parentbased_traceidratio"])
def test_what_was_attached_around_the_root_is_attached_again(leaf: Work, sampler: str) -> None:
    """By a request from elsewhere, in whose task the root is; also where the request is sampled out."""
    hiq.shutdown(60)
    _hiq.init({"exporters": ["memory"], "sampler": sampler})
    flags = "01" if sampler == "always_on" else "00"
    asks = hiq.extract({"traceparent": f"00-{'1' * 32}-{'2' * 16}-{flags}"})
    root = traced(adapter, "root")
    seen: list[str] = []

    def program() -> None:
        with hiq.attach(asks):
            for _ in range(3):
                root()
                seen.append(hiq.inject()["traceparent"])
                leaf()

    contextvars.Context().run(program)
    assert seen == [f"00-{'1' * 32}-{'2' * 16}-{flags}"] * 3
    finished = [(span["name"], span["parent_span_id"]) for span in spans()]
    assert finished == ([("root", "2" * 16), ("leaf", "2" * 16)] * 3 if sampler == "always_on" else [])


def test_roots_that_call_each_other_by_copies_keep_no_row_of_places() -> None:
    """A timer that sets itself again: each is a child of the last, whose place is let go all the same."""
    following: list[contextvars.Context] = []
    tick = traced(lambda: following.append(contextvars.copy_context()), "tick")
    kept_before = sys.getrefcount(hiq.Context)
    tick()
    for _ in range(300):
        following.pop().run(tick)
    # Each object of a type that is made at run time refers to it.
    assert sys.getrefcount(hiq.Context) < kept_before + 10
    assert len({span["trace_id"] for span in spans()}) == 1


def test_a_place_that_is_put_back_does_not_stand_before_the_open_root(leaf: Work) -> None:
    """While other tasks are in blocks, each call looks whether it is another task's."""

    async def other() -> None:
        with hiq.trace("other"):
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    inner = traced(adapter, "inner")

    async def main() -> None:
        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        inner()
        leaf()
        await task

    traced(lambda: asyncio.run(main()), "root")()
    assert edges(spans()) == {("root", None): 1, ("other", "root"): 1, ("inner", "root"): 1, ("leaf", "root"): 1}


def test_calls_beside_the_blocks_of_tasks_stay_in_the_tree_of_their_root(program: Any) -> None:
    """The context of `asyncio.run` is a copy: what runs in it is no other task than the root's for that."""
    module = program(
        """
        import asyncio, hiq

        def leaf(): pass

        async def other():
            with hiq.trace("other"):
                await asyncio.sleep(0)
                await asyncio.sleep(0)

        async def main():
            task = asyncio.create_task(other())
            await asyncio.sleep(0)
            leaf()
            await task

        def root(): asyncio.run(main())
        """
    )
    rows = [[module.__name__, "", name, name] for name in ("root", "leaf")]
    with hiq.HiQLatency(rows) as driver:
        module.root()
        (tree,) = driver.get_metrics()
    (root,) = tree.get_root().nodes
    assert (root.name, [node.name for node in root.nodes]) == ("__root", ["__leaf"])


def test_turns_of_coroutines_that_are_stepped_by_hand_copy_their_own_places(leaf: Work) -> None:
    copies: list[contextvars.Context] = []

    def work(name: str) -> Any:
        async def job() -> None:
            await waits()
            traced(lambda: copies.append(contextvars.copy_context()), f"{name} call")()
            await waits()

        return traced(job, name, kind="coroutine")()

    turns = [work("one"), work("two")]
    while turns:
        for turn in list(turns):
            try:
                turn.send(None)
            except StopIteration:
                turns.remove(turn)
    for copy in copies:
        run_in_a_thread(leaf, copy)
    found = edges(spans())
    assert {edge for edge in found if edge[0] == "leaf"} == {("leaf", "one call"), ("leaf", "two call")}


@pytest.mark.skipif(sys.version_info < (3, 14), reason="threads take a context from CPython 3.14 on")
def test_a_thread_that_is_given_a_copy_hangs_where_it_was_copied(leaf: Work) -> None:
    def body() -> None:
        thread = threading.Thread(target=leaf, context=contextvars.copy_context())
        thread.start()
        thread.join(10)

    traced(body, "root")()
    assert edges(spans()) == {("root", None): 1, ("leaf", "root"): 1}


def test_copies_are_the_interpreters_own_again_after_shutdown(carried: None) -> None:
    import hiq.executors

    ours = contextvars.copy_context
    module = type(sys)("holder_of_copy_context")
    module.copy_context = ours  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    try:
        hiq.executors.remove()
        assert contextvars.copy_context is not ours
        assert module.copy_context is contextvars.copy_context
        assert contextvars.copy_context.__module__ == "_contextvars"
        hiq.executors.install()
        assert contextvars.copy_context is ours is module.copy_context
    finally:
        del sys.modules[module.__name__]
    with pytest.raises(TypeError):
        contextvars.copy_context(1)  # type: ignore[call-arg]
    assert isinstance(contextvars.copy_context(), contextvars.Context)


def test_modules_that_import_contexts_later_copy_ours(tmp_path: Any) -> None:
    from conftest import python

    (tmp_path / "main.py").write_text(
        "import sys, threading, hiq\n"
        "from hiq.testing import InMemoryExporter\n"
        "@hiq.trace\n"
        "def leaf(): pass\n"
        "@hiq.trace\n"
        "def root():\n"
        "    from contextvars import copy_context\n"
        "    thread = threading.Thread(target=copy_context().run, args=(leaf,))\n"
        "    thread.start(); thread.join()\n"
        "with InMemoryExporter() as spans:\n"
        "    root()\n"
        "    found = {span['name']: span for span in spans.spans()}\n"
        "assert found['leaf']['parent_span_id'] == found['root']['span_id'], found\n"
    )
    done = python("main.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr
