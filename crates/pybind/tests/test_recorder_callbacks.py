"""Code of the program that runs in the middle of recording: an exception's text, a value's `repr`, the collector."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import hiq
import pytest
from conftest import python
from recorder import edges, spans, traced

pytestmark = pytest.mark.usefixtures("memory")


class Leaves(Exception):
    """Ends something of its program while its text is being made."""

    def __init__(self, leave: Callable[[], object]) -> None:
        self.leave = leave

    def __str__(self) -> str:
        self.leave()
        return "left"


def test_a_block_that_is_left_while_an_exceptions_text_is_made_takes_the_call_along() -> None:
    block = hiq.trace("outer")
    block.__enter__()

    def fails() -> None:
        raise Leaves(lambda: block.__exit__(None, None, None))

    with pytest.raises(Leaves):
        traced(fails)()
    with hiq.trace("after"):
        pass
    assert edges(spans()) == {("outer", None): 1, ("fails", "outer"): 1, ("after", None): 1}


def test_a_block_that_is_left_while_the_text_of_its_own_exception_is_made_ends_once() -> None:
    outer = hiq.trace("outer")
    outer.__enter__()
    with pytest.raises(Leaves), hiq.trace("inner"):
        raise Leaves(lambda: outer.__exit__(None, None, None))
    assert edges(spans()) == {("outer", None): 1, ("inner", "outer"): 1}


COLLECTED = """
    import gc, hiq
    from hiq.testing import InMemoryExporter

    def parks():
        with hiq.trace("outer"):
            yield

    class Failed(Exception):
        def __str__(self):
            gc.collect()
            return "failed"

    @hiq.trace
    def fails():
        raise Failed

    with InMemoryExporter() as exporter:
        parked = parks()
        next(parked)
        circle = [parked]
        circle.append(circle)
        del parked, circle
        try:
            fails()
        except Failed:
            print(sorted(span["name"] for span in exporter.spans()))
"""


def test_the_collector_may_end_an_open_block_in_the_middle_of_a_call(tmp_path: Any) -> None:
    import textwrap

    program = tmp_path / "collected.py"
    program.write_text(textwrap.dedent(COLLECTED), encoding="utf-8")
    ran = python(program, folder=tmp_path)
    assert (ran.returncode, ran.stdout.strip()) == (0, "['fails', 'outer']"), ran


class Value:
    """Ends something of its program when it is read."""

    def __init__(self, leave: Callable[[], object]) -> None:
        self.leave = leave

    def __repr__(self) -> str:
        self.leave()
        return "read"


@pytest.mark.parametrize("begin", ["block", "moment"])
def test_a_value_whose_repr_leaves_the_block_around_it_stands_on_the_span_that_it_was_given_to(begin: str) -> None:
    outer = hiq.trace("outer")
    outer.__enter__()
    value = Value(lambda: outer.__exit__(None, None, None))
    if begin == "block":
        with hiq.trace("inner", before=1, value=value, after="x"):
            pass
    else:
        hiq.record("inner", before=1, value=value, after="x")
    finished = spans()
    # It was read before its span began, so the outer one had ended by then.
    assert edges(finished) == {("outer", None): 1, ("inner", None): 1}
    inner = next(span for span in finished if span["name"] == "inner")
    assert inner["attributes"] == {"before": 1, "value": "read", "after": "x"}


def test_a_generator_that_the_collector_closes_while_a_value_is_read_ends_its_span_then() -> None:
    def parks() -> Iterator[None]:
        with hiq.trace("parked"):
            yield

    parked = parks()
    next(parked)
    circle: list[Any] = [parked]
    circle.append(circle)
    del parked, circle
    with hiq.trace("collects", value=Value(gc.collect)):
        pass
    assert edges(spans()) == {("parked", None): 1, ("collects", None): 1}
