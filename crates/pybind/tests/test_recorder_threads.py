"""Threads and forks: no stack is shared, no id repeats, nobody hangs, every process exports its own."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hiq
import pytest
from conftest import python
from hiq import _hiq
from recorder import Log, check_ledger, edges, spans, traced

pytestmark = pytest.mark.usefixtures("memory")


def test_threads_never_share_a_stack() -> None:
    log = Log()

    def leaf() -> None:
        with log.call("leaf"):
            pass

    small = traced(leaf)

    def branch(width: int) -> None:
        with log.call("branch"):
            for _ in range(width):
                small()

    wide = traced(branch)

    def root() -> None:
        with log.call("root"):
            for width in range(40):
                wide(width)

    work = traced(root)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    finished = spans()
    assert edges(finished) == log.counted()
    assert len({span["trace_id"] for span in finished}) == 8


def test_switching_on_and_off_while_threads_are_inside_breaks_nothing() -> None:
    stop = threading.Event()
    results: list[int] = []

    def leaf(value: int) -> int:
        return value

    small = traced(leaf)

    def root() -> int:
        total = 0
        while not stop.is_set():
            total += small(1)
        return total

    work = traced(root)
    threads = [threading.Thread(target=lambda: results.append(work())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(60):
        for wrapper in (small, work):
            _hiq.unsubscribe(wrapper, None)
            _hiq.subscribe(wrapper, None)
    stop.set()
    for thread in threads:
        thread.join()
    finished = spans()
    found = edges(finished)
    assert found[("root", None)] == 4
    assert set(found) <= {("root", None), ("leaf", "root")}
    assert found[("leaf", "root")] <= sum(results)


def test_a_context_handed_over_makes_one_trace_of_two_threads() -> None:
    def leaf() -> None: ...

    small = traced(leaf)

    def root() -> None:
        place = _hiq.capture()

        def elsewhere() -> None:
            token = _hiq.attach(place)
            small()
            _hiq.detach(token)
            small()

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    traced(root)()
    assert edges(spans()) == {("root", None): 1, ("leaf", "root"): 1, ("leaf", None): 1}


def test_work_handed_to_a_pool_hangs_where_it_was_submitted() -> None:
    import hiq.executors

    log = Log()

    def leaf(parent: str) -> None:
        log.edges.append(("leaf", parent))

    small = traced(leaf)
    hiq.executors.install()

    def root(name: str) -> None:
        log.edges.append((name, None))
        list(pool.map(small, [name] * 5))
        pool.submit(small, name).result()

    with ThreadPoolExecutor(2) as pool:
        for name in ("one", "two"):
            traced(root, name)(name)
    assert edges(spans()) == log.counted()


FORKS = """
import json, os, signal, sys, threading
from hiq import _hiq

_hiq.init({"exporters": ["memory"], "service_name": "forks"})

def traced(func):
    wrapper = _hiq.traced(func, func.__name__)
    _hiq.subscribe(wrapper, None)
    return wrapper

@traced
def leaf(): pass

@traced
def busy():
    # Paced, so that the parent does not hold millions of spans in the end.
    while not stop.wait(0.0005):
        leaf()

@traced
def in_child():
    leaf(); leaf()

stop = threading.Event()
threads = [threading.Thread(target=busy) for _ in range(4)]
for thread in threads: thread.start()

@traced
def forks(count):
    found = []
    for _ in range(count):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(100)
            os.close(read)
            in_child()
            done = _hiq.flush(60)
            spans = [
                [s["name"], s["span_id"], s["parent_span_id"], s["trace_id"], s["has_remote_parent"]]
                for s in _hiq.memory_spans()
            ]
            with os.fdopen(write, "w") as out:
                json.dump({"done": done, "spans": spans, "stats": _hiq.stats()["memory"]}, out)
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as answer:
            found.append(json.load(answer))
        _, status = os.waitpid(child, 0)
        assert status == 0, status
    return found

children = forks(int(sys.argv[1]))
stop.set()
for thread in threads: thread.join()
_hiq.flush(60)
mine = [[s["name"], s["span_id"], s["parent_span_id"], s["trace_id"]] for s in _hiq.memory_spans()]
print(json.dumps({"children": children, "parent": mine}))
"""


def test_children_of_a_hundred_forks_export_their_own_spans_and_no_id_repeats(tmp_path: Path) -> None:
    script = tmp_path / "forks.py"
    script.write_text(FORKS)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), "100"],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    root = next(span for span in found["parent"] if span[0] == "forks")
    ids = [span[1] for span in found["parent"]]
    assert len(found["children"]) == 100
    for child in found["children"]:
        assert child["done"]
        names = sorted(span[0] for span in child["spans"])
        assert names == ["in_child", "leaf", "leaf"], "a child exports its own spans, and none of its parent's"
        inner = next(span for span in child["spans"] if span[0] == "in_child")
        assert inner[2] == root[1], "what was open at the fork is the parent"
        assert inner[3] == root[3]
        assert [span[4] for span in child["spans"]].count(True) == 1
        assert inner[4], "which lives in another process"
        assert child["stats"]["offered"] == child["stats"]["exported"] == 3
        ids += [span[1] for span in child["spans"]]
    assert len(set(ids)) == len(ids)


FORK_IN_A_TASK = """
import asyncio, json, os
from hiq import _hiq

_hiq.init({"exporters": ["memory"], "service_name": "forks"})

def traced(func, kind):
    wrapper = _hiq.traced(func, func.__name__, kind)
    _hiq.subscribe(wrapper, None)
    return wrapper

def work(): pass
work = traced(work, "function")

async def outer():
    await asyncio.sleep(0)
    # As an executor of processes does that starts its workers late: in a thread, with the task's context.
    await asyncio.to_thread(fork)

def fork():
    read, write = os.pipe()
    if os.fork() == 0:
        work()
        _hiq.flush(60)
        spans = [[s["name"], s["parent_span_id"], s["has_remote_parent"]] for s in _hiq.memory_spans()]
        os.write(write, json.dumps(spans).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        found.extend(json.load(answer))
    os.wait()

found = []
asyncio.run(traced(outer, "coroutine")())
_hiq.flush(60)
mine = {s["name"]: s["span_id"] for s in _hiq.memory_spans()}
print(json.dumps({"child": found, "outer": mine["outer"]}))
"""


def test_what_a_task_carried_over_a_fork_is_in_another_process(tmp_path: Path) -> None:
    script = tmp_path / "forks.py"
    script.write_text(FORK_IN_A_TASK)
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["child"] == [["work", found["outer"], True]]


EXIT = """
import sys, threading
from hiq import _hiq

_hiq.init({"exporters": ["memory"], "service_name": "exit"})

def traced(func, kind="function"):
    wrapper = _hiq.traced(func, func.__name__, kind)
    _hiq.subscribe(wrapper, None)
    return wrapper

def show():
    for span in _hiq.memory_spans():
        print(span["name"], span["attributes"].get("hiq.unfinished"))

@traced
def stuck():
    inside.set()
    threading.Event().wait()

def numbers():
    yield 1
    yield 2

inside = threading.Event()
threading.Thread(target=stuck, daemon=True).start()
inside.wait()
generator = traced(numbers, "generator")()
next(generator)
_hiq.at_exit()
show()
"""


def test_what_is_open_at_exit_leaves_as_unfinished(tmp_path: Path) -> None:
    script = tmp_path / "exit.py"
    script.write_text(EXIT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, env=environment, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert sorted(ran.stdout.split("\n")[:-1]) == ["numbers True", "stuck True"]


EXIT_IN_A_STEP = """
import asyncio
import sys
import threading

import hiq

inside = threading.Event()


@hiq.trace
async def inner():
    inside.set()
    threading.Event().wait()


@hiq.trace
async def outer():
    await inner()


hiq.init("exit", exporters=[hiq.FileExporter(sys.argv[1])])
threading.Thread(target=lambda: asyncio.run(outer()), daemon=True).start()
inside.wait()
"""


def test_coroutines_in_the_middle_of_a_step_at_exit_leave_once(tmp_path: Path) -> None:
    written = tmp_path / "spans.jsonl"
    ran = python("-c", EXIT_IN_A_STEP, written, folder=tmp_path)
    assert ran.returncode == 0, ran.stderr
    found = {}
    for line in written.read_text(encoding="utf-8").splitlines():
        for group in json.loads(line)["resourceSpans"]:
            for span in (span for scope in group["scopeSpans"] for span in scope["spans"]):
                assert span["name"] not in found
                found[span["name"]] = span
    assert found["inner"]["parentSpanId"] == found["outer"]["spanId"]
    assert sorted(found) == ["inner", "outer"]
    for span in found.values():
        assert {"key": "hiq.unfinished", "value": {"boolValue": True}} in span["attributes"]


def test_a_signal_handler_inside_a_call_is_recorded_where_it_runs() -> None:
    def handler(*_: object) -> None:
        small()

    def leaf() -> None: ...

    small = traced(leaf)
    before = signal.signal(signal.SIGUSR1, handler)
    try:

        def root() -> None:
            signal.raise_signal(signal.SIGUSR1)

        traced(root)()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert edges(spans()) == {("root", None): 1, ("leaf", "root"): 1}
    check_ledger()


def test_a_forked_child_holds_nothing_of_what_its_parent_keeps_in_memory() -> None:
    def leaf() -> None: ...

    traced(leaf)()
    assert _hiq.flush(60)
    child = os.fork()
    if child == 0:
        os._exit(len(_hiq.memory_spans()))
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert edges(spans()) == {("leaf", None): 1}


@pytest.mark.parametrize("around", [contextlib.nullcontext, hiq.suppress], ids=["no span", "suppressed"])
def test_a_place_that_is_captured_where_nothing_is_open_can_be_used_as_any_other(
    around: Callable[[], contextlib.AbstractContextManager[None]],
) -> None:
    def leaf() -> None: ...

    small = traced(leaf)
    with around():
        place = hiq.capture()
    assert not place
    assert hiq.current_context() is None
    thread = threading.Thread(target=place.run, args=(small,))
    thread.start()
    thread.join()
    with hiq.attach(place):
        small()
        assert hiq.inject({}) == {}
    pickle.loads(pickle.dumps(place)).run(small)
    assert place.run(lambda one, *, other: (one, other), 1, other=2) == (1, 2)
    assert edges(spans()) == {("leaf", None): 3}


def test_a_place_is_pickled_for_another_process() -> None:
    def leaf() -> None: ...

    headers = {"traceparent": f"00-{'a' * 31}1-{'b' * 15}2-01", "tracestate": "v=1", "baggage": "k=a%20b"}
    context = hiq.extract(headers)
    assert context
    found = pickle.loads(pickle.dumps(context))
    assert (found.trace_id, found.span_id, found.trace_flags) == ("a" * 31 + "1", "b" * 15 + "2", 1)
    assert (found.trace_state, found.baggage, found.is_remote) == ("v=1", {"k": "a b"}, True)
    with hiq.trace("root"):
        place = hiq.capture()
        assert not place.is_remote
        again = pickle.loads(pickle.dumps(place))
    assert again.is_remote
    again.run(traced(leaf))
    assert edges(spans()) == {("root", None): 1, ("leaf", "root"): 1}
