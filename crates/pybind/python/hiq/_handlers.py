"""The one thread in which the program's handlers are called: those of the log of calls, and of trees that are sent.

It takes finished calls from the native queue. Nothing that handlers do is recorded, and a handler that fails is told of
once.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from typing import Any

from . import _hiq
from .tracing import say

__all__ = ["start"]

# As long as flushing may take at exit.
_SECONDS_AT_EXIT = 5.0


def start() -> None:
    """Starts the thread, unless it runs."""
    global _thread
    with _lock:
        if _thread is None:
            _thread = threading.Thread(target=_run, name="hiq-handlers", daemon=True)
            _thread.start()


def _run() -> None:
    while True:
        told, trees = _hiq.next_told()
        with _hiq.suppress():
            try:
                told(trees)
            except Exception as error:
                _say_once(told, error)
        del told, trees


def _say_once(told: Callable[..., Any], error: Exception) -> None:
    text = f"{type(error).__name__}: {error}"
    key = (getattr(told, "__qualname__", ""), text)
    if key not in _said:
        _said.add(key)
        say(f"a handler of the log of calls failed: {text}")


def _at_exit() -> None:
    if _thread is None:
        return
    _hiq.evict_all()
    missed = _hiq.wait_until_told(_SECONDS_AT_EXIT)
    if missed:
        say(f"the log of calls lacks {missed} spans: its handlers were too slow")


def _start_in_child() -> None:
    global _lock, _thread
    _lock = threading.Lock()
    if _thread is not None:
        _thread = None
        start()


_lock = threading.Lock()
_thread: threading.Thread | None = None
_said: set[tuple[str, str]] = set()
atexit.register(_at_exit)
os.register_at_fork(after_in_child=_start_in_child)
