"""Child processes made by `multiprocessing`: their spans leave before they end, and spawned ones are traced as well.

A forked child has everything already, but ends without running exit handlers: a finalizer of `multiprocessing`
flushes. A process that is terminated (a service by its supervisor, a child by `Process.terminate`, or with its pool at
the end of `with Pool()`) runs nothing of Python any more: it gets up to a second to send what was finished
(`_hiq.send_before_termination`). One that is killed (SIGKILL) loses what it has not sent, as any killed process does.

A spawned child begins anew: what `hiq run` needs there travels in the preparation data that the parent sends, and takes
effect before the child imports the main module. Children that are not made by `multiprocessing` (subprocesses) are
other programs, and are run under hiq by their own command line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from . import _hiq

__all__ = ["carry_over", "install"]

# After the program's own finalizers, which may still record.
_LAST = -1000
_PREPARATION_KEY = "hiq"
# Between a program's own processes, whatever it speaks to others.
_OURS = "tracecontext,baggage"


def install() -> None:
    """Makes children flush at their end, however it comes. A second call changes nothing."""
    global _installed
    if _installed:
        return
    _installed = True
    os.register_at_fork(after_in_child=_register_flush)
    _register_flush()


def carry_over(restart: Callable[..., None], *arguments: Any) -> None:
    """Lets spawned children call `restart(*arguments)`, both picklable by name, before anything else of the program."""
    global _restart
    is_first = _restart is None
    _restart = _Restart(restart, arguments)
    if not is_first:
        return
    if "multiprocessing.spawn" in sys.modules:
        _send_with_preparation("multiprocessing.spawn", sys.modules["multiprocessing.spawn"])
    else:
        from ._imports import ModuleWatch

        ModuleWatch(frozenset({"multiprocessing.spawn"}), _send_with_preparation).install()


class _Restart:
    """Calls a function when it is unpickled, which is where the child begins."""

    def __init__(self, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._function = function
        self._arguments = arguments

    def __reduce__(self) -> Any:
        return _call, (self._function, self._arguments, _hiq.inject(propagators=_OURS))


def _call(function: Callable[..., None], arguments: tuple[Any, ...], headers: dict[str, str]) -> None:
    function(*arguments)
    # As a forked child, which hangs its spans under the one that was open.
    context = _hiq.extract(headers, _OURS)
    if context is not None:
        _hiq.attach(context)


def _send_with_preparation(_name: str, spawn: Any) -> None:
    before = spawn.get_preparation_data

    def get_preparation_data(name: str) -> Any:
        return {**before(name), _PREPARATION_KEY: _restart}

    spawn.get_preparation_data = get_preparation_data


def _register_flush() -> None:
    _hiq.send_before_termination()
    util = sys.modules.get("multiprocessing.util")
    if util is None:
        return
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        # Begun inside a child that is already under way.
        _finalize()
    # A child throws the finalizers that it finds away, then asks these.
    util.register_after_fork(_anchor, _finalize)


def _finalize(*_anchor: object) -> None:
    from multiprocessing import util

    util.Finalize(None, _hiq.shutdown, exitpriority=_LAST)


class _Anchor:
    """What `multiprocessing` keeps a weak reference to."""


_anchor = _Anchor()
_installed = False
_restart: _Restart | None = None
