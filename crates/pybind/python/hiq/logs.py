"""Trace and span ids on `logging` records, under the names that OpenTelemetry's own integration uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _hiq

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

__all__ = ["install_log_ids", "remove_log_ids"]


def install_log_ids() -> None:
    """From now on records have `otelTraceID` and `otelSpanID` (hex digits, `0` outside any span) and
    `otelTraceSampled`, for formats such as `%(otelTraceID)s`. A second call changes nothing."""
    import logging

    global _factory, _before
    if _factory is not None and logging.getLogRecordFactory() is _factory:
        return
    before = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        ids = _hiq.current_trace_ids()
        record.otelTraceID, record.otelSpanID = ids or ("0", "0")
        record.otelTraceSampled = ids is not None
        return record

    _factory, _before = factory, before
    logging.setLogRecordFactory(factory)


def remove_log_ids() -> None:
    """Takes the attributes away again, unless somebody has set another factory meanwhile."""
    import logging

    global _factory, _before
    if _factory is not None and _before is not None and logging.getLogRecordFactory() is _factory:
        logging.setLogRecordFactory(_before)
    _factory = _before = None


_factory: Callable[..., logging.LogRecord] | None = None
_before: Callable[..., logging.LogRecord] | None = None
