"""Work that is handed to a thread pool, or enters a copied context, becomes a child of the span that handed it over."""

from __future__ import annotations

import functools
from typing import Any

from . import _hiq
from ._imports import loaded_namespaces

__all__ = ["install", "remove"]


def install() -> None:
    """Makes `ThreadPoolExecutor.submit` and `contextvars.copy_context` capture the current place; `run_in_executor`,
    `to_thread` and anyio's threads go through them. A second call changes nothing."""
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
    _installed = (submit, before, _hook_copies())


def remove() -> None:
    """Puts the originals back, unless somebody has replaced ours meanwhile."""
    global _installed
    if _installed is None:
        return
    from concurrent.futures import ThreadPoolExecutor

    ours, before, copy_before = _installed
    if ThreadPoolExecutor.submit is ours:
        ThreadPoolExecutor.submit = before  # type: ignore[method-assign]
    _exchange_copies(_hiq._copy_context, copy_before)
    _installed = None


def _hook_copies() -> Any:
    """Puts ours in the place of `copy_context`. Returns the original."""
    # Not `contextvars`: as long as nobody has imported that, roots need not look for what was put back there.
    import _contextvars

    before: Any = _contextvars.copy_context
    _exchange_copies(before, _hiq._copy_context)
    return before


def _exchange_copies(old: Any, new: Any) -> None:
    """Also in modules that have imported it: what imports `contextvars` later takes it from `_contextvars`."""
    for _, namespace in loaded_namespaces():
        if namespace.get("copy_context") is old:
            namespace["copy_context"] = new


_installed: tuple[Any, Any, Any] | None = None
