"""The native half of hiq. Private: import from `hiq` instead.

Times are seconds as `float` where HiQ had them so, else integers with the unit in the name. Nothing here raises into a
traced program: a recorder that meets an error of its own drops the span and counts it.
"""

import contextvars
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Final, Literal, TypeVar, final, overload

from typing_extensions import disjoint_base

__all__ = [
    "AttachedPlace",
    "ConfigError",
    "Context",
    "Counter",
    "Driver",
    "ExponentialHistogram",
    "ExportError",
    "Gauge",
    "HiqError",
    "Histogram",
    "Node",
    "OciStream",
    "Patient",
    "Printed",
    "RootSpan",
    "SdkPipeline",
    "Span",
    "Summary",
    "Suppress",
    "Timer",
    "Token",
    "Trace",
    "Traced",
    "TracedAsyncGenerator",
    "TracedAwaitable",
    "TracedAwaitableGenerator",
    "TracedCoroutine",
    "TracedGenerator",
    "TracedUnbound",
    "Tree",
    "UpDownCounter",
    "_copy_context",
    "_unpickled_context",
    "add_exporter",
    "at_exit",
    "attach",
    "begin_call",
    "bridge",
    "capture",
    "check_conf",
    "clock_source",
    "convert",
    "convert_formats",
    "current_context",
    "current_span",
    "current_trace_ids",
    "delete_type_attribute",
    "detach",
    "end_call",
    "end_round",
    "evict_all",
    "expect_rounds",
    "extract",
    "flush",
    "flush_counts",
    "follow_hiq_summaries",
    "forget_rounds",
    "hiq_summaries_page",
    "hiq_summary",
    "init",
    "inject",
    "innermost_span_id",
    "is_running",
    "is_traced",
    "is_watched",
    "load_conf",
    "memory_bytes",
    "memory_spans",
    "metric",
    "metric_snapshot",
    "next_round",
    "next_told",
    "observe_metric",
    "original",
    "overhead_ns",
    "parse_conf",
    "patients",
    "prometheus_page",
    "record",
    "refresh",
    "remove_exporter",
    "say_observed",
    "scrape_address",
    "send_before_termination",
    "set_scope",
    "set_type_attribute",
    "set_zin_threshold",
    "shutdown",
    "signal",
    "stats",
    "status_follow",
    "status_get",
    "status_set",
    "subscribe",
    "suppress",
    "tell",
    "trace",
    "traced",
    "unsubscribe",
    "version",
    "wait_until_told",
]

_F = TypeVar("_F", bound=Callable[..., Any])

version: Final[str]

class HiqError(Exception):
    """Base of hiq's errors."""

class ConfigError(HiqError, ValueError):
    """A setting or conf row is wrong. The message names the value, the place and the fix."""

class ExportError(HiqError):
    """`flush` or `shutdown` could not deliver everything in time."""

# --- wrapping -----------------------------------------------------------------------------------

@final
class Traced:
    """Stands in for a callable: calls, binds, compares, hashes, pickles and answers every attribute like the original.

    Without subscribers it passes calls through.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

@final
class TracedUnbound:
    """The same for what does not bind as functions do: built-in functions, callable objects, descriptors of the program's
    own, of which what they give is traced."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

@final
class TracedCoroutine:
    """Stands in for a coroutine that a traced function has made: `await`, `send`, `throw`, `close`, `cr_*`."""

    def __await__(self) -> TracedCoroutine: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any, /) -> Any: ...
    def throw(self, *error: Any) -> Any: ...
    def close(self) -> None: ...

@final
class AttachedPlace:
    """What a coroutine's step attaches to its context: the `Context` of its place, which is made when it is asked for."""

@final
class TracedGenerator:
    """Stands in for a generator: iteration, `send`, `throw`, `close`, `gi_*`."""

    def __iter__(self) -> TracedGenerator: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any, /) -> Any: ...
    def throw(self, *error: Any) -> Any: ...
    def close(self) -> None: ...

@final
class TracedAwaitableGenerator:
    """Stands in for a generator that `types.coroutine` made awaitable: both."""

    def __await__(self) -> TracedAwaitableGenerator: ...
    def __iter__(self) -> TracedAwaitableGenerator: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any, /) -> Any: ...
    def throw(self, *error: Any) -> Any: ...
    def close(self) -> None: ...

@final
class TracedAsyncGenerator:
    """Stands in for an async generator: iteration, `asend`, `athrow`, `aclose`, `ag_*`."""

    def __aiter__(self) -> TracedAsyncGenerator: ...
    def __anext__(self) -> TracedAwaitable: ...
    def asend(self, *value: Any) -> TracedAwaitable: ...
    def athrow(self, *error: Any) -> TracedAwaitable: ...
    def aclose(self) -> TracedAwaitable: ...

@final
class TracedAwaitable:
    """One step of an async generator."""

    def __await__(self) -> TracedAwaitable: ...
    def __iter__(self) -> TracedAwaitable: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any, /) -> Any: ...
    def throw(self, *error: Any) -> Any: ...
    def close(self) -> None: ...

def traced(
    func: Callable[..., Any],
    name: str,
    kind: Literal["function", "coroutine", "generator", "awaitable_generator", "async_generator"] = "function",
    attributes: Mapping[str, Any] | None = None,
) -> Traced:
    """A wrapper that records a span `name` for each call while it has subscribers.

    `attributes` (`code.*`, those of a conf row) are stored once for all spans. `kind` says what a call returns:
    a coroutine's or generator's span covers its first step to its end.
    """

def is_traced(obj: object) -> bool:
    """True for a `Traced` (which hides its type from `isinstance`)."""

def original(traced: Traced) -> Callable[..., Any]:
    """The callable that was wrapped."""

def subscribe(traced: Traced, driver: Driver | None, *, name: str | None = None, min_duration_ns: int = 0) -> None:
    """Turns the wrapper on for `driver`; `None` stands for the pipeline alone. Repeating it changes nothing.

    `name` is what the driver's trees call its spans, if another driver has had the wrapper made under another name.
    """

def unsubscribe(traced: Traced, driver: Driver | None) -> int:
    """Takes the subscription back. Returns how many are left; at 0 the wrapper passes calls through."""

def refresh(traced: Traced) -> None:
    """Looks again at what the wrapper's drivers want: after a flag or metric of one has changed."""

def set_type_attribute(type_: type, name: str, value: object) -> None:
    """Puts `value` into the dict of a type, also of one written in C, and invalidates the caches. A value of
    `_hiq.original(...)` restores. C code does not look slot dunders up in the dict: the caller refuses them."""

def delete_type_attribute(type_: type, name: str) -> None:
    """Takes `name` out of the dict of a type: the inherited one is seen again."""

# --- drivers ------------------------------------------------------------------------------------

@final
class Driver:
    """What a HiQ driver holds: fragments by key, at most a million spans; trees are projections of them."""

    def __new__(
        cls,
        *,
        metrics: Sequence[tuple[str, str, Literal["time", "level", "delta", "counter"], Callable[[], float] | None]]
        | None = None,
        id_func: Callable[[], object] | None = None,
        args_handler: Callable[..., Any] | None = None,
        fast_fail: bool = True,
        verbose: bool = False,
        max_keys: int = 30,
    ) -> Driver:
        """`metrics`: (name, unit, kind, function); the kind `time` needs no function and costs nothing extra. Kinds:
        `level` a gauge, `delta` may shrink, `counter` never shrinks. `id_func` gives the key (k0) of a root call; `None`: key None.
        `args_handler(args, name, function)` makes texts of arguments when `record_args` is on."""

    record_args: bool
    """Adds `args` and `kwargs` to each span (HiQ `ExtraMetrics.ARGS`)."""
    record_file: bool
    """Adds `file`, the caller's file and line (HiQ `ExtraMetrics.FILE`)."""
    record_func: bool
    """Adds `function`, the caller's name (HiQ `ExtraMetrics.FUNC`)."""
    attach_timestamp: bool
    """Nodes of trees other than `time` carry their start and end time."""
    fast_fail: bool
    """False: exceptions of traced calls are swallowed and the call returns None."""
    verbose: bool
    """True: exceptions add `exception_trace` too."""

    @property
    def spans(self) -> int:
        """Spans held."""
    @property
    def dropped(self) -> int:
        """Spans given up because of the cap or of `max_keys`."""
    @property
    def outgrown(self) -> int:
        """Those given up because of the cap alone."""
    def keys(self) -> list[object]:
        """The keys (k0), oldest first."""
    def tree(self, key: object, metric: str = "time") -> Tree | None:
        """A new tree of all finished calls under `key`, None for an unknown key. KeyError for an unknown metric."""
    def metrics(self) -> list[str]:
        """Names of the metrics, in order."""
    def add_metric(self, name: str, unit: str, kind: str, func: Callable[[], float]) -> None: ...
    def follow(
        self, *, on_call: Callable[..., Any] | None = None, on_eviction: Callable[..., Any] | None = None
    ) -> None:
        """Who is told, by `next_told`, of the trees of finished calls and of keys that had to make room."""

    def overhead_ns(self) -> int:
        """Calibrated cost of a span times the spans, plus the measured cost of extra metrics and arguments."""
    def reset(self) -> None:
        """Forgets all fragments."""

def tell(follower: Callable[..., Any], trees: list[Tree]) -> None:
    """Lets `next_told` give these trees to this follower."""

def next_told() -> tuple[Callable[..., Any], list[Tree]]:
    """Waits for a finished call or an evicted key. Returns who is to be told of it, and its trees, one for each metric."""

def wait_until_told(timeout_s: float) -> int:
    """Waits until everything was taken by `next_told` and done with. Returns the spans that nobody was told of."""

def evict_all() -> None:
    """Tells of all keys that are held, as if they had to make room."""

# --- HiQ trees ----------------------------------------------------------------------------------

@disjoint_base
class Tree:
    """HiQ's tree of named spans: `start` and `end` write it, `show` prints it, `repr` sends it.

    Drawing changes nothing. Ends in the wrong order change nothing and are told of by `print`. Comparing trees compares all that is in them;
    they have no hash. Pickled, a tree loses its `queue_lmk`.
    """

    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __init__(
        self,
        s: str | None = "",
        tid: str | None = "",
        extra: dict[Any, Any] | None = None,
        monotonic: bool = True,
        capacity: int = 1024,
        queue_lmk: Any = None,
    ) -> None:
        """Empty, or what `repr` has written (`s`; ValueError tells what is wrong with it). An empty `tid` becomes a random one.
        `capacity` has no effect. `queue_lmk` is told of each start and end by `put_nowait`."""

    tid: str
    extra: dict[Any, Any]
    """What the tree carries: shown on the root's line."""
    mode: int
    """0 drops spans that took less than the threshold (`ZIN_THRESHOLD`, 1e-7) and have none in them; others keep them."""
    count: int
    """Spans started or added, dropped ones too."""
    depth: int
    """The most levels that were open, the root is one; dropped spans do not count."""
    root: Node
    queue_lmk: Any
    @property
    def monotonic(self) -> bool: ...
    @property
    def stk(self) -> list[Node]:
        """The root, and the spans that are open."""
    def start(self, a: str, b: float, extra: dict[Any, Any] | None = None) -> None:
        """Opens a span `a`; `b` is the value now."""
    def end(self, a: str, b: float, extra: dict[Any, Any] | None = None) -> None:
        """Ends the innermost open span if it is called `a`; `b` is the value now. `extra` is added to what it carries."""
    def add_node(self, node: Node | None = None) -> bool:
        """Adds a finished node to the innermost open span. False when it took less than the threshold."""
    def consolidate(self) -> None:
        """Gives the root the range of its children; not while a span is open. Drawing does not need it."""
    def show(self, time_format: str = "_timestamp_") -> None: ...
    def get_graph(self, time_format: str = "_timestamp_") -> str:
        """The drawing. `WIDE_OUTPUT` forces or forbids the column of timestamps; `TZ` is followed."""
    def repr(self) -> str: ...
    def recover(self, s: str | None = None) -> None:
        """Becomes the tree that `repr` has written; ValueError tells what is wrong, and where."""
    def to_dot_string(self, node_shape: str = "circle") -> str: ...
    def to_img(self, filename: Any = None, format: str = "png", node_shape: str = "record") -> Any:
        """Has Graphviz's `dot` draw the calls. The file's name; None, and a printed line, when there is no `dot`."""
    def get_root(self) -> Node: ...
    def is_valid(self) -> bool: ...
    def just_before_ending_root(self) -> bool:
        """Whether at most a top-level span is open."""
    def duration_by_name_s(self) -> dict[str, float]: ...
    def leaf_duration_by_name_s(self, ordered: int = 0) -> Any:
        """A dict as the leaves come (0), the longest first (1) or the shortest first (2); 3: a text, the longest first."""
    def leaf_duration_total_s(self) -> float: ...
    def total_duration_s(self) -> float:
        """From the first start to the last end. NotImplementedError when the tree is not monotonic."""
    def get_distinct_node_names(self) -> list[str]: ...
    def get_duration_by_node_name(self, name: str) -> float: ...
    def get_duration_by_node_name_and_level(self, name: str, level: int) -> float:
        """The root's children are level 0."""
    def __eq__(self, other: object, /) -> bool: ...
    def __getstate__(self) -> tuple[str, dict[str, Any]]: ...
    def __setstate__(self, state: tuple[str, dict[str, Any]]) -> None: ...

@disjoint_base
class Node:
    """A span of a tree."""

    def __init__(
        self,
        name: str | None = "",
        start: float = 0.0,
        end: float = 0.0,
        extra: dict[Any, Any] | None = None,
        nid: int = 0,
        node: Node | None = None,
    ) -> None:
        """`node`: share the dict and the nodes of that one. RuntimeError for a name with a comma."""

    name: str
    start: float
    end: float
    nid: int
    extra: dict[Any, Any]
    @property
    def nodes(self) -> list[Node]:
        """The nodes in it, as a new list."""
    @nodes.setter
    def nodes(self, nodes: Sequence[Node]) -> None: ...
    def span(self) -> float: ...
    def append(self, node: Node) -> None:
        """Puts the node itself behind those in this one."""
    def add_child(self, node: Node) -> None:
        """Puts a copy of the node, which shares its dict and its nodes, behind those in this one."""
    def __getstate__(self) -> tuple[str, dict[str, Any]]: ...
    def __setstate__(self, state: tuple[str, dict[str, Any]]) -> None: ...

@final
class Printed:
    """In the extras of recorded trees and of those read from text: an object of which only its `repr` is known."""

    def __new__(cls, text: str) -> Printed: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs__(self) -> tuple[str]: ...

# --- spans by hand ------------------------------------------------------------------------------

@final
class Trace:
    """One use of `hiq.trace(...)`: a context manager (sync and async) and a decorator. Re-entrant."""

    def __enter__(self) -> Span: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None, /
    ) -> Literal[False]: ...
    async def __aenter__(self) -> Span: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None, /
    ) -> Literal[False]: ...
    def __call__(self, func: _F) -> _F: ...

def trace(name: str | Callable[..., Any] | None = None, /, *, kind: str = "internal", **attributes: Any) -> Any:
    """`with trace("name", key=value) as span:`, `@trace`, `@trace("name", key=value)`."""

def record(name: str, /, **attributes: Any) -> None:
    """Records a span that starts and ends now, with attributes, in one call."""

@final
class Span:
    """An open span. All methods are harmless after its end, and outside any span."""

    @property
    def is_recording(self) -> bool:
        """Whether it is open and recorded. A property: it is not called."""
    @property
    def name(self) -> str: ...
    @property
    def trace_id(self) -> str:
        """32 hex digits; zeros outside any span."""
    @property
    def span_id(self) -> str:
        """16 hex digits; zeros outside any span."""
    def set_attribute(self, key: str, value: Any) -> Span: ...
    def set_attributes(self, attributes: Mapping[str, Any]) -> Span: ...
    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None) -> Span: ...
    def record_exception(self, exception: BaseException, attributes: Mapping[str, Any] | None = None) -> Span: ...
    def set_status(self, status: Literal["unset", "ok", "error"], message: str = "") -> Span: ...
    def update_name(self, name: str) -> Span: ...
    def add_link(self, context: Context, attributes: Mapping[str, Any] | None = None) -> Span: ...

def current_span() -> Span:
    """The innermost open span of this thread or task; one that records nothing when there is none."""

def innermost_span_id(root: int) -> int | None:
    """The innermost open span under the root of this id; None where this thread does not have it open."""

def current_trace_ids() -> tuple[str, str] | None:
    """(trace id, span id) in hex of the innermost open span."""

# --- context ------------------------------------------------------------------------------------

@final
class Context:
    """A place in a trace. Immutable."""

    @property
    def trace_id(self) -> str: ...
    @property
    def span_id(self) -> str: ...
    @property
    def trace_flags(self) -> int: ...
    @property
    def is_debug(self) -> bool:
        """True when somebody watches the trace: B3's `d`, Jaeger's flag 2, with whose headers and spans it goes on."""

    @property
    def trace_state(self) -> str: ...
    @property
    def baggage(self) -> dict[str, str]: ...
    @property
    def is_remote(self) -> bool: ...
    def __bool__(self) -> bool:
        """False where `capture` found nothing to hang under, and where headers say no more than whether new traces are sampled."""

    def run(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Calls `func` with this context attached."""

def extract(
    headers: Mapping[str, str] | Iterable[tuple[str, str]], propagators: Iterable[str] | str | None = None
) -> Context | None:
    """The context in a request's headers (names in any case); None when there is none, or none that is valid.

    `propagators`: the forms that are read, `tracecontext`, `baggage`, `b3`, `b3multi`, `jaeger`; by default those of `init`, or of
    OTEL_PROPAGATORS."""

def inject(carrier: Any = None, propagators: Iterable[str] | str | None = None) -> Any:
    """Writes headers of the current span into `carrier` (a dict by default), which is returned."""

def _unpickled_context(
    ids: tuple[Sequence[int], int],
    flags: tuple[int, bool, bool, bool],
    trace_state: str,
    baggage: list[tuple[str, str]],
) -> Context:
    """What a pickled context is made of again, remote."""

def capture() -> Context:
    """The place where the next span would be recorded: what to hand to another thread.

    Where no span is open and nothing is attached, and under `suppress()` there, the context is false: what is run in it just runs,
    and its spans are roots. It says where spans hang, not whether they are recorded."""

def _copy_context() -> contextvars.Context:
    """`contextvars.copy_context`; in the copy, spans hang where the next one would be recorded here."""

def current_context() -> Context | None:
    """The place where the next span would be recorded: under the innermost open span, else under what is attached."""

@final
class Token:
    """What `attach` gives: `with attach(context):` detaches at the end of the block, `detach(token)` at once."""

    def __enter__(self) -> Token: ...
    def __exit__(self, *error: object) -> bool: ...

def attach(context: Context | None) -> Token:
    """Makes spans that have no parent in this thread or task children of `context`: inside a `with` block, or until `detach`."""

def detach(token: Token | None) -> None:
    """Takes back what `attach` has attached. A second time, and None, do nothing."""

@final
class Suppress:
    def __enter__(self) -> None: ...
    def __exit__(self, *exc: object) -> Literal[False]: ...

def suppress() -> Suppress:
    """Nothing is recorded in this thread (or task step) inside the block."""

# --- pipeline -----------------------------------------------------------------------------------

def init(settings: Mapping[str, Any]) -> list[str]:
    """Builds the pipeline of this process. Returns warnings about environment variables. A second call with equal settings
    does nothing, with others it raises ConfigError. Keys (all optional): `service_name`, `resource` (dict), `resource_detectors`
    (list of names, or one text with commas), `runtime` (dict: what the detector `process` adds of the interpreter), `exporters` (list of
    dicts: {"type": "otlp", "protocol": "http/protobuf"|"http/json", "endpoint", "headers", "timeout_s", "compression", "certificate",
    "client_certificate", "client_key"}, {"type": "file", "path"}, {"type": "chrome", "path", "format": "chrome"|"perfetto"}, {"type": "memory"}, {"type": "console"}), `sampler`, `sampler_arg`, `traceparent`, `propagators`,
    `schedule_delay_s`, `max_queue_spans`, `max_batch_spans`, `keep_errors`, `keep_slower_than_s`, `log_level`. What is missing comes from
    the environment, then from the defaults."""

def add_exporter(settings: Mapping[str, Any]) -> int:
    """Adds an exporter to the running pipeline (or starts one with it); returns its handle."""

def set_scope(name: str, version: str) -> tuple[str, str]:
    """Names the instrumentation scope of spans from now on. Returns what it was."""

def remove_exporter(handle: int, timeout_s: float = 5.0) -> None:
    """Flushes and removes it."""

def memory_spans(clear: bool = False, shelf: int = 0) -> list[dict[str, Any]]:
    """The spans of the `memory` exporter that keeps them on that shelf: dicts with trace_id, span_id, parent_span_id, name, kind, start_unix_nanos, end_unix_nanos,
    attributes, events, links, status, status_message, scope, resource."""

def memory_bytes(format: str, clear: bool = False, shelf: int = 0) -> bytes:
    """The same spans as one payload: `otlp-proto`, `otlp-json`, `zipkin-json`, `zipkin-proto`, `chrome`, `perfetto`; ConfigError for any
    other format. The GIL is released meanwhile."""

def is_running() -> bool:
    """Whether there is a pipeline."""

def flush(timeout_s: float = 5.0) -> bool:
    """True when everything that was finished before has left. The GIL is released while waiting."""

def shutdown(timeout_s: float = 5.0) -> bool:
    """Flush and end. Called at interpreter exit by itself."""

def stats() -> dict[str, dict[str, Any]]:
    """The loss ledger, by exporter: offered, recovered, exported, sent_unconfirmed, rejected, dropped (dict by reason), queued, in_flight,
    spooled, possible_repeats, sampled_out. After `shutdown` those of its end."""

# --- convert ------------------------------------------------------------------------------------

def convert(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str] | None,
    *,
    from_format: str | None = None,
    to_format: str | None = None,
    send: str | None = None,
    progress: Callable[[int, int], object] | None = None,
    base_unix_nanos: int | None = None,
) -> dict[str, Any]:
    """Reads files of spans and writes them to the file `output`, or sends them to the exporter `send`; `-` is standard input and
    output. The result has `spans`, `trees`, `problems`, a line each, and `is_written`: a file that is there already gives way
    only to all that was to be read. `progress` gets the bytes read of a file and its size, ten times a second; else the GIL
    is released."""

def convert_formats() -> tuple[list[str], list[str]]:
    """Names of the formats that can be read, and of those that can be written."""

# --- bridge -------------------------------------------------------------------------------------

def bridge(
    topics: Sequence[str],
    group: str,
    to: Sequence[str],
    stop: Any,
    *,
    brokers: str | None = None,
    encoding: str | None = None,
    signal: str | None = None,
    from_start: bool = True,
    until_end: bool = False,
) -> dict[str, int]:
    """Forwards spans and metrics in topics of Kafka to exporters until `stop.is_set()`; commits what was delivered, never
    before. For `prometheus` spans are counted, and committed once a snapshot that holds them was accepted. Counts messages
    and those skipped; of spans read, delivered, lost, possible_repeats, left in the topics, left_out since nobody takes them;
    of points the same as points_read and so on."""

# --- conf, status, clock ------------------------------------------------------------------------

def load_conf(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Rows of a conf file (JSON, CSV, YAML): dicts with module, class, function, name, min_duration_ns (0: none), attributes, place.
    ConfigError names file, line, column and fix of the first thing wrong."""

def parse_conf(rows: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """The same from HiQ's list of rows: lists of four to six cells."""

def check_conf(path: str | os.PathLike[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """The good rows of a conf file, and what is wrong with the others, a line each."""

def status_set(name: str, on: bool) -> bool:
    """Switches the global status `name` for all processes of this user. False when the file cannot be written."""

def status_get(name: str, default: bool) -> bool:
    """The global status; `default` while nobody has set it."""

def status_follow(default_on: bool) -> None:
    """Obeys the global status `hiq` from now on, whoever switches it; `default_on` counts while nobody has."""

def set_zin_threshold(seconds: float) -> None:
    """HiQ's `ZIN_THRESHOLD`: spans below it and without children are not shown."""

def at_exit() -> None:
    """Lets open spans go as unfinished and shuts the pipeline down; registered with `atexit`."""

def send_before_termination() -> None:
    """Gives this process up to a second from SIGTERM on to send what was finished; on Linux, and while the program has no
    handler of its own: `signal` takes the place of `_signal.signal`, to be there when the program's handler goes."""

def signal(signalnum: int, handler: Any, /) -> Any:
    """As `signal.signal`."""

def overhead_ns() -> float:
    """Calibrated cost of one recorded call, in nanoseconds."""

def clock_source() -> Literal["tsc", "monotonic"]: ...

@final
class RootSpan:
    """A span of kind *server*, a fragment of its own, of a service of its own. What is recorded under its context are
    further fragments."""

    def __new__(
        cls, name: str, service: str, tags: dict[str, Any], *, sampled: bool = True, parent: Context | None = None
    ) -> RootSpan: ...
    @property
    def context(self) -> Context: ...
    @property
    def unsampled_context(self) -> Context:
        """The same place in a trace that is not recorded."""

    def add_tags(self, tags: dict[str, Any]) -> None: ...
    def finish(self, error: BaseException | None = None) -> None:
        """Ends it and hands it to the pipeline. Further calls do nothing."""

@final
class OciStream:
    """A stream of OCI Streaming. Thread-safe; one call at a time."""

    @staticmethod
    def open(settings: dict[str, Any]) -> OciStream:
        """With the settings of `OciStreamingExporter`, without `encoding`. Opens no socket."""

    def put(self, messages: list[tuple[str | None, bytes]], timeout_s: float = 10.0) -> list[dict[str, Any]]:
        """One call, of at most 1 MiB. For each message `partition`, `offset`, `timestamp`, and `error` and
        `error_message` where it was not taken. ExportError when the call failed. The GIL is released meanwhile."""

@final
class SdkPipeline:
    @staticmethod
    def open(settings: dict[str, Any]) -> tuple[SdkPipeline, list[str]]: ...
    def export(self, spans: Iterable[Any]) -> list[str]: ...
    def flush(self, timeout_s: float) -> bool: ...
    def shutdown(self, timeout_s: float | None = None) -> bool: ...
    def stats(self) -> dict[str, dict[str, Any]]: ...

@final
class Patient:
    @property
    def name(self) -> str: ...
    @property
    def target(self) -> str: ...
    def examine(self, timeout_s: float) -> dict[str, Any]: ...

def patients(settings: dict[str, Any]) -> tuple[list[Patient], list[str]]: ...

# --- metrics ------------------------------------------------------------------------------------

@final
class Counter:
    """Adds up what never falls. Made by `hiq.metrics.counter`."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def unit(self) -> str: ...
    def add(self, amount: float = 1) -> None:
        """Adds `amount`; ValueError for a negative one."""

    def inc(self, amount: float = 1) -> None:
        """The same, by Prometheus's name."""

    def labels(self, labels: Mapping[str, object] = ..., /, **more: object) -> Counter:
        """The series of these labels, and those of `self`: a lookup."""

@final
class UpDownCounter:
    """Adds up what rises and falls. Made by `hiq.metrics.up_down_counter`."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def unit(self) -> str: ...
    def add(self, amount: float = 1) -> None: ...
    def inc(self, amount: float = 1) -> None: ...
    def dec(self, amount: float = 1) -> None: ...
    def labels(self, labels: Mapping[str, object] = ..., /, **more: object) -> UpDownCounter: ...

@final
class Gauge:
    """Holds what was read last. Made by `hiq.metrics.gauge`."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def unit(self) -> str: ...
    def set(self, value: float, /) -> None: ...
    def add(self, amount: float = 1) -> None: ...
    def inc(self, amount: float = 1) -> None: ...
    def dec(self, amount: float = 1) -> None: ...
    def time(self) -> Timer:
        """Sets how many seconds something took."""

    def labels(self, labels: Mapping[str, object] = ..., /, **more: object) -> Gauge: ...

@final
class Histogram:
    """Counts measurements between bounds. Made by `hiq.metrics.histogram`."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def unit(self) -> str: ...
    def observe(self, value: float, /) -> None: ...
    def time(self) -> Timer: ...
    def labels(self, labels: Mapping[str, object] = ..., /, **more: object) -> Histogram: ...

@final
class ExponentialHistogram:
    """Counts measurements of any size. Made by `hiq.metrics.exponential_histogram`."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def unit(self) -> str: ...
    def observe(self, value: float, /) -> None: ...
    def time(self) -> Timer: ...
    def labels(self, labels: Mapping[str, object] = ..., /, **more: object) -> ExponentialHistogram: ...

@final
class Summary:
    """Counts, adds up and knows quantiles. Made by `hiq.metrics.summary`."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def unit(self) -> str: ...
    def observe(self, value: float, /) -> None: ...
    def time(self) -> Timer:
        """Measures, in seconds, what runs in it as a context manager, or each call of what it decorates."""

    def labels(self, labels: Mapping[str, object] = ..., /, **more: object) -> Summary: ...

@final
class Timer:
    """How long something takes: a context manager, and a decorator. For one thread at a time."""

    def __enter__(self) -> Timer: ...
    def __exit__(self, *error: object) -> None: ...
    def __call__(self, func: _F) -> _F: ...

@overload
def metric(
    kind: Literal["counter"],
    name: str,
    description: str = "",
    unit: str = "",
    *,
    bounds: Sequence[float] | None = None,
    quantiles: Sequence[float] | None = None,
    max_age_s: float | None = None,
    max_series: int | None = None,
) -> Counter:
    """The instrument `name` of this process, made if it is not there yet. ConfigError when it is of another kind."""

@overload
def metric(
    kind: Literal["up_down_counter"],
    name: str,
    description: str = "",
    unit: str = "",
    *,
    bounds: Sequence[float] | None = None,
    quantiles: Sequence[float] | None = None,
    max_age_s: float | None = None,
    max_series: int | None = None,
) -> UpDownCounter: ...
@overload
def metric(
    kind: Literal["gauge"],
    name: str,
    description: str = "",
    unit: str = "",
    *,
    bounds: Sequence[float] | None = None,
    quantiles: Sequence[float] | None = None,
    max_age_s: float | None = None,
    max_series: int | None = None,
) -> Gauge: ...
@overload
def metric(
    kind: Literal["histogram"],
    name: str,
    description: str = "",
    unit: str = "",
    *,
    bounds: Sequence[float] | None = None,
    quantiles: Sequence[float] | None = None,
    max_age_s: float | None = None,
    max_series: int | None = None,
) -> Histogram: ...
@overload
def metric(
    kind: Literal["exponential_histogram"],
    name: str,
    description: str = "",
    unit: str = "",
    *,
    bounds: Sequence[float] | None = None,
    quantiles: Sequence[float] | None = None,
    max_age_s: float | None = None,
    max_series: int | None = None,
) -> ExponentialHistogram: ...
@overload
def metric(
    kind: Literal["summary"],
    name: str,
    description: str = "",
    unit: str = "",
    *,
    bounds: Sequence[float] | None = None,
    quantiles: Sequence[float] | None = None,
    max_age_s: float | None = None,
    max_series: int | None = None,
) -> Summary: ...
def metric_snapshot() -> list[dict[str, Any]]:
    """What has been measured in this process up to now."""

def observe_metric(kind: str, name: str, description: str, unit: str, max_series: int | None) -> None:
    """Has a metric asked for whenever metrics are read. ConfigError where there is another of that name."""

def expect_rounds() -> None: ...
def forget_rounds() -> None: ...
def next_round() -> tuple[Literal["call", "tell", "end"], str]:
    """Waits until there is something to do, for a thread that calls callbacks."""

def is_watched() -> bool: ...
def begin_call(name: str) -> bool: ...
def end_call(name: str) -> None: ...
def say_observed(name: str, said: object) -> None:
    """What a callback has said. TypeError and ValueError for what is no number."""

def end_round() -> None: ...
def flush_counts(timeout_s: float = 1.0) -> bool:
    """Has all spans that ended before counted; waits for nothing that is sent."""

def scrape_address() -> tuple[str, int] | None:
    """Where this process answers scrapes."""

def prometheus_page(
    accept: str = "",
    accept_encoding: str = "",
    more: Sequence[tuple[str, str, bool, Sequence[tuple[Sequence[tuple[str, str]], float]]]] = ...,
    since: float = 0.0,
    utf8_names: bool = False,
) -> tuple[str, str | None, bytes]:
    """What has been measured, and `more` (name, description, whether it never falls, labels with values; counted `since`
    that many seconds after 1970), as the answer to a scrape: `Content-Type`, `Content-Encoding`, body.
    `utf8_names`: names stay as they are for scrapers that read them."""

def hiq_summaries_page(accept: str = "", accept_encoding: str = "") -> tuple[str, str | None, bytes]:
    """The same of HiQ's summaries alone."""

def follow_hiq_summaries() -> None:
    """Has all spans summed up by HiQ's names from now on: `hiq_main` for `__main`."""

def hiq_summary(name: str, description: str) -> Summary:
    """One of HiQ's summaries, for measurements by hand."""
