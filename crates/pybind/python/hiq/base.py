"""HiQ's drivers."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, KeysView, Sequence
from typing import Any, ClassVar

from . import _driver, _hiq, hiq_utils, tracing
from ._extras import COUNTERS, metrics_of_tables
from ._hiq import Tree as Tree
from ._rows import read_rows, rows_of_table
from ._trees import DriverTrees
from .constants import *  # noqa: F403 (programs find them here)
from .constants import FORMAT_DATETIME, KEY_EXC_SUM, KEY_EXC_TRA, KEY_LATENCY, ExtraMetrics, OverHeadFormat
from .hiq_utils import HiQIdGenerator as HiQIdGenerator
from .hiq_utils import call_decorated as call_decorated
from .hiq_utils import func_args_handler, get_global_hiq_status, get_tau_id
from .hiq_utils import get_hiq_table as get_hiq_table
from .jack import Jack
from .memory import get_memory_mb
from .memory import total_gpu_memory_mb as total_gpu_memory_mb
from .monkeyking import LogMonkeyKing
from .utils import is_hiqed as is_hiqed

__all__ = ["HiQBase", "HiQException", "HiQLatency", "HiQMemory", "HiQSimple", "Jack", "LogMonkeyKing", "parse_lib"]


class HiQException(Exception):
    """Kept for programs that catch it; nothing here raises it."""


class HiQBase(LogMonkeyKing, Jack):
    """Traces the functions of a conf and holds their trees, one for each key (k0) and metric (k1).

    The constructor enables it. `custom` and `custom_disable` may be overridden to put wrappers made with `inserter`
    into the program by hand and to take them out again.
    """

    # What a framework's driver traces beside what it is told to.
    _framework_rows: ClassVar[Sequence[Sequence[str]]] = ()

    def __init__(
        self,
        hiq_table_or_path: Any = (),
        metric_funcs: Iterable[Callable[[], float]] = (time.time,),
        hiq_id_func: Callable[[], object] | None = get_tau_id,
        func_args_handler: Callable[..., Any] = func_args_handler,
        target_path: str | None = None,
        max_hiq_size: int = 30,
        verbose: bool = False,
        fast_fail: bool = True,
        tpl: str | None = None,
        extra_hiq_table: Iterable[Any] = (),
        attach_timestamp: bool = False,
        extra_metrics: Iterable[ExtraMetrics] = (),
        lmk_path: str | None = None,
        lmk_handler: Any = None,
        lmk_logger: Any = None,
        *_args: Any,
        **_kwargs: Any,
    ) -> None:
        """`tpl` (a template of HiQ's wrappers) has no effect: wrappers are native."""
        if verbose:
            print(f"process 🆔 {os.getpid()}")
        if target_path and target_path not in sys.path:
            sys.path.append(target_path)
        self.init_time_us = time.time_ns() // 1000
        extra_rows = [list(row) for row in (*extra_hiq_table, *self._framework_rows)]
        self._rows = _rows(hiq_table_or_path, extra_rows)
        self.hiq_quadruple = [row.as_list() for row in self._rows]
        self.get_tau_id = hiq_utils.HiQIdGenerator() if hiq_id_func is None else hiq_id_func
        self.get_func_args = func_args_handler
        self.max_hiq_size = max_hiq_size
        self.count = 0
        self.check_oh_counter = 0
        self.enabled = False
        self.itree_tpl = ""
        self._counted_before = {name: counter.value for name, counter in COUNTERS.items()}
        self.metric_funcs = [*metric_funcs, *self._counting_metrics(extra_rows)]
        self._native = _driver.native(self, verbose=bool(verbose), fast_fail=bool(fast_fail))
        LogMonkeyKing.__init__(self, lmk_path, lmk_handler, lmk_logger)
        Jack.__init__(self)
        _driver.follow(self, lmk_handler, lmk_logger)
        self._trees = DriverTrees(self._native)
        self._overhead_ns_before_reset = 0
        self._inserted: list[_hiq.Traced] = []
        self._in_custom = False
        self._instrumentation = _driver.instrumentation(self)
        self.attach_timestamp = attach_timestamp
        self.set_extra_metrics(extra_metrics)
        self.lmk_path, self.lmk_handler, self.lmk_logger = lmk_path, lmk_handler, lmk_logger
        _driver.follow_trace_type()
        self.enable_hiq()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.disable_hiq()

    # --- on and off -----------------------------------------------------------------------------

    def enable_hiq(self, reset_trace: bool = False) -> Any:
        """Puts the wrappers in; nothing happens while it is enabled. Returns the driver."""
        if self.enabled:
            return self
        if reset_trace:
            self.reset()
        if not get_global_hiq_status():
            print("🌚 global hiq switch is off")
            return self
        _driver.read_environment(self)
        try:
            self._run_custom()
        except ModuleNotFoundError as error:
            print(f"🦉 this module should be in the sys path. error: {error}")
            return self
        for traced in self._inserted:
            _hiq.subscribe(traced, self._native)
        for row, target in self._instrumentation.add(self._rows):
            setattr(self, f"o_{row.name_of(target.attribute)}", target.shown)
        self.count += len(self._rows)
        self.enabled = True
        _driver.tell_of_aliases(self._instrumentation)
        return self

    def disable_hiq(self, reset_trace: bool = False) -> None:
        """Puts the originals back; nothing happens while it is disabled."""
        if not self.enabled:
            return
        self._instrumentation.remove()
        for traced in self._inserted:
            _hiq.unsubscribe(traced, self._native)
        self.custom_disable()
        self.enabled = False
        if reset_trace:
            self.reset()

    disable = disable_hiq

    def custom(self) -> None:
        """Called before the rows are traced; to be overridden."""

    def custom_disable(self) -> None:
        """Called after the rows' originals are back; to be overridden."""

    def inserter(self, f: Callable[..., Any], *_args: Any, **_kwargs: Any) -> Any:
        """A wrapper of `f` that records a span named like it, for `custom` to put somewhere."""
        traced = _hiq.traced(f, f.__name__, kind=_driver.kind_of(f))
        _hiq.subscribe(traced, self._native)
        if not self._in_custom:
            # What `custom` makes, it makes again at each enabling.
            self._inserted.append(traced)
        return traced

    def inserter_with_extra(
        self, extra: dict[str, Any] | None = None, *_args: Any, **_kwargs: Any
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """A decorator like `inserter` that also puts `extra` on the trees of the calls."""

        def wrap(f: Callable[..., Any]) -> Callable[..., Any]:
            traced = _hiq.traced(f, f.__name__, kind=_driver.kind_of(f))
            _hiq.subscribe(traced, self._native)

            def __x(*args: Any, **kwargs: Any) -> Any:
                if not get_global_hiq_status():
                    # HiQ's text, which was meant to be formatted.
                    print("👻 hiq is disabled (extra): {f_name}")
                    return f(*args, **kwargs)
                self._note_extra(extra)
                return traced(*args, **kwargs)

            return __x

        return wrap

    _inserter_with_extra = inserter_with_extra

    def enable_c(self, module_name: str, class_name: str, func_name: str, new_func: Any) -> Any:
        """Puts `new_func` into the dict of a type, also of one written in C. Returns what was there."""
        from ._resolve import slot_refusal

        type_ = getattr(sys.modules[module_name], class_name)
        reason = slot_refusal(type_, func_name)
        if reason is not None:
            raise TypeError(reason)
        before = type_.__dict__.get(func_name)
        _hiq.set_type_attribute(type_, func_name, new_func)
        return before

    # --- settings -------------------------------------------------------------------------------

    def set_extra_metrics(self, extra_metrics: Iterable[ExtraMetrics]) -> None:
        """What spans carry beside their values: arguments, caller's file, caller's function."""
        self._extra_metrics = set(extra_metrics)
        _driver.read_environment(self)
        self._refresh()

    @property
    def extra_metrics(self) -> set[ExtraMetrics]:
        """What `set_extra_metrics` has chosen."""
        return self._extra_metrics

    @extra_metrics.setter
    def extra_metrics(self, extra_metrics: Iterable[ExtraMetrics]) -> None:
        self.set_extra_metrics(extra_metrics)

    @property
    def verbose(self) -> bool:
        """Exceptions leave their traceback in the tree as well."""
        return self._native.verbose

    @verbose.setter
    def verbose(self, on: bool) -> None:
        self._native.verbose = on
        self._refresh()

    @property
    def fast_fail(self) -> bool:
        """False: exceptions of traced calls are swallowed, the call returns None."""
        return self._native.fast_fail

    @fast_fail.setter
    def fast_fail(self, on: bool) -> None:
        self._native.fast_fail = on
        self._refresh()

    @property
    def attach_timestamp(self) -> bool:
        """Nodes of trees other than time carry their start and end time."""
        return self._native.attach_timestamp

    @attach_timestamp.setter
    def attach_timestamp(self, on: bool) -> None:
        self._native.attach_timestamp = on

    def load_tpl(self, path: str) -> None:
        """Reads a template of HiQ's wrappers into `itree_tpl`, where nothing uses it."""
        with open(path, encoding="utf-8") as file:
            self.itree_tpl = file.read()

    # --- trees ----------------------------------------------------------------------------------

    @property
    def tau(self) -> dict[Any, dict[str, _hiq.Tree]]:
        """All trees: by key, then by metric."""
        trees = self._trees
        return {key: {name: trees.tree(key, name) for name in trees.metrics(key)} for key in trees.k0s()}

    def reset(self) -> None:
        """Forgets all trees; the overhead is kept."""
        self._overhead_ns_before_reset += self._native.overhead_ns()
        self._trees.reset()
        self._overhead_ns_before_reset -= self._native.overhead_ns()
        self.check_oh_counter = 0

    def empty(self) -> bool:
        """True when there is no tree."""
        return not self._trees.k0s()

    def get_k0s(self) -> KeysView[Any]:
        """The keys, oldest first."""
        return dict.fromkeys(self._trees.k0s()).keys()

    def get_k0s_summary(self, metrics_key: str = KEY_LATENCY) -> list[tuple[Any, float, float, float]]:
        """(key, span, start, end) of each tree's root."""
        summary = []
        for key in self._trees.k0s():
            root = _consolidated(self._trees.tree(key, metrics_key)).get_root()
            summary.append((key, root.span(), root.start, root.end))
        return summary

    def get_metrics(self, metrics_key: str = KEY_LATENCY) -> list[_hiq.Tree]:
        """The trees of a metric, one for each key. KeyError when a key has none."""
        return [self._trees.tree(key, metrics_key) for key in self._trees.k0s()]

    def get_metrics_by_k0(self, k0: Any = None, metrics_key: str = KEY_LATENCY) -> _hiq.Tree | None:
        """The tree of a key; None for an unknown key, KeyError for an unknown metric."""
        return self._trees.tree(k0, metrics_key) if k0 in self._trees.k0s() else None

    def get_tree(self, func: Callable[[], Any], extra: dict[str, Any] | None = None) -> _hiq.Tree:
        """The current key's tree of a metric, made when there is none. Spans may be written into it."""
        return self._trees.writable(self._current_key(), _driver.metric_name(func), extra)

    def show(self, ignore_empty_tree: bool = False, show_key: bool = False, time_format: str = FORMAT_DATETIME) -> None:
        """Prints all trees."""
        self._say_outgrown()
        for k0, trees in self.tau.items():
            for k1, tree in trees.items():
                span = abs(_consolidated(tree).get_root().span())
                if ignore_empty_tree and not span > 1e-6:
                    continue
                if show_key:
                    print(f"🔑 k0: {k0}, 🗝 k1: {k1}")
                print(tree.get_graph(time_format=time_format))

    def _say_outgrown(self) -> None:
        if outgrown := self._native.outgrown:
            tracing.say(f"{type(self).__name__} holds a million spans; {outgrown} older ones have gone for newer ones")

    # --- spans by hand --------------------------------------------------------------------------

    def pre_processing(
        self, f_name: str, args: Any = (), kwargs: Any = None, tree_extra: dict[str, Any] | None = None
    ) -> None:
        """Starts a span in the tree of each metric."""
        extra = _driver.node_extra(self, f_name, args, kwargs)
        for func in self.metric_funcs:
            tree = self.get_tree(func, extra=tree_extra)
            tree.start(f_name, func(), extra={**extra, **self._stamp(func, "start")})

    def post_processing(self, f_name: str) -> None:
        """Ends the span that `pre_processing` started."""
        for func in self.metric_funcs:
            self.get_tree(func).end(f_name, func(), extra=self._stamp(func, "end"))

    def update_overhead(self) -> None:
        """Nothing: the overhead is calibrated, see `get_overhead_us`."""

    def handle_exception(self, f_name: str, e: BaseException) -> None:
        """Ends the span with the exception and raises it; with `fast_fail` off it is dropped."""
        if not self.fast_fail:
            return
        extra: dict[str, Any] = {KEY_EXC_SUM: e}
        if self.verbose:
            import traceback

            extra[KEY_EXC_TRA] = "".join(traceback.format_exception(type(e), e, e.__traceback__))
        for func in self.metric_funcs:
            self.get_tree(func).end(f_name, func(), extra={**extra, **self._stamp(func, "end")})
        raise e

    # --- overhead -------------------------------------------------------------------------------

    @property
    def overhead_us(self) -> int:
        """What tracing has cost, in microseconds: the calibrated cost of its spans and the measured cost of extras."""
        return (self._overhead_ns_before_reset + self._native.overhead_ns()) // 1000

    def get_overhead(self, format_: OverHeadFormat = OverHeadFormat.ABS) -> float:
        """What tracing has cost: microseconds, or a share of the traced time."""
        if format_ is OverHeadFormat.ABS:
            return self.get_overhead_us()
        if format_ is OverHeadFormat.PCT:
            return self.get_overhead_pct()
        raise ValueError(f"wrong format: {format_}")

    def get_overhead_us(self) -> int:
        """What tracing has cost, in microseconds."""
        return self.overhead_us

    def get_overhead_pct(self) -> float:
        """The same as a share (0 to 1) of the time that the latency trees cover; -1 when they cover none."""
        trees = self._trees
        timed = [key for key in trees.k0s() if KEY_LATENCY in trees.metrics(key)]
        spans = [_consolidated(trees.tree(key, KEY_LATENCY)).get_root().span() for key in timed]
        total = sum(span for span in spans if span == span)
        return self.overhead_us / (total * 1e6) if total > 0 else -1

    # --- bytes counted --------------------------------------------------------------------------

    def get_dio_bytes_r(self) -> int:
        """Bytes read from text files."""
        return self._counted("dio_r")

    def get_dio_bytes_w(self) -> int:
        """Bytes written to text files."""
        return self._counted("dio_w")

    def get_sio_bytes_r(self) -> int:
        """Bytes read by `os.read`."""
        return self._counted("sio_r")

    def get_sio_bytes_w(self) -> int:
        """Bytes written by `os.write`."""
        return self._counted("sio_w")

    def get_nio_bytes_r(self) -> int:
        """Bytes of the bodies that `requests.get` received."""
        return self._counted("nio_r")

    def get_nio_bytes_w(self) -> int:
        """Bytes of the bodies that `requests.post` sent."""
        return self._counted("nio_w")

    dio_bytes_r = property(get_dio_bytes_r)
    dio_bytes_w = property(get_dio_bytes_w)
    sio_bytes_r = property(get_sio_bytes_r)
    sio_bytes_w = property(get_sio_bytes_w)
    nio_bytes_r = property(get_nio_bytes_r)
    nio_bytes_w = property(get_nio_bytes_w)

    # --- within ---------------------------------------------------------------------------------

    def _counted(self, name: str) -> int:
        return COUNTERS[name].value - self._counted_before[name]

    def _counting_metrics(self, extra_rows: list[Any]) -> list[Callable[[], float]]:
        return [_driver.counting_metric(name, self._counted_before[name]) for name in metrics_of_tables(extra_rows)]

    def _refresh(self) -> None:
        self._instrumentation.refresh()
        for traced in self._inserted:
            _hiq.refresh(traced)

    def _current_key(self) -> Any:
        return self.get_tau_id()

    def _note_extra(self, extra: dict[str, Any] | None) -> None:
        if extra:
            key = self._current_key()
            for func in self.metric_funcs:
                self._trees.add_extra((key, _driver.metric_name(func)), extra)

    def _run_custom(self) -> None:
        self._in_custom = True
        try:
            self.custom()
        finally:
            self._in_custom = False

    def _stamp(self, func: Callable[[], float], which: str) -> dict[str, float]:
        wanted = self.attach_timestamp and _driver.metric_name(func) != KEY_LATENCY
        return {which: time.time()} if wanted else {}


class HiQLatency(HiQBase):
    """Traces how long calls take."""


HiQSimple = HiQLatency


class HiQMemory(HiQBase):
    """Traces how long calls take and how the process's resident memory (MiB) changes meanwhile."""

    def __init__(
        self,
        hiq_table_or_path: Any = (),
        metric_funcs: Iterable[Callable[[], float]] = (time.time, get_memory_mb),
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(hiq_table_or_path, metric_funcs, *args, **kwargs)


def parse_lib(lib_name: str, res: list[list[str]] | None = None) -> list[list[str]] | None:
    """Rows for the functions of a module that have ten source lines or more, at most about a hundred."""
    from .cli.suggest import long_functions

    rows = long_functions(lib_name, at_least_lines=10, at_most=100)
    return None if rows is None else [*(res or []), *rows]


def _rows(hiq_table_or_path: Any, extra_rows: list[Any]) -> list[Any]:
    table = [] if hiq_table_or_path == () else hiq_table_or_path
    rows = read_rows(table)
    if not extra_rows:
        return rows
    # Read together, so that a name used in both is told of.
    return (
        rows_of_table([*(row.as_list() for row in rows), *extra_rows])
        if isinstance(table, list)
        else [
            *rows,
            *rows_of_table(extra_rows),
        ]
    )


def _consolidated(tree: _hiq.Tree) -> _hiq.Tree:
    tree.consolidate()
    return tree
