"""What `help` says of the modern face, and what it is like in the hand."""

from __future__ import annotations

import inspect
import pydoc
from typing import Any

import hiq
import pytest
from hiq import _hiq

CALLER = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"


FUNCTIONS = sorted(name for name in hiq.__all__ if name.islower() and callable(getattr(hiq, name)))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_of_the_package_says_what_it_does(name: str) -> None:
    value = getattr(hiq, name)
    assert len((value.__doc__ or "").strip()) > 20
    assert name in pydoc.render_doc(value, renderer=pydoc.plaintext)


@pytest.mark.parametrize(
    "name",
    ["set_attribute", "set_attributes", "add_event", "record_exception", "set_status", "update_name", "add_link"],
)
def test_every_method_of_a_span_says_what_it_does(name: str) -> None:
    assert (getattr(_hiq.Span, name).__doc__ or "").strip()


def test_every_property_of_a_span_says_what_it_is() -> None:
    for name in ("is_recording", "name", "trace_id", "span_id"):
        assert (getattr(_hiq.Span, name).__doc__ or "").strip(), name


def test_the_help_of_trace_shows_its_arguments_and_its_forms() -> None:
    assert str(inspect.signature(hiq.trace)) == "(name=None, /, *, kind='internal', **attributes)"
    shown = pydoc.render_doc(hiq.trace, renderer=pydoc.plaintext)
    for form in ("with hiq.trace('charge', amount=3) as span:", "@hiq.trace", "An exception"):
        assert form in shown


# --- attach and detach ------------------------------------------------------------------------------


def parent_of(name: str, work: Any) -> Any:
    _hiq.memory_spans(clear=True)
    work()
    assert _hiq.flush(60)
    (span,) = (span for span in _hiq.memory_spans(clear=True) if span["name"] == name)
    return span["parent_span_id"]


def record() -> None:
    with hiq.trace("inside"):
        pass


def test_an_attached_context_holds_for_a_with_block(memory: None) -> None:
    context = hiq.extract({"traceparent": CALLER})
    with hiq.attach(context) as token:
        assert isinstance(token, _hiq.Token)
        assert parent_of("inside", record) == "2" * 16
    assert parent_of("inside", record) is None


def test_an_exception_goes_through_the_block_and_detaches(memory: None) -> None:
    with pytest.raises(KeyError), hiq.attach(hiq.extract({"traceparent": CALLER})):
        raise KeyError
    assert hiq.current_context() is None


def test_detach_takes_back_once_and_in_the_order_of_blocks(memory: None) -> None:
    token = hiq.attach(hiq.extract({"traceparent": CALLER}))
    assert hiq.current_context() is not None
    hiq.detach(token)
    assert hiq.current_context() is None
    with hiq.attach(hiq.extract({"traceparent": CALLER})):
        hiq.detach(token)
        hiq.detach(None)
        assert hiq.current_context() is not None
    assert hiq.current_context() is None


def test_detach_refuses_what_attach_did_not_give() -> None:
    with pytest.raises(TypeError, match=r"detach\(\) takes what attach\(\) gave, not int"):
        hiq.detach(3)  # type: ignore[arg-type]


# --- trace above descriptors ------------------------------------------------------------------------


def test_trace_may_stand_above_class_and_static_methods(memory: None) -> None:
    class Cart:
        @hiq.trace
        @classmethod
        def load(cls, x: int) -> tuple[str, int]:
            return cls.__name__, x

        @hiq.trace("made")
        @classmethod
        def make(cls, x: int) -> tuple[str, int]:
            return cls.__name__, x

        @hiq.trace
        @staticmethod
        def empty(x: int) -> int:
            return x

    class Basket(Cart):
        pass

    assert (Cart.load(1), Basket.load(2), Cart().make(3), Cart.empty(4)) == (
        ("Cart", 1), ("Basket", 2), ("Cart", 3), 4,
    )  # fmt: skip
    assert _hiq.flush(60)
    ends = [span["name"].rpartition(".")[2] for span in _hiq.memory_spans(clear=True)]
    assert ends == ["load", "load", "made", "empty"]


def test_trace_above_a_property_is_refused_by_its_name() -> None:
    with pytest.raises(TypeError, match="trace\\(\\) takes a name or a function, not property"):
        hiq.trace(property(lambda self: 1))
