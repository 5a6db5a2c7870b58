"""Greenlets, which take turns inside one thread: each has its own stack of spans. The real `greenlet` and `gevent`."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import greenlet
import pytest
from conftest import python
from hiq import _hiq
from recorder import Log, edges, spans, traced

pytestmark = pytest.mark.usefixtures("memory")


@pytest.fixture(autouse=True)
def _no_trace_function() -> Iterator[None]:
    """Threads outlive tests: this one begins and ends without a trace function of ours or of the test."""
    yield
    greenlet.settrace(None)


def in_a_new_thread(work: Any) -> None:
    """There nothing has been recorded, and nobody follows greenlets yet."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    if failed:
        raise failed[0]


def take_turns(bodies: list[Any]) -> None:
    """Switches to each greenlet in turn until all have ended."""
    greenlets = [greenlet.greenlet(body) for body in bodies]
    while alive := [each for each in greenlets if not each.dead]:
        for each in alive:
            each.switch()


def switch_back() -> None:
    greenlet.getcurrent().parent.switch()


def test_each_greenlet_has_its_own_stack() -> None:
    log = Log()

    def inner(number: int) -> None:
        with log.call(f"inner {number}"):
            switch_back()

    def outer(number: int) -> None:
        with log.call(f"outer {number}"):
            switch_back()
            traced(inner, f"inner {number}")(number)
            switch_back()

    def main() -> None:
        with log.call("main"):
            take_turns([lambda n=number: traced(outer, f"outer {n}")(n) for number in range(5)])

    def before() -> None:
        # The first root of the thread: from here on its greenlets are followed.
        with log.call("before"):
            pass

    def work() -> None:
        traced(before, "before")()
        traced(main, "main")()

    in_a_new_thread(work)
    expected = log.counted()
    assert len(expected) == 12
    assert edges(spans()) == expected


def test_the_stack_of_the_first_root_is_kept_apart_as_well() -> None:
    log = Log()

    def one() -> None:
        with log.call("one"):
            switch_back()

    def main() -> None:
        with log.call("main"):
            take_turns([traced(one, "one"), traced(one, "one")])

    in_a_new_thread(traced(main, "main"))
    assert edges(spans()) == log.counted() == Counter({("main", None): 1, ("one", None): 2})


def test_silence_belongs_to_the_greenlet_that_asked_for_it() -> None:
    def silent() -> None:
        with _hiq.suppress():
            switch_back()
            traced(lambda: None, "silent")()

    def loud() -> None:
        traced(lambda: None, "loud")()

    def work() -> None:
        traced(lambda: None, "first")()
        take_turns([silent, loud])
        loud()

    in_a_new_thread(work)
    assert Counter(span["name"] for span in spans()) == {"first": 1, "loud": 2}


def test_a_trace_function_that_is_there_already_goes_on_seeing_every_switch() -> None:
    def work() -> list[tuple[str, int]]:
        seen = []
        greenlet.settrace(lambda event, args: seen.append((event, len(args))))
        traced(lambda: None, "first")()
        take_turns([traced(switch_back, "work")])
        greenlet.settrace(None)
        return seen

    results: list[Any] = []
    in_a_new_thread(lambda: results.append(work()))
    # Into the greenlet and back, twice.
    assert results == [[("switch", 2)] * 4]
    assert len(spans()) == 2


def test_a_trace_function_that_fails_goes_as_it_would_go_alone() -> None:
    def fail(event: str, args: Any) -> None:
        raise ValueError("tracer")

    def work() -> None:
        greenlet.settrace(fail)
        traced(lambda: None, "first")()
        with pytest.raises(ValueError, match="tracer"):
            take_turns([switch_back])
        assert greenlet.gettrace() is None
        # The next root follows greenlets again.
        traced(lambda: take_turns([traced(switch_back, "own root")]), "second")()

    in_a_new_thread(work)
    assert edges(spans()) == Counter({("first", None): 1, ("second", None): 1, ("own root", None): 1})


def test_a_greenlet_that_is_thrown_away_ends_its_span() -> None:
    def work() -> None:
        traced(lambda: None, "first")()
        left = greenlet.greenlet(traced(switch_back, "left"))
        left.switch()
        del left
        traced(lambda: None, "after")()

    in_a_new_thread(work)
    assert edges(spans()) == Counter({("first", None): 1, ("left", None): 1, ("after", None): 1})


def test_exceptions_pass_between_greenlets() -> None:
    class Mine(Exception):
        pass

    def fail() -> None:
        switch_back()
        raise Mine

    def work() -> None:
        traced(lambda: None, "first")()
        failing = greenlet.greenlet(traced(fail, "fail"))
        failing.switch()
        with pytest.raises(Mine):
            failing.switch()

    in_a_new_thread(work)
    by_name = {span["name"]: span for span in spans()}
    assert by_name["fail"]["status"] == "error"
    assert by_name["first"]["status"] == "unset"


def test_a_forked_child_does_not_export_what_its_parents_greenlets_have_open() -> None:
    reading, writing = os.pipe()

    def work() -> None:
        traced(lambda: None, "first")()
        waiting = greenlet.greenlet(traced(switch_back, "waiting"))
        waiting.switch()
        child = os.fork()
        if child == 0:
            _hiq.memory_spans(clear=True)
            waiting.switch()
            traced(lambda: None, "in the child")()
            _hiq.flush(60)
            os.write(writing, repr([span["name"] for span in _hiq.memory_spans()]).encode())
            os._exit(0)
        os.waitpid(child, 0)
        waiting.switch()

    in_a_new_thread(work)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "['in the child']"
    assert sorted(span["name"] for span in spans()) == ["first", "waiting"]


def test_gevent_keeps_its_greenlets_apart(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        """
from gevent import monkey; monkey.patch_all()
import collections, contextvars, queue, threading, time
import gevent, hiq
from hiq.testing import InMemoryExporter

current = contextvars.ContextVar("current", default=None)
log = collections.Counter()

def traced(name, then):
    @hiq.trace(name)
    def call():
        log[name, current.get()] += 1
        token = current.set(name)
        then()
        current.reset(token)
    return call

def request(number):
    leaf = traced(f"leaf {number}", lambda: time.sleep(0.001))
    step = traced(f"step {number}", lambda: (leaf(), time.sleep(0), leaf()))
    return traced(f"request {number}", lambda: (step(), time.sleep(0.001), step()))

with InMemoryExporter() as exporter:
    requests = [request(number) for number in range(20)]
    gevent.joinall([gevent.spawn(call) for call in requests], raise_error=True)
    threads = [threading.Thread(target=call) for call in requests]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    spans = exporter.spans()
names = {span["span_id"]: span["name"] for span in spans}
seen = collections.Counter((span["name"], names.get(span["parent_span_id"])) for span in spans)
assert len(names) == len(spans) == sum(log.values()) == 20 * 2 * 7, (len(spans), sum(log.values()))
assert seen == log, seen - log
print("the same")
        """,
        encoding="utf-8",
    )
    run = python("program.py", folder=tmp_path)
    assert (run.stdout, run.stderr) == ("the same\n", "")


def test_greenlets_are_never_imported_by_hiq(tmp_path: Path) -> None:
    code = (
        "import hiq, sys\nfrom hiq.testing import InMemoryExporter\n"
        "with InMemoryExporter():\n    hiq.trace(len)('')\nprint('greenlet' in sys.modules)"
    )
    run = python("-c", code, folder=tmp_path)
    assert (run.stdout, run.stderr) == ("False\n", "")
