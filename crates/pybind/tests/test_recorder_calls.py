"""A declared call is the call it was: arguments, result, exception, attributes and identity are untouched."""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import inspect
import pickle
import sys
import types
import weakref
from typing import Any

import pytest
from hiq import _hiq
from recorder import Log, edges, spans, traced

pytestmark = pytest.mark.usefixtures("memory")


def plain(a, b=2, /, c=3, *rest, d, e=5, **more):
    return (a, b, c, rest, d, e, more)


def positional(a, b):
    return (a, b)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1,), {"d": 4}),
        ((1, 20, 30, 40, 50), {"d": 4, "z": 9}),
        ((), {}),
        ((1,), {}),
        ((1,), {"d": 1, "a": 7}),
        ((1, 2), {"c": 3, "d": 4, "e": 6, "self": 1, "args": 2, "kwargs": 3, "name": 4}),
    ],
)
def test_every_calling_convention_reaches_the_original(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    def outcome(function: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            return str(error)

    assert outcome(traced(plain)) == outcome(plain)


def test_arguments_and_results_are_the_same_objects() -> None:
    marker = object()
    given: list[Any] = []

    def keep(value: Any) -> Any:
        given.append(value)
        return value

    assert traced(keep)(marker) is marker
    assert given[0] is marker


def test_reference_counts_stay_as_they_are() -> None:
    marker = object()

    def identity(value: Any) -> Any:
        return value

    def fail(value: Any) -> Any:
        raise ValueError("no")

    call, failing = traced(identity), traced(fail)
    before = sys.getrefcount(marker)
    for _ in range(100):
        call(marker)
        with pytest.raises(ValueError, match="no"):
            failing(marker)
    gc.collect()
    assert sys.getrefcount(marker) == before


def test_the_very_same_exception_comes_out_with_its_traceback() -> None:
    raised = KeyError("which")

    def fail() -> None:
        raise raised

    with pytest.raises(KeyError) as caught:
        traced(fail)()
    assert caught.value is raised
    names = []
    step = raised.__traceback__
    while step is not None:
        names.append(step.tb_frame.f_code.co_name)
        step = step.tb_next
    assert names[-1] == "fail"
    assert len(names) == 2, "the wrapper adds no frame"


class Awkward(Exception):
    """Cannot be copied, and its text cannot be made."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(one, two)

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_an_exception_without_text_is_recorded_and_passes() -> None:
    def fail() -> None:
        raise Awkward(1, 2)

    with pytest.raises(Awkward):
        traced(fail)()
    (span,) = spans()
    assert span["status"] == "error"
    (event,) = span["events"]
    assert event["name"] == "exception"
    assert event["attributes"]["exception.type"].endswith("Awkward")
    assert "fail" in event["attributes"]["exception.stacktrace"]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, BaseException])
def test_base_exceptions_close_every_span_they_pass(kind: type[BaseException]) -> None:
    def inner() -> None:
        raise kind("out")

    inside = traced(inner)

    def outer() -> None:
        inside()

    with pytest.raises(kind):
        traced(outer)()
    found = spans()
    assert edges(found) == {("inner", "outer"): 1, ("outer", None): 1}
    expected = "unset" if kind is GeneratorExit else "error"
    assert {span["status"] for span in found} == {expected}


def test_an_exception_is_recorded_on_each_span_it_passes_and_not_where_it_is_caught() -> None:
    def deepest() -> None:
        raise LookupError("lost")

    lowest = traced(deepest)

    def middle() -> None:
        lowest()

    between = traced(middle)

    def catches() -> str:
        try:
            between()
        except LookupError:
            return "caught"
        return "not raised"

    assert traced(catches)() == "caught"
    by_name = {span["name"]: span for span in spans()}
    assert [by_name[name]["status"] for name in ("deepest", "middle", "catches")] == ["error", "error", "unset"]
    for name in ("deepest", "middle"):
        assert by_name[name]["status_message"] == "LookupError: lost"
        assert by_name[name]["attributes"]["error.type"] == "LookupError"
    assert by_name["catches"]["events"] == []


def test_an_exception_at_the_address_of_an_earlier_one_is_read_anew() -> None:
    def fail(text: str) -> None:
        raise ValueError(text)

    failing = traced(fail)

    def again(text: str) -> None:
        with contextlib.suppress(ValueError):
            failing(text)
        raise ValueError("not " + text)

    outer = traced(again)

    def elsewhere(text: str) -> None:
        raise ValueError(text)

    other = traced(elsewhere)
    addresses = set()
    for number in range(50):
        for call in (outer, other):
            try:
                call(str(number))
            except ValueError as error:
                addresses.add(id(error))
    assert len(addresses) < 50, "the test needs addresses that are used again"
    for span in spans():
        message = span["events"][0]["attributes"]["exception.message"]
        stack = span["events"][0]["attributes"]["exception.stacktrace"]
        assert message.startswith("not ") == (span["name"] == "again")
        assert f", in {span['name']}" in stack
        assert stack.endswith(f"ValueError: {message}\n")


def test_introspection_sees_the_original() -> None:
    def documented(a: int, b: str = "x") -> list[int]:
        """Says what it does."""
        return [a]

    async def coroutine() -> None: ...

    def generator():
        yield 1

    async def async_generator():
        yield 1

    wrapper = traced(documented)
    assert inspect.signature(wrapper) == inspect.signature(documented)
    assert inspect.getdoc(wrapper) == "Says what it does."
    assert inspect.isfunction(wrapper)
    assert isinstance(wrapper, types.FunctionType)
    assert wrapper.__name__ == "documented"
    assert wrapper.__code__ is documented.__code__
    assert wrapper.__defaults__ == ("x",)
    assert wrapper.__annotations__ is documented.__annotations__
    assert inspect.getsource(wrapper) == inspect.getsource(documented)
    assert repr(wrapper) == repr(documented)
    assert inspect.iscoroutinefunction(traced(coroutine, kind="coroutine"))
    assert inspect.isgeneratorfunction(traced(generator, kind="generator"))
    assert inspect.isasyncgenfunction(traced(async_generator, kind="async_generator"))


def test_attributes_are_read_set_and_deleted_on_the_original() -> None:
    def target(a: int = 1) -> int:
        return a

    wrapper = traced(target)
    wrapper.custom = [1]
    assert target.custom == [1]  # type: ignore[attr-defined]
    wrapper.__defaults__ = (7,)
    assert target() == 7
    assert wrapper() == 7
    del wrapper.custom
    assert not hasattr(target, "custom")
    with pytest.raises(AttributeError, match="missing"):
        _ = wrapper.missing


def test_it_equals_and_hashes_as_the_original() -> None:
    wrapper = traced(positional)
    assert wrapper == positional
    assert positional == wrapper
    assert wrapper == traced(positional)
    assert len({wrapper, positional}) == 1
    assert wrapper != plain


def test_it_pickles_by_reference_and_copies_as_a_function() -> None:
    module = sys.modules[__name__]
    original = positional
    wrapper = traced(original)
    module.positional = wrapper  # type: ignore[attr-defined]
    try:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(wrapper, protocol)) is wrapper
        assert copy.copy(wrapper) is wrapper
        assert copy.deepcopy(wrapper) is wrapper
    finally:
        module.positional = original  # type: ignore[attr-defined]


def test_weak_references_and_the_collector_reach_it() -> None:
    def make() -> Any:
        def target() -> None: ...

        wrapper = traced(target)
        target.cycle = wrapper  # type: ignore[attr-defined]
        return weakref.ref(wrapper)

    reference = make()
    gc.collect()
    assert reference() is None


class Shape:
    def method(self, by: int) -> tuple[Any, int]:
        return (self, by)

    @classmethod
    def of_class(cls) -> type:
        return cls

    @staticmethod
    def of_nobody(by: int) -> int:
        return by


class Square(Shape):
    pass


def test_methods_bind_as_they_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shape, "method", traced(Shape.__dict__["method"]))
    monkeypatch.setattr(Shape, "of_class", classmethod(traced(Shape.__dict__["of_class"].__func__)))
    monkeypatch.setattr(Shape, "of_nobody", staticmethod(traced(Shape.__dict__["of_nobody"].__func__)))
    square = Square()
    assert square.method(3) == (square, 3)
    assert Shape.method(square, 4) == (square, 4)
    bound = square.method
    assert bound.__self__ is square
    assert bound(5) == (square, 5)
    assert functools.partial(square.method, 6)() == (square, 6)
    assert Square.of_class() is Square
    assert square.of_class() is Square
    assert Square.of_nobody(7) == 7
    assert square.of_nobody(8) == 8
    assert inspect.ismethod(bound)
    assert edges(spans()) == {("method", None): 4, ("of_class", None): 2, ("of_nobody", None): 2}


def test_recursion_goes_as_deep_as_through_partial() -> None:
    def depth_of(wrap: Any) -> int:
        reached = 0

        def dive(level: int) -> None:
            nonlocal reached
            reached = max(reached, level)
            again(level + 1)

        again = wrap(dive)
        with pytest.raises(RecursionError):
            again(0)
        return reached

    through_partial = depth_of(functools.partial)
    through_hiq = depth_of(traced)
    assert through_hiq >= through_partial - 5
    assert len(spans()) >= through_hiq


def test_a_recursive_tree_is_the_one_that_ran() -> None:
    log = Log()

    def fib(n: int) -> int:
        with log.call("fib"):
            return n if n < 2 else again(n - 1) + again(n - 2)

    again = traced(fib)
    assert again(16) == 987
    assert edges(spans()) == log.counted()


def test_a_long_root_leaves_in_fragments_that_fit_together() -> None:
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
            for width in range(200):
                wide(width)

    traced(root)()
    finished = spans()
    assert len(finished) > 3 * 4096
    assert edges(finished) == log.counted()
    assert len({span["trace_id"] for span in finished}) == 1


def test_switched_off_it_passes_calls_through() -> None:
    wrapper = traced(positional)
    assert _hiq.unsubscribe(wrapper, None) == 0
    assert wrapper(1, b=2) == (1, 2)
    assert spans() == []
    _hiq.subscribe(wrapper, None)
    wrapper(1, 2)
    assert [span["name"] for span in spans()] == ["positional"]


def test_enabling_and_disabling_inside_a_call_leaves_no_span_open() -> None:
    def inner() -> None:
        _hiq.unsubscribe(wrapper, None)
        again()
        _hiq.subscribe(wrapper, None)

    def again() -> None:
        wrapper_of_leaf()

    def leaf() -> None: ...

    wrapper_of_leaf = traced(leaf)
    wrapper = traced(inner)
    wrapper()
    wrapper_of_leaf()
    assert edges(spans()) == {("leaf", "inner"): 1, ("inner", None): 1, ("leaf", None): 1}


def test_suppressed_calls_make_no_spans() -> None:
    wrapper = traced(positional)
    with _hiq.suppress():
        wrapper(1, 2)
    assert spans() == []


def test_site_attributes_stand_on_every_span() -> None:
    wrapper = traced(positional, **{"code.function.name": "m.positional", "retries": 3, "span.kind": "client"})
    wrapper(1, 2)
    wrapper(3, 4)
    found = spans()
    assert [span["attributes"] for span in found] == [{"code.function.name": "m.positional", "retries": 3}] * 2
    assert {span["kind"] for span in found} == {"client"}


@pytest.mark.parametrize(
    ("value", "recorded"),
    [
        (1, 1),
        (-(2**63), -(2**63)),
        (2**64, str(2**64)),
        (True, True),
        (1.5, 1.5),
        ("text", "text"),
        ("lone \ud800 surrogate", "lone \ufffd surrogate"),
        ("nul\0", "nul\0"),
        (b"raw", b"raw"),
        ([1, "a", [True]], [1, "a", [True]]),
        (None, None),
    ],
)
def test_attribute_values_arrive_as_they_are(value: Any, recorded: Any) -> None:
    with _hiq.trace("block", given=value) as span:
        span.set_attribute("set", value)
    (span,) = spans()
    assert span["attributes"] == {"given": recorded, "set": recorded}


def test_a_lone_surrogate_never_raises_into_the_program() -> None:
    with _hiq.trace("\ud800") as span:
        span.update_name("name \ud800").add_event("event \ud800", {"key \ud800": "\ud800"})
        span.set_attributes({"key \ud800": 1}).set_status("error", "message \ud800")
    (span,) = spans()
    assert (span["name"], span["status_message"]) == ("name \ufffd", "message \ufffd")
    assert span["attributes"] == {"key \ufffd": 1}
    (event,) = span["events"]
    assert (event["name"], event["attributes"]) == ("event \ufffd", {"key \ufffd": "\ufffd"})
    for wrong in (lambda: _hiq.current_span().update_name(1), lambda: _hiq.current_span().add_event(b"x")):
        with pytest.raises(TypeError):
            wrong()


def test_a_value_whose_repr_fails_or_calls_back_does_no_harm() -> None:
    wrapper = traced(positional)

    class Hostile:
        def __repr__(self) -> str:
            wrapper(1, 2)
            raise MemoryError("no repr")

    with _hiq.trace("block") as span:
        span.set_attribute("hostile", Hostile())
    found = spans()
    assert [span["name"] for span in found] == ["block"]
    assert "Hostile" in found[0]["attributes"]["hostile"]
