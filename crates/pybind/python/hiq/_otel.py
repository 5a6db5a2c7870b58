"""Beside OpenTelemetry: its current span, and ours in its context.

Loaded by the native half, and only where the program has imported OpenTelemetry's API itself.
"""

from __future__ import annotations

import sys
from typing import Any

from . import _hiq

__all__ = ["HiqSpan", "current", "enter", "leave", "resume", "suspend"]

_trace: Any = sys.modules["opentelemetry.trace"]
_context: Any = sys.modules["opentelemetry.context"]
_NonRecordingSpan: Any = _trace.NonRecordingSpan


class HiqSpan(_NonRecordingSpan):  # type: ignore[misc]
    """The innermost open span of hiq, as OpenTelemetry sees it: something to hang spans under and to write to."""

    def __init__(self, place: Any, before: Any) -> None:
        super().__init__(place)
        # OpenTelemetry's context without us.
        self.before = before
        self.is_left_behind = False

    def get_span_context(self) -> Any:
        if self.is_left_behind:
            return _trace.get_current_span(self.before).get_span_context()
        root = super().get_span_context()
        innermost = _hiq.innermost_span_id(root.span_id)
        if innermost is None or innermost == root.span_id:
            return root
        return _trace.SpanContext(root.trace_id, innermost, root.is_remote, root.trace_flags, root.trace_state)

    def is_recording(self) -> bool:
        return self._open_span() is not None

    def set_attribute(self, key: str, value: Any) -> None:
        if span := self._open_span():
            span.set_attribute(key, value)

    def set_attributes(self, attributes: Any) -> None:
        if span := self._open_span():
            span.set_attributes(dict(attributes))

    def add_event(self, name: str, attributes: Any = None, timestamp: int | None = None) -> None:
        if span := self._open_span():
            span.add_event(name, dict(attributes or {}))

    def record_exception(
        self, exception: BaseException, attributes: Any = None, timestamp: int | None = None, escaped: bool = False
    ) -> None:
        if span := self._open_span():
            span.record_exception(exception, dict(attributes or {}))

    def set_status(self, status: Any, description: str | None = None) -> None:
        if span := self._open_span():
            # A Status, or its code and the text.
            code = getattr(status, "status_code", status)
            text = getattr(status, "description", None) or description or ""
            span.set_status(code.name.lower(), text)

    def update_name(self, name: str) -> None:
        if span := self._open_span():
            span.update_name(name)

    def _open_span(self) -> _hiq.Span | None:
        """hiq's innermost span, where it is one of ours: in another thread it may be of another trace."""
        if self.is_left_behind or _hiq.innermost_span_id(super().get_span_context().span_id) is None:
            return None
        return _hiq.current_span()


class Entered:
    """A place of ours in OpenTelemetry's context."""

    __slots__ = ("context", "span")

    def __init__(self, span: HiqSpan) -> None:
        self.span = span
        self.context: Any = None

    def put(self) -> None:
        before = _context.get_current()
        current = _trace.get_current_span(before)
        if isinstance(current, HiqSpan) and current.is_left_behind:
            # Not one more for each request.
            before = _trace.set_span_in_context(_trace.get_current_span(current.before), before)
        self.span.before = before
        self.context = _trace.set_span_in_context(self.span, self.span.before)
        # No token is kept: what is taken back is taken back where it is found, in whichever task that is.
        _context.attach(self.context)

    def take_away(self) -> bool:
        """False where something else was put over it."""
        if self.context is None:
            return True
        if _context.get_current() is not self.context:
            return False
        _context.attach(self.span.before)
        self.context = None
        return True


def current() -> tuple[int, int, int, str, bool, bool] | None:
    """OpenTelemetry's current span, if it is valid: trace id, span id, flags, trace state, whether it is of another
    process, whether it is ours."""
    span = _trace.get_current_span()
    place = span.get_span_context()
    if not place.is_valid:
        return None
    state = place.trace_state.to_header() if place.trace_state else ""
    is_ours = isinstance(span, HiqSpan) and not span.is_left_behind
    return place.trace_id, place.span_id, int(place.trace_flags), state, place.is_remote, is_ours


def enter(trace_id: int, span_id: int, flags: int, trace_state: str, is_remote: bool) -> Entered:
    """Makes this span the current one of OpenTelemetry."""
    state = _trace.TraceState.from_header([trace_state]) if trace_state else None
    place = _trace.SpanContext(trace_id, span_id, is_remote, _trace.TraceFlags(flags), state)
    entered = Entered(HiqSpan(place, None))
    entered.put()
    return entered


def leave(entered: Entered) -> None:
    """The span has ended."""
    if not entered.take_away():
        # Somebody goes on with a span that was begun inside, and falls back on ours when that ends: it answers as what
        # was current before it.
        entered.span.is_left_behind = True


def suspend(entered: Entered) -> None:
    """Others run, until the next step. What was put over our place stays: it is between two steps of its owner."""
    entered.take_away()


def resume(entered: Entered) -> None:
    """The next step begins."""
    if entered.context is None:
        entered.put()
