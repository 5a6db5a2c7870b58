"""HiQ's log of calls: with `LMK=1`, a line for each start and end of a traced call.

The lines of a call are written when its outermost call has ended, by a thread of their own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from .constants import EXTRA_END_TIME_KEY, EXTRA_START_TIME_KEY, KEY_EXC_SUM, KEY_EXC_TRA
from .utils import get_env_bool, lmk_data_handler, ts_to_dt

__all__ = ["LogMonkeyKing"]

_SIZE_OF_FILE = "500 MB"
# What a call leaves in its node when it ends; the rest was there when it began.
_OF_THE_END = (KEY_EXC_SUM, KEY_EXC_TRA, EXTRA_END_TIME_KEY)


class LogMonkeyKing:
    """Writes the log of calls of a driver.

    `lmk_handler(data=..., pid=...)` makes the line of a message `{id_, name, value, extra, is_start}`;
    `lmk_logger.info` takes it, else it is printed. `lmk_path` is a file for loggers that have an `add`, as
    loguru's has.
    """

    def __init__(
        self,
        lmk_path: str | None = None,
        lmk_handler: Callable[..., Any] | None = None,
        lmk_logger: Any = None,
        *_args: Any,
        **_kwargs: Any,
    ) -> None:
        self.summon_log_monkey_king = get_env_bool("LMK")
        # HiQ's process and its queue; here it is a thread that all drivers share.
        self.queue_lmk: Any = None
        self.consumer: Any = None
        if self.summon_log_monkey_king and lmk_path and hasattr(lmk_logger, "add"):
            lmk_logger.add(lmk_path, rotation=_SIZE_OF_FILE)

    @staticmethod
    def log(
        id_: str, name: str, value: float, extra: dict[str, Any], is_start: bool = True, to_stdio: bool = True
    ) -> None:
        """Prints one line; the moment is the extra `start` or `end`, where there is one, else now."""
        if not to_stdio:
            return
        import time

        key = EXTRA_START_TIME_KEY if is_start else EXTRA_END_TIME_KEY
        rest = {name: value for name, value in extra.items() if name != key}
        shown: Any = value if key in extra or "time" not in id_ else ""
        monkey = "🐵" if is_start else "🙈"
        name = name.removeprefix("__")
        moment = ts_to_dt(extra.get(key, time.time()))
        print(f"{moment} - [{id_}] [🆔 {os.getpid()}] {monkey} [{name}] {shown} {rest or ''}")


class CallLog:
    """Turns the trees of one call into lines."""

    def __init__(self, handler: Callable[..., Any] | None, logger: Any) -> None:
        self._handler = handler or lmk_data_handler
        self._logger = logger

    def __call__(self, trees: list[Any]) -> None:
        pid = os.getpid()
        for message in _messages(trees):
            line = self._handler(data=message, pid=pid)
            if self._logger:
                self._logger.info(line)
            else:
                print(line)


def _messages(trees: list[Any]) -> Iterator[dict[str, Any]]:
    """The starts and ends, in the order in which they happened; at each, one message for each metric."""
    names = [tree.tid for tree in trees]
    # The trees have the same nodes in the same places.
    open_: list[tuple[Any, bool]] = _reversed([tree.get_root() for tree in trees])
    while open_:
        nodes, is_start = open_.pop()
        for name, node in zip(names, nodes, strict=True):
            extra = {key: value for key, value in node.extra.items() if (key not in _OF_THE_END) is is_start}
            value = node.start if is_start else node.end
            yield {"id_": name, "name": node.name, "value": value, "extra": extra, "is_start": is_start}
        if is_start:
            open_.append((nodes, False))
            open_.extend(_reversed(nodes))


def _reversed(parents: Any) -> list[tuple[Any, bool]]:
    children = zip(*(parent.nodes for parent in parents), strict=True)
    return [(nodes, True) for nodes in reversed(list(children))]
