"""What drivers need of the native module and of the environment."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from . import _hiq, _redact, jack, memory
from ._extras import COUNTERS
from .constants import KEY_LATENCY, ExtraMetrics
from .hiq_utils import arguments_text, func_args_handler, get_tau_id
from .monkeyking import CallLog
from .tracing import say

if TYPE_CHECKING:
    from ._rows import Row
    from ._targets import Instrumentation
    from .base import HiQBase

__all__: list[str] = []

MetricKind = Literal["time", "level", "delta", "counter"]

_MEMORY_UNITS = {
    memory.get_memory_gb: "GiBy",
    memory.get_memory_mb: "MiBy",
    memory.get_memory_kb: "KiBy",
    memory.get_memory_b: "By",
    memory.get_system_memory_usage: "By",
    memory.get_system_peak_memory: "By",
    memory.total_gpu_memory_mb: "MiBy",
}
_ALIASES_NAMED = 5


def native(driver: HiQBase, *, verbose: bool, fast_fail: bool) -> _hiq.Driver:
    """The recorder's side of a driver."""
    return _hiq.Driver(
        metrics=[_metric(func) for func in driver.metric_funcs],
        # HiQ's default gives None for every call: not asking is the same and costs nothing.
        id_func=None if driver.get_tau_id is get_tau_id else driver.get_tau_id,
        args_handler=_args_handler(driver.get_func_args),
        fast_fail=fast_fail,
        verbose=verbose,
        max_keys=driver.max_hiq_size,
    )


def _args_handler(handler: Callable[..., Any]) -> Callable[..., Any]:
    """What the recorder calls with arguments, the target's name, and the function that knows their names."""
    if handler is func_args_handler:
        return arguments_text
    return lambda arguments, name, _function: handler(arguments, name)


def instrumentation(driver: HiQBase) -> Instrumentation:
    """The driver's targets; rows that cannot be traced are told of as HiQ does."""
    from ._targets import Instrumentation

    def say(row: Row, reason: str) -> None:
        place = f" [{row.place}]" if row.place else ""
        print(f"🦉 {row.title} is not traced({reason}){place}")

    return Instrumentation(driver._native, say)


def follow(driver: HiQBase, lmk_handler: Any, lmk_logger: Any) -> None:
    """Writes the log of calls, and sends trees, where the environment asked for it."""
    on_call = on_eviction = None
    if driver.summon_log_monkey_king:
        on_call = CallLog(lmk_handler, lmk_logger)
    if driver.invite_jack:
        on_eviction = jack.send
    if on_call or on_eviction:
        from . import _handlers

        driver._native.follow(on_call=on_call, on_eviction=on_eviction)
        _handlers.start()


def read_environment(driver: HiQBase) -> None:
    """Settings that HiQ looks up at each call; here they count from the next enabling on."""
    _redact.read_environment()
    chosen = driver.extra_metrics
    driver._native.record_args = ExtraMetrics.ARGS in chosen
    driver._native.record_file = ExtraMetrics.FILE in chosen or bool(os.environ.get("LOG_MONKEY_FILE"))
    driver._native.record_func = ExtraMetrics.FUNC in chosen


def follow_trace_type() -> None:
    """HiQ's `TRACE_TYPE`: where else calls go."""
    if os.environ.get("TRACE_TYPE") == "prometheus":
        from . import prometheus

        prometheus.follow()


def tell_of_aliases(instrumentation: Instrumentation) -> None:
    """Names the modules whose calls are not traced because they took the original by name before."""
    for function, modules in instrumentation.aliases().items():
        named = ", ".join(modules[:_ALIASES_NAMED])
        more = f" and {len(modules) - _ALIASES_NAMED} more" if len(modules) > _ALIASES_NAMED else ""
        where = f"{function} is not traced where it is called from {named}{more}"
        say(f"{where}: imported there by name before tracing began")


def metric_name(func: Callable[[], Any]) -> str:
    """The key (k1) of a metric function's trees."""
    return str(getattr(func, "__name__", type(func).__name__))


def counting_metric(name: str, before: int) -> Callable[[], float]:
    """A metric of the bytes counted since `before`, named as HiQ names it."""
    counter = COUNTERS[name]

    def count() -> float:
        return counter.value - before

    count.__name__ = f"get_{name[:-2]}_bytes_{name[-1]}"
    count.__qualname__ = count.__name__
    return count


def kind_of(f: Callable[..., Any]) -> Any:
    """What a call of `f` returns."""
    from ._resolve import kind_of

    return kind_of(f)


def node_extra(driver: HiQBase, f_name: str, args: Any, kwargs: Any) -> dict[str, Any]:
    """The extras of a span that is started by hand."""
    extra: dict[str, Any] = {}
    if driver._native.record_args:
        if args:
            extra["args"] = driver.get_func_args(args, f_name)
        if kwargs:
            extra["kwargs"] = driver.get_func_args(kwargs, f_name)
    # This function, pre_processing, and then who called that.
    caller = sys._getframe(2)
    if driver._native.record_file:
        extra["file"] = f"{os.path.abspath(caller.f_code.co_filename)}:{caller.f_lineno}"
    if driver._native.record_func:
        extra["function"] = caller.f_code.co_name
    return extra


def _metric(func: Callable[[], float]) -> tuple[str, str, MetricKind, Callable[[], float] | None]:
    name = metric_name(func)
    if func is time.time:
        return KEY_LATENCY, "s", "time", None
    if name.endswith(("_bytes_r", "_bytes_w")):
        return name, "By", "counter", func
    return name, _MEMORY_UNITS.get(func, "1"), "level", func
