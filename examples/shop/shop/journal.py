"""A debugging journal: one JSON line per call of the functions worth watching.

It is off, and costs next to nothing, unless ``SHOP_JOURNAL`` names the file to write.
The README beside the package explains the fields of a line.

A function of the shop opens its entry in its own body (``inside``); a call into the standard
library is wrapped where it is made (``around``). A generator says when it is not running
(``paused``), so that its consumer's calls are not taken for its own.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import json
import os
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

P = ParamSpec("P")
R = TypeVar("R")


class Entry:
    """A call being journaled; this base is the one used while the journal is off."""

    __slots__ = ()

    def paused(self) -> Pause:
        """Cover a ``yield`` with this: what runs meanwhile is not part of the call."""
        return _NO_PAUSE

    def __enter__(self) -> Entry:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the call; an exception goes on untouched."""


class Pause:
    """The time a generator spends suspended; this base is the one used while the journal is off."""

    __slots__ = ()

    def __enter__(self) -> None:
        """Suspend."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Resume; an exception thrown into the generator goes on untouched."""


def inside(function: str, *, request: int | None = None) -> Entry:
    """Journal the body of ``function`` (``module.Class.function``), on behalf of ``request``."""
    return _NO_ENTRY if _WRITER is None else _Written(_WRITER, function, "inside", request)


def around(function: str) -> Entry:
    """Journal a call of somebody else's ``function`` at the place it is made."""
    return _NO_ENTRY if _WRITER is None else _Written(_WRITER, function, "around", None)


def carry(function: Callable[P, R]) -> Callable[P, R]:
    """Let ``function``, about to be handed to a thread pool, remember who handed it over."""
    if _WRITER is None:
        return function
    submitter = _current.get()

    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        _current.set(submitter)
        try:
            return function(*args, **kwargs)
        finally:
            _current.set(None)

    return carried


class _Written(Entry):
    """A call that will become one line of the journal."""

    __slots__ = (
        "_enter_unix_nanos",
        "_function",
        "_outer",
        "_parent",
        "_request",
        "_side",
        "_writer",
        "id",
    )

    def __init__(self, writer: _Writer, function: str, side: str, request: int | None) -> None:
        self._writer = writer
        self._function = function
        self._side = side
        self._request = request

    def paused(self) -> Pause:
        return _WrittenPause(self)

    def __enter__(self) -> Entry:
        self._parent = _current.get()
        if self._request is None and self._parent is not None:
            self._request = self._parent._request
        self.id = next(_IDS)
        self.resume()
        self._enter_unix_nanos = time.time_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        exit_unix_nanos = time.time_ns()
        self.suspend()
        self._writer.write(self._line(exit_unix_nanos, error))

    def resume(self) -> None:
        # By value, not by token: a generator may be resumed or closed in another context.
        self._outer = _current.get()
        _current.set(self)

    def suspend(self) -> None:
        _current.set(self._outer)

    def _line(self, exit_unix_nanos: int, error: BaseException | None) -> dict[str, object]:
        raised = error is not None and not isinstance(error, GeneratorExit)
        return {
            "function": self._function,
            "id": self.id,
            "parent": None if self._parent is None else self._parent.id,
            "request": self._request,
            "side": self._side,
            "enter_unix_nanos": self._enter_unix_nanos,
            "exit_unix_nanos": exit_unix_nanos,
            "outcome": "raised" if raised else "returned" if error is None else "closed",
            "error_type": _type_name(error) if raised else None,
            "error_text": str(error) if raised else None,
            "pid": os.getpid(),
            "thread_id": threading.get_ident(),
            "thread_name": threading.current_thread().name,
            "task": _task_name(),
        }


class _WrittenPause(Pause):
    __slots__ = ("_entry",)

    def __init__(self, entry: _Written) -> None:
        self._entry = entry

    def __enter__(self) -> None:
        self._entry.suspend()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._entry.resume()


class _Writer:
    """Writes lines to one file, from any thread, until the interpreter ends."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115 - open until the end
        self._lock = threading.Lock()
        # Not json.dumps: it is one of the watched functions, and would be seen calling itself.
        self._encode = json.JSONEncoder(separators=(",", ":")).encode
        atexit.register(self._close)

    def write(self, line: dict[str, object]) -> None:
        text = self._encode(line) + "\n"
        with self._lock:
            self._file.write(text)

    def _close(self) -> None:
        with self._lock:
            self._file.close()


def _type_name(error: BaseException | None) -> str:
    kind = type(error)
    in_front = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return in_front + kind.__qualname__


def _task_name() -> str | None:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return None
    return None if task is None else task.get_name()


_IDS = itertools.count(1)
_NO_ENTRY = Entry()
_NO_PAUSE = Pause()
_current: ContextVar[_Written | None] = ContextVar("shop_journal_current", default=None)
_path = os.environ.get("SHOP_JOURNAL")
_WRITER = _Writer(_path) if _path else None
