"""HiQ's drivers for Flask: each request, by its `X-Request-ID`, has a tree of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from . import _hiq, tracing
from ._by_request import DriverByRequest
from ._mod import mod
from .base import HiQLatency, HiQMemory
from .exporters import ConsoleExporter
from .hiq_utils import FlaskReqIdGenerator
from .memory import get_memory_mb

__all__ = ["FlaskReqIdGenerator", "HiQFlaskLatency", "HiQFlaskLatencyOtel", "HiQFlaskMemory"]

_OPENTELEMETRY_ATTRIBUTES = {
    # OpenTelemetry's names for what WSGI says of a request, as its instrumentation for WSGI has them by default.
    "http.method": "REQUEST_METHOD",
    "http.server_name": "SERVER_NAME",
    "http.scheme": "wsgi.url_scheme",
    "http.host": "HTTP_HOST",
    "net.peer.ip": "REMOTE_ADDR",
    "net.peer.port": "REMOTE_PORT",
    "http.user_agent": "HTTP_USER_AGENT",
}


class HiQFlaskLatency(DriverByRequest, HiQLatency):
    """Traces how long calls take, by request."""

    request_id = FlaskReqIdGenerator


class HiQFlaskMemory(DriverByRequest, HiQMemory):
    """Traces how long calls take and how the process's memory changes meanwhile, by request."""

    request_id = FlaskReqIdGenerator

    def __init__(
        self,
        hiq_table_or_path: Any = (),
        metric_funcs: Iterable[Callable[[], float]] = (time.time, get_memory_mb),
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(hiq_table_or_path, metric_funcs, *args, **kwargs)


class HiQFlaskLatencyOtel(HiQLatency):
    """Traces how long calls take, and makes a server span of each request to one of `endpoints`.

    The span goes on the caller's trace (`traceparent`) and is named like the endpoint. It is hiq's own, and goes where
    hiq's spans go; when nothing was set up, to stdout. `trace`, `trace_provider`, `tracer_name`, `span_processor` and
    `exporter` are OpenTelemetry's: where one is given, its SDK makes the span instead.
    """

    def __init__(
        self,
        *args: Any,
        trace: Any = None,
        trace_provider: Any = None,
        tracer_name: str | None = None,
        span_processor: Any = None,
        exporter: Any = None,
        endpoints: Container[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.endpoints = endpoints
        self.tracer: Any = None
        given = (trace, trace_provider, tracer_name, span_processor, exporter)
        if any(part is not None for part in given):
            self._set_up_opentelemetry(*given)
        elif not _hiq.is_running():
            tracing.start({"exporters": [ConsoleExporter().settings()], "runtime": tracing.runtime_attributes()})
        super().__init__(*args, **kwargs)

    def custom(self) -> None:
        flask = mod("flask")
        self.o_flask_dispatch_request = flask.Flask.dispatch_request
        before, driver = self.o_flask_dispatch_request, self

        def dispatch_request(self: Any, *args: Any, **kwargs: Any) -> Any:
            endpoint = str(flask.request.endpoint)
            if driver.endpoints is None or endpoint not in driver.endpoints:
                return before(self, *args, **kwargs)
            with driver._span(endpoint, flask.request):
                return before(self, *args, **kwargs)

        flask.Flask.dispatch_request = dispatch_request

    def custom_disable(self) -> None:
        mod("flask").Flask.dispatch_request = self.o_flask_dispatch_request

    def _set_up_opentelemetry(
        self, trace: Any, provider: Any, tracer_name: str | None, processor: Any, exporter: Any
    ) -> None:
        sdk = mod("opentelemetry.sdk.trace")
        export = mod("opentelemetry.sdk.trace.export")
        self.trace = trace or mod("opentelemetry.trace")
        provider = provider or sdk.TracerProvider()
        self.trace.set_tracer_provider(provider)
        self.exporter = exporter or (None if processor else export.ConsoleSpanExporter())
        self.span_processor = processor or export.BatchSpanProcessor(self.exporter)
        provider.add_span_processor(self.span_processor)
        self.tracer = provider.get_tracer(tracer_name or __name__)

    def _span(self, endpoint: str, request: Any) -> Any:
        attributes = _attributes(request.environ)
        if self.tracer is None:
            return _ServerSpan(endpoint, request.headers, attributes)
        extract = mod("opentelemetry.propagate").extract
        kind = self.trace.SpanKind.SERVER
        return self.tracer.start_as_current_span(
            endpoint, context=extract(request.headers), kind=kind, attributes=attributes
        )


class _ServerSpan:
    """A span of hiq's under the caller's."""

    def __init__(self, endpoint: str, headers: Any, attributes: dict[str, Any]) -> None:
        self._span = _hiq.trace(endpoint, kind="server", **attributes)
        self._caller = _hiq.extract(list(headers.items()))
        self._token: _hiq.Token | None = None

    def __enter__(self) -> None:
        if self._caller is not None:
            self._token = _hiq.attach(self._caller)
        self._span.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._span.__exit__(*error)
        if self._caller is not None:
            _hiq.detach(self._token)


def _attributes(environ: Mapping[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        name: environ[variable] for name, variable in _OPENTELEMETRY_ATTRIBUTES.items() if environ.get(variable)
    }
    query = environ.get("QUERY_STRING")
    attributes["http.target"] = environ.get("PATH_INFO", "/") + (f"?{query}" if query else "")
    if str(environ.get("SERVER_PORT", "")).isdigit():
        attributes["net.host.port"] = int(environ["SERVER_PORT"])
    attributes["http.flavor"] = str(environ.get("SERVER_PROTOCOL", "")).removeprefix("HTTP/")
    return attributes
