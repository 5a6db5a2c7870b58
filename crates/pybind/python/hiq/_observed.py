"""Metrics that a callback of the program tells, and their threads: one that calls them, and one that watches.

They are told when somebody reads metrics. Nothing that callbacks do is recorded; one that fails, or takes long, is told
of once, and its metric is left out. One that does not return is not called again until it has; the others are.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from . import _hiq
from .tracing import say

__all__ = ["Callback", "Observed", "observe"]

# A number, or pairs of labels and number.
Callback = Callable[[], "float | Iterable[tuple[Mapping[str, Any], float]]"]

# As long as whoever reads waits, for all callbacks together.
_PATIENCE_SECONDS = 1.0


class Observed:
    """A metric whose numbers a callback tells whenever metrics are read."""

    __slots__ = ("_callback", "name")

    def __init__(self, name: str, callback: Callback) -> None:
        self.name = name
        self._callback = callback

    def stop(self) -> None:
        """The callback is not called any more, and its metric not shown."""
        with _lock:
            if _callbacks.get(self.name) is self._callback:
                del _callbacks[self.name]

    def __repr__(self) -> str:
        return f"<Observed {self.name!r}>"


def observe(kind: str, name: str, description: str, unit: str, callback: Callback, max_series: int | None) -> Observed:
    """Has `callback` called for the metric `name`, in the place of one that it had before."""
    if not callable(callback):
        raise TypeError(f"callback is something to call, not {type(callback).__name__}")
    _hiq.observe_metric(kind, name, description, unit, max_series)
    with _lock:
        _callbacks[name] = callback
    _start()
    return Observed(name, callback)


def _start() -> None:
    """Starts the first thread, unless it runs."""
    global _runs
    with _lock:
        if _runs:
            return
        try:
            _start_new_thread()(_run, ())
        except RuntimeError as error:
            say(f"callbacks of metrics are not called: {error}")
            return
        _runs = True
        _hiq.expect_rounds()


def _start_new_thread() -> Callable[..., Any]:
    """Python's own: a greenlet in its place would hold up all others."""
    gevent: Any = sys.modules.get("gevent.monkey")
    if gevent is not None:
        start: Callable[..., Any] = gevent.get_original("_thread", "start_new_thread")
        return start
    return _thread.start_new_thread


def _run() -> None:
    while True:
        task, late = _hiq.next_round()
        if task == "end":
            return
        if task == "tell":
            _say_late(late)
            continue
        # Without one that watches, tried again next time, a callback that does not return holds up the others.
        if not _hiq.is_watched():
            with contextlib.suppress(RuntimeError):
                _start_new_thread()(_run, ())
        try:
            # Without a lock, which may be a greenlet's.
            for name, callback in list(_callbacks.items()):
                if _hiq.begin_call(name):
                    try:
                        _call(name, callback)
                    finally:
                        _hiq.end_call(name)
        finally:
            _hiq.end_round()


def _call(name: str, callback: Callback) -> None:
    began = time.monotonic()
    try:
        with _hiq.suppress():
            _hiq.say_observed(name, callback())
    # Whatever it is, that of a cancelled future or of `sys.exit` too, it ends the callback alone.
    except BaseException as error:
        _say_once(name, f"the callback of the metric {name!r} failed: {_words_of(error)}")
    if time.monotonic() - began > _PATIENCE_SECONDS:
        _say_late(name)


def _words_of(error: BaseException) -> str:
    try:
        words = str(error)
    except BaseException:
        words = ""
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def _say_late(name: str) -> None:
    _say_once(
        name,
        f"the callback of the metric {name!r} takes over {_PATIENCE_SECONDS:.0f} s, which nobody waits for: "
        "the metric is left out until it returns",
    )


def _say_once(name: str, text: str) -> None:
    if (name, text) not in _said:
        _said.add((name, text))
        say(text)


def _start_in_child() -> None:
    global _lock, _runs
    _lock = threading.Lock()
    if _runs:
        _runs = False
        _hiq.forget_rounds()
        _start()


_lock = threading.Lock()
_callbacks: dict[str, Callback] = {}
_said: set[tuple[str, str]] = set()
_runs = False
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_in_child)
