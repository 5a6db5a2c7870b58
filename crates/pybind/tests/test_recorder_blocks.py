"""What `hiq.trace(...)` and a block give: objects that are made, used and let go in the memory of earlier ones."""

from __future__ import annotations

import gc
import inspect
import random
import sys
import threading
from collections import Counter
from contextlib import suppress
from typing import Any

import hiq
import pytest
from recorder import edges, spans

pytestmark = pytest.mark.usefixtures("memory")


def test_nothing_is_kept_of_what_a_block_was_given() -> None:
    name, values = f"a name {random.random()}", [object() for _ in range(9)]
    keys = [f"key {number}" for number in range(9)]

    def uses() -> None:
        for count in (0, 1, 5, 6, 7, 9, 3):
            attributes = dict(zip(keys[:count], values, strict=False))
            for _ in range(10):
                with hiq.trace(name, **attributes):
                    pass
                hiq.trace(name, kind="client", **attributes)

    uses()  # The recorder keeps the names, once.
    before = [sys.getrefcount(given) for given in (name, *keys, *values)]
    uses()
    assert [sys.getrefcount(given) for given in (name, *keys, *values)] == before
    spans()


def test_an_exception_that_leaves_a_block_inside_others_is_recorded_there_and_goes_on() -> None:
    with hiq.trace("root"):
        with pytest.raises(KeyError, match="gone"), hiq.trace("outer"), hiq.trace("inner"):
            raise KeyError("gone")
        with hiq.trace("after"):
            pass
    finished = spans()
    failed = {span["name"]: [event["name"] for event in span["events"]] for span in finished}
    assert failed == {"root": [], "outer": ["exception"], "inner": ["exception"], "after": []}
    assert {span["name"] for span in finished if span["status"] == "error"} == {"outer", "inner"}


@pytest.mark.parametrize("count", range(9))
@pytest.mark.parametrize("kind_at", [None, 0, 3])
def test_each_value_stands_under_its_name_however_many_there_are(count: int, kind_at: int | None) -> None:
    attributes: dict[str, Any] = {f"key {number}": number * 11 for number in range(count)}
    items = list(attributes.items())
    if kind_at is not None:
        items.insert(kind_at, ("kind", "server"))
    with hiq.trace("root"), hiq.trace("block", **dict(items)):
        pass
    block, root = sorted(spans(), key=lambda span: span["name"])
    assert block["attributes"] == attributes
    assert root["attributes"] == {}
    assert block["kind"] == ("internal" if kind_at is None else "server")


def test_a_span_that_somebody_keeps_stays_that_of_its_block() -> None:
    kept = []
    with hiq.trace("root"):
        for number in range(50):
            with hiq.trace(f"block {number}") as span:
                assert span.name == f"block {number}"
                if number % 3:
                    kept.append((number, span, span.trace_id, span.span_id))
            with hiq.trace("unnamed"):
                pass
        for _, span, trace_id, span_id in kept:
            assert (span.trace_id, span.span_id, span.is_recording) == (trace_id, span_id, False)
            span.set_attribute("late", True)
    finished = spans()
    ids = {span["name"]: (span["trace_id"], span["span_id"]) for span in finished}
    assert all(ids[f"block {number}"] == (trace_id, span_id) for number, _, trace_id, span_id in kept)
    assert not any(span["attributes"] for span in finished)


def test_deeper_blocks_than_there_are_spans_at_hand_each_have_their_own() -> None:
    def goes_down(depth: int) -> None:
        with hiq.trace(f"depth {depth}") as span:
            if depth:
                goes_down(depth - 1)
            span.set_attribute("depth", depth)

    goes_down(20)
    goes_down(20)
    told = Counter((span["name"], span["attributes"]["depth"]) for span in spans())
    assert told == {(f"depth {depth}", depth): 2 for depth in range(21)}


def test_what_is_let_go_inside_a_value_of_a_block_may_make_blocks_itself() -> None:
    class MakesBlocks:
        def __del__(self) -> None:
            with hiq.trace("from within", value=1):
                pass

    with hiq.trace("root"):
        for _ in range(5):
            with hiq.trace("block", a=1, b=MakesBlocks(), c=2):
                pass
    assert edges(spans()) == {("root", None): 1, ("block", "root"): 5, ("from within", "root"): 5}


def test_a_block_that_is_let_go_without_being_left_ends_with_the_one_around_it() -> None:
    with hiq.trace("root"):
        for _ in range(3):
            hiq.trace("never left").__enter__()
    finished = spans()
    assert Counter(span["name"] for span in finished) == {"root": 1, "never left": 3}


def test_random_uses_of_blocks_give_the_tree_that_the_program_says() -> None:
    """Some are used again, inside themselves too; some are left with an exception, or by another thread."""
    chance = random.Random(7)
    for _ in range(60):
        log: list[tuple[str, str | None]] = []
        reused = [hiq.trace(f"reused {number}", number=number) for number in range(3)]

        def goes_on(depth: int, around: str | None, log: Any = log, reused: Any = reused) -> None:
            for number in range(chance.randrange(1, 4)):
                which = chance.randrange(4)
                name = f"reused {which}" if which < 3 else f"{depth}.{number}"
                block = reused[which] if which < 3 else hiq.trace(name, depth=depth, number=number)
                log.append((name, around))
                how = chance.randrange(4)
                if how == 0:
                    block.__enter__()
                    block.__exit__(None, None, None)
                elif how == 1:
                    with suppress(KeyError), block:
                        if depth:
                            goes_on(depth - 1, name)
                        raise KeyError(name)
                elif how == 2:
                    block.__enter__()
                    left = threading.Thread(target=block.__exit__, args=(None, None, None))
                    left.start()
                    left.join()
                else:
                    with block as span:
                        if depth:
                            goes_on(depth - 1, name)
                        assert span.name == name

        goes_on(4, None)
        assert edges(spans()) == Counter(log)


def test_wrong_uses_are_refused_and_change_nothing() -> None:
    block = hiq.trace("block")
    with pytest.raises(TypeError, match="0 arguments"):
        block.__exit__()
    with pytest.raises(TypeError, match="2 arguments"):
        block.__aexit__(None, None)
    for wrong in (lambda: block(), lambda: block(len, len), lambda: block(len, func=len), lambda: block(other=len)):
        with pytest.raises(TypeError, match="one argument"):
            wrong()
    with pytest.raises(TypeError):
        type(block)()
    with pytest.raises(TypeError):
        type(block).__enter__(object())
    with pytest.raises(ValueError, match="kind `odd`"):
        hiq.trace("block", a=1, kind="odd", b=2)
    assert spans() == []


def test_a_function_is_decorated_by_position_and_by_name() -> None:
    def first() -> int:
        return 1

    def second() -> int:
        return 2

    assert hiq.trace("one", a=1, kind="client")(first)() == 1
    assert hiq.trace("two", b="x")(func=second)() == 2
    told = {span["name"]: span["attributes"] for span in spans()}
    assert (told["one"]["a"], told["two"]["b"]) == (1, "x")


def test_the_methods_of_a_block_tell_what_they_take() -> None:
    kind = type(hiq.trace("block"))
    assert (kind.__module__, kind.__name__) == ("hiq._hiq", "Trace")
    assert "context manager" in (kind.__doc__ or "")
    for name, count in (("__enter__", 1), ("__exit__", 4), ("__aenter__", 1), ("__aexit__", 4)):
        assert len(inspect.signature(getattr(kind, name)).parameters) == count


def test_names_of_a_program_find_room_wherever_the_interpreter_puts_them() -> None:
    """What is found by its address is held: of hundreds of names in scattered places next to all are."""
    scattered = [f"name {number} {'x' * (number % 37)}" for number in range(4_000)]
    names = random.Random(3).sample(scattered, 300)
    before = [sys.getrefcount(name) for name in names]
    with hiq.trace("root"):
        for name in names:
            hiq.record(name)
    now = [sys.getrefcount(name) for name in names]
    held = sum(more > less for more, less in zip(now, before, strict=True))
    assert held > 250, held
    told = Counter(span["name"] for span in spans())
    assert told == Counter([*names, "root"])


def test_the_collector_in_the_middle_of_blocks_finds_nothing_amiss() -> None:
    with hiq.trace("root"):
        for number in range(200):
            cycle: list[Any] = [hiq.trace("held by a cycle", number=number)]
            cycle.append(cycle)
            with hiq.trace("block", number=number) as span:
                cycle.append(span)
                if number % 20 == 0:
                    del cycle
                    gc.collect()
    assert edges(spans()) == {("root", None): 1, ("block", "root"): 200}
