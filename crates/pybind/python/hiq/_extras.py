"""The extra metrics: bytes through files, descriptors and `requests`, counted while a driver asks for them."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from . import constants as c

__all__ = ["COUNTERS", "Counter", "counted", "metrics_of_tables"]


class Counter:
    """Bytes since the first driver asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def add(self, count: int) -> None:
        with self._lock:
            self.value += count


COUNTERS = {name: Counter() for name in ("dio_r", "dio_w", "sio_r", "sio_w", "nio_r", "nio_w")}

_METRIC_OF_TAG = {
    c.HIQ_FUNC_DIO_RD: "dio_r",
    c.HIQ_FUNC_DIO_WT: "dio_w",
    c.HIQ_FUNC_SIO_RD: "sio_r",
    c.HIQ_FUNC_SIO_WT: "sio_w",
    c.HIQ_FUNC_NIO_GET: "nio_r",
    c.HIQ_FUNC_NIO_POS: "nio_w",
    c.HIQ_FUNC_NIO_WRT: "nio_w",
}
_TABLES = [
    c.TAU_TABLE_DIO_RD,
    c.TAU_TABLE_DIO_WT,
    c.HIQ_TABLE_SIO_RD,
    c.HIQ_TABLE_SIO_WT,
    c.TAU_TABLE_NIO_GET,
    c.TAU_TABLE_NIO_POS,
    c.TAU_TABLE_NIO_WRT,
]


def metrics_of_tables(rows: Sequence[Any]) -> list[str]:
    """The counters that these extra rows ask for, each once."""
    tags = [table[3] for table in _TABLES if any(list(row) == table for row in rows)]
    return list(dict.fromkeys(_METRIC_OF_TAG[tag] for tag in tags))


def counted(module: str, class_name: str, function: str, name: str) -> Callable[[Any], Any] | None:
    """What makes the target of this row count its bytes, if the row is one of the tables'."""
    tag = name.removeprefix(c.HIQ_FUNC_PREFIX)
    if [module, class_name, function, tag] not in _TABLES:
        return None
    counter, size = COUNTERS[_METRIC_OF_TAG[tag]], _SIZES[tag]

    def counting(target: Any) -> Any:
        @functools.wraps(target)
        def call(*args: Any, **kwargs: Any) -> Any:
            result = target(*args, **kwargs)
            try:
                count = size(args, kwargs, result)
            except Exception:  # An unusual answer is not counted; the program gets it all the same.
                return result
            counter.add(count)
            return result

        return call

    return counting


def _text_read(args: Any, _kwargs: Any, text: str) -> int:
    return _encoded_bytes(args[0], text)


def _text_written(args: Any, _kwargs: Any, _count: int) -> int:
    return _encoded_bytes(args[0], args[1])


def _encoded_bytes(file: Any, text: str) -> int:
    wide = file.encoding.lower().replace("_", "-").startswith(("utf-16", "utf16", "utf-32", "utf32"))
    if text.isascii() and not wide:
        return len(text)
    return len(text.encode(file.encoding, file.errors or "strict"))


def _received(_args: Any, _kwargs: Any, answer: Any) -> int:
    return sum(_body_received(hop) for hop in [*answer.history, answer])


def _body_received(answer: Any) -> int:
    # Reading the body of a streamed answer would take it away from the program.
    if answer._content_consumed:
        return len(answer.content)
    return int(answer.headers.get("Content-Length") or 0)


def _sent(_args: Any, _kwargs: Any, answer: Any) -> int:
    return sum(_body_sent(hop.request) for hop in [*answer.history, answer])


def _body_sent(request: Any) -> int:
    body = request.body
    if isinstance(body, str):
        return len(body.encode())
    if isinstance(body, (bytes, bytearray)):
        return len(body)
    return int(request.headers.get("Content-Length") or 0)


_SIZES: dict[str, Callable[[Any, Any, Any], int]] = {
    c.HIQ_FUNC_DIO_RD: _text_read,
    c.HIQ_FUNC_DIO_WT: _text_written,
    c.HIQ_FUNC_SIO_RD: lambda _args, _kwargs, data: len(data),
    c.HIQ_FUNC_SIO_WT: lambda _args, _kwargs, count: int(count),
    c.HIQ_FUNC_NIO_GET: _received,
    c.HIQ_FUNC_NIO_POS: _sent,
    c.HIQ_FUNC_NIO_WRT: _sent,
}
