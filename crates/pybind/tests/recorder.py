"""What the recorder's tests share: a memory exporter, and a program's own log to hold its spans against."""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from hiq import _hiq

Edge = tuple[str, str | None]


class Log:
    """The traced program's own record of its calls: (name, name of the caller), kept without hiq."""

    def __init__(self) -> None:
        self.edges: list[Edge] = []
        self._current: ContextVar[str | None] = ContextVar("log", default=None)

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        self.edges.append((name, self._current.get()))
        token = self._current.set(name)
        try:
            yield
        finally:
            self._current.reset(token)

    def counted(self) -> Counter[Edge]:
        return Counter(self.edges)


def traced(func: Any, name: str | None = None, kind: str = "function", **attributes: Any) -> Any:
    """A wrapper that records for the pipeline."""
    wrapper = _hiq.traced(func, name or func.__name__, kind, attributes or None)
    _hiq.subscribe(wrapper, None)
    return wrapper


def spans() -> list[dict[str, Any]]:
    """The finished spans since the last call; the ledger must balance."""
    assert _hiq.flush(60)
    check_ledger()
    return _hiq.memory_spans(clear=True)


def check_ledger() -> None:
    for row in _hiq.stats().values():
        terms = ("exported", "sent_unconfirmed", "rejected", "queued", "in_flight", "spooled")
        settled = sum(row[term] for term in terms) + sum(row["dropped"].values())
        assert row["offered"] + row["recovered"] == settled, row


def edges(finished: list[dict[str, Any]]) -> Counter[Edge]:
    """(name, name of the parent) of each span; ids must be unique and every parent must be there."""
    names = {span["span_id"]: span["name"] for span in finished}
    assert len(names) == len(finished), "span ids repeat"
    parents = [span["parent_span_id"] for span in finished]
    return Counter(
        (span["name"], names[parent] if parent else None) for span, parent in zip(finished, parents, strict=True)
    )


@types.coroutine
def waits() -> Iterator[None]:
    """Suspends whoever awaits it, once."""
    yield


def runs(awaitable: Any) -> Any:
    """Drives work to its end by hand, without an event loop."""
    while True:
        try:
            awaitable.send(None)
        except StopIteration as stopped:
            return stopped.value


def was_always_active(span: dict[str, Any]) -> bool:
    """Ticks become nanoseconds one at a time: the last digit may differ."""
    return abs(span["attributes"]["hiq.active_ns"] - (span["end_unix_nanos"] - span["start_unix_nanos"])) <= 1
