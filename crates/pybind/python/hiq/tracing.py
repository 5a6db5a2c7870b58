"""The modern face: start the pipeline, declare what is traced, wait for delivery, look at the ledger."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from . import _hiq
from .exporters import Exporter, OtlpExporter

if TYPE_CHECKING:
    from ._imports import ModuleWatch
    from ._rows import Row
    from ._targets import Instrumentation

__all__ = ["flush", "init", "instrument", "shutdown", "stats", "uninstrument"]


def init(
    service_name: str | None = None,
    *,
    endpoint: str | None = None,
    protocol: str | None = None,
    headers: Mapping[str, str] | None = None,
    exporters: Iterable[str | Exporter | Mapping[str, Any]] | None = None,
    metrics: Iterable[str | Exporter | Mapping[str, Any]] | None = None,
    conf: str | os.PathLike[str] | list[Any] | None = None,
    resource: Mapping[str, Any] | None = None,
    resource_detectors: Iterable[str] | str | None = None,
    sampler: str | None = None,
    sampler_arg: float | None = None,
    traceparent: str | None = None,
    propagators: Iterable[str] | str | None = None,
    keep_errors: bool | None = None,
    keep_slower_than_s: float | None = None,
    schedule_delay_s: float | None = None,
    max_queue_spans: int | None = None,
    max_batch_spans: int | None = None,
    metric_interval_s: float | None = None,
    metric_timeout_s: float | None = None,
    exporter_metrics: bool | None = None,
    log_level: str | None = None,
    log_ids: bool = False,
) -> None:
    """Starts the pipeline of this process. What is not given comes from OpenTelemetry's environment variables.

    `endpoint`, `protocol` and `headers` are short for one `OtlpExporter`. `conf` declares functions as `instrument`
    does. `resource` says more of the service, `resource_detectors` what is found out besides: `process`, `host`, `os`,
    `container`, or `*`, the default; `[]` is none of it, for what a command line or a path must not tell. `sampler` has
    OpenTelemetry's names (`always_on`, `traceidratio`, ...), `sampler_arg` its ratio. `traceparent` is the span that
    this process's spans hang under. `propagators` are the forms of headers that `extract` and `inject` read and write:
    `tracecontext`, `baggage`, `b3`, `b3multi`, `jaeger`. `keep_errors` and `keep_slower_than_s` (seconds) keep what the
    sampler would leave out. Batches leave after `schedule_delay_s` seconds or `max_batch_spans` spans;
    `max_queue_spans` is the memory.

    `metrics` names where metrics go (nowhere unless asked for): those of `hiq.metrics`, and calls, errors and times of
    every function that is traced, counted before sampling. `exporters=[]` beside it sends no spans. They leave every
    `metric_interval_s` seconds (60), each time within `metric_timeout_s` (30). `exporter_metrics` shows what became of
    spans and points as metrics themselves: by default where metrics are scraped.

    `log_ids` puts trace and span ids on `logging` records.

    The same call again does nothing; with other settings it raises ConfigError until `shutdown`.
    """
    rows = None if conf is None else _rows(conf)
    if resource is not None and not isinstance(resource, Mapping):
        raise _hiq.ConfigError(f"resource: {type(resource).__name__} was given; give a dict of attributes")
    settings = {
        "service_name": service_name,
        "resource": None if resource is None else dict(resource),
        "resource_detectors": _names(resource_detectors),
        "runtime": runtime_attributes(),
        "exporters": _exporters(exporters, endpoint, protocol, headers),
        "metrics": None if metrics is None else _listed(metrics, "metrics"),
        "sampler": sampler,
        "sampler_arg": sampler_arg,
        "traceparent": traceparent,
        "propagators": _names(propagators),
        "keep_errors": keep_errors,
        "keep_slower_than_s": keep_slower_than_s,
        "schedule_delay_s": schedule_delay_s,
        "max_queue_spans": max_queue_spans,
        "max_batch_spans": max_batch_spans,
        "metric_interval_s": metric_interval_s,
        "metric_timeout_s": metric_timeout_s,
        "exporter_metrics": exporter_metrics,
        "log_level": log_level,
    }
    start({key: value for key, value in settings.items() if value is not None})
    if log_ids:
        from .logs import install_log_ids

        install_log_ids()
    if rows is not None:
        _trace(rows)


def instrument(conf: str | os.PathLike[str] | list[Any]) -> None:
    """Traces the functions that a conf (a file, or a list of rows) declares; their spans go to the pipeline.

    A row whose target is not there is told of in one line; the others are traced. ConfigError for a conf that is wrong.
    """
    _trace(_rows(conf))


def uninstrument() -> None:
    """Takes back what `instrument` did: the originals are in place again."""
    while _watches:
        _watches.pop().remove()
    pipeline_instrumentation().remove()


def flush(timeout: float = 5.0) -> bool:
    """Waits, at most `timeout` seconds, until everything that was finished before has left. False when some has not."""
    return _hiq.flush(timeout)


def shutdown(timeout: float = 5.0) -> bool:
    """Flushes and ends the pipeline; it is called at exit by itself. False when some spans have not left."""
    return _hiq.shutdown(timeout)


def stats() -> dict[str, dict[str, Any]]:
    """What became of the spans, by exporter; the numbers balance:
    offered + recovered = exported + sent_unconfirmed + rejected + dropped + queued + in_flight + spooled.
    After `shutdown` they are those of its end."""
    return _hiq.stats()


# --- for the rest of the package ------------------------------------------------------------------


def start(settings: dict[str, Any]) -> None:
    """Starts the pipeline, and what carries contexts between threads and processes."""
    from . import _processes, executors

    for warning in _hiq.init(settings):
        say(warning)
    executors.install()
    _processes.install()


def runtime_attributes() -> dict[str, str]:
    """The interpreter, by OpenTelemetry's conventions for resources."""
    return {
        "process.runtime.name": sys.implementation.name,
        "process.runtime.version": sys.version.split()[0],
        "process.runtime.description": sys.version,
    }


def pipeline_instrumentation() -> Instrumentation:
    """The targets that are traced for the pipeline's sake alone."""
    global _instrumentation
    if _instrumentation is None:
        from ._targets import Instrumentation

        _instrumentation = Instrumentation(None, say_untraced)
    return _instrumentation


def add_within_program(instrumentation: Instrumentation, rows: list[Row]) -> None:
    """Traces what the rows name, in the midst of the program's own code, which must not meet an error of ours."""
    try:
        instrumentation.add(rows)
    except Exception as error:
        say(f"{rows[0].place or rows[0].dotted}: {type(error).__name__}: {error}")


def say_untraced(row: Row, reason: str) -> None:
    """One line for a row that cannot be traced."""
    place = f"{row.place}: " if row.place else ""
    say(f"{place}{row.dotted} is not traced: {reason}")


def say(text: str) -> None:
    """A warning of ours, in the standard way: on stderr unless the program's logging says otherwise."""
    if os.environ.get("OTEL_LOG_LEVEL", "").lower() != "none":
        # Loaded when there is something to say: most programs load it anyway, the others need not.
        import logging

        logging.getLogger("hiq").warning("hiq: %s", text)


_instrumentation: Instrumentation | None = None
_watches: list[ModuleWatch] = []


def _trace(rows: list[Row]) -> None:
    """Traces what the rows name, now and when their modules are loaded again."""
    from ._imports import ModuleWatch

    pipeline_instrumentation().add(rows)
    by_module: dict[str, list[Row]] = {}
    for row in rows:
        by_module.setdefault(row.module, []).append(row)
    again = pipeline_instrumentation()
    watch = ModuleWatch(frozenset(by_module), lambda name, _module: add_within_program(again, by_module[name]))
    watch.listen()
    _watches.append(watch)


def _rows(conf: str | os.PathLike[str] | list[Any]) -> list[Row]:
    from ._rows import read_rows

    if isinstance(conf, (str, os.PathLike)):
        if not os.path.exists(conf):
            raise _hiq.ConfigError(
                f"conf: there is no file {os.fspath(conf)!r}; give the path of one, or a list of rows"
            )
    elif not isinstance(conf, list):
        raise _hiq.ConfigError(f"conf: {type(conf).__name__} was given; give the path of a file, or a list of rows")
    return read_rows(conf)


def _exporters(
    exporters: Iterable[str | Exporter | Mapping[str, Any]] | None,
    endpoint: str | None,
    protocol: str | None,
    headers: Mapping[str, str] | None,
) -> list[Any] | None:
    short = endpoint is not None or protocol is not None or headers is not None
    if exporters is None:
        return [OtlpExporter(endpoint, protocol=protocol, headers=headers).settings()] if short else None
    if short:
        raise _hiq.ConfigError(
            "init: exporters and one of endpoint, protocol, headers were given; give them to hiq.OtlpExporter"
        )
    return _listed(exporters, "exporters")


def _names(given: Iterable[str] | str | None) -> list[str] | str | None:
    return given if given is None or isinstance(given, str) else list(given)


def _listed(exporters: Iterable[str | Exporter | Mapping[str, Any]], place: str) -> list[Any]:
    if isinstance(exporters, str):
        raise _hiq.ConfigError(f"{place}: {exporters!r} was given; give a list of exporters, [{exporters!r}]")
    if isinstance(exporters, Mapping) or not isinstance(exporters, Iterable):
        raise _hiq.ConfigError(f"{place}: {_kind(exporters)} was given; give a list of exporters")
    return [_exporter(exporter, f"{place}[{index}]") for index, exporter in enumerate(exporters)]


def _exporter(exporter: str | Exporter | Mapping[str, Any], place: str) -> Any:
    if isinstance(exporter, Exporter):
        return exporter.settings()
    if isinstance(exporter, str):
        return exporter
    if isinstance(exporter, Mapping):
        return dict(exporter)
    raise _hiq.ConfigError(f"{place}: {_kind(exporter)} was given; give a name, an exporter, or a dict with its type")


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
