"""Work that is handed to a thread pool becomes a child of the span that handed it over."""

from __future__ import annotations

import functools
from typing import Any

from . import _hiq

__all__ = ["install", "remove"]


def install() -> None:
    """Makes `ThreadPoolExecutor.submit` capture the current place; `run_in_executor` and `to_thread` go through it.
    A second call changes nothing."""
    global _installed
    if _installed is not None:
        return
    from concurrent.futures import ThreadPoolExecutor

    before: Any = ThreadPoolExecutor.submit

    @functools.wraps(before)
    def submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        context = _hiq.capture()
        if not context:
            return before(self, fn, *args, **kwargs)
        return before(self, context.run, fn, *args, **kwargs)

    ThreadPoolExecutor.submit = submit  # type: ignore[method-assign]
    _installed = (submit, before)


def remove() -> None:
    """Puts the original back, unless somebody has replaced ours meanwhile."""
    global _installed
    if _installed is None:
        return
    from concurrent.futures import ThreadPoolExecutor

    ours, before = _installed
    if ThreadPoolExecutor.submit is ours:
        ThreadPoolExecutor.submit = before  # type: ignore[method-assign]
    _installed = None


_installed: tuple[Any, Any] | None = None
