"""HiQ's helper for Flask applications: each request is the root of a trace in OCI APM."""

from __future__ import annotations

import functools
import inspect
import random
from collections.abc import Callable
from typing import Any, TypeVar

from . import _hiq, tracing
from ._mod import mod
from .vendor_oci_apm import OciApmHttpTransport, SharedExporter

__all__ = ["FlaskWithOciApm", "child_span"]

F = TypeVar("F", bound=Callable[..., Any])


class FlaskWithOciApm:
    """Makes a span of kind *server* of each request: of the service `app.name`, named `<endpoint>.<METHOD>`.

    It goes on with the caller's trace where the request has Zipkin's headers (`x-b3-...`); what is not sampled there is
    sampled by `sample_rate`, a percentage, as in HiQ. `APM_BASE_URL` and `APM_PUB_KEY` say where to; spans leave in
    batches while the application goes on. With `ZIPKIN_DISABLE` or `TESTING` in the application's config nothing is
    done. `timeout` and `transport_handler_` are accepted for HiQ's sake.
    """

    def __init__(
        self,
        app: Any = None,
        sample_rate: float = 100,
        timeout: float = 1,
        transport_handler_: Any = OciApmHttpTransport,
    ) -> None:
        if not 0 <= sample_rate <= 100:
            raise ValueError(f"sample_rate: {sample_rate} is no percentage; give 0 to 100")
        self._exempt_views: set[str] = set()
        self._sample_rate = sample_rate
        self._timeout = timeout
        self._transport_handler = transport_handler_
        self._shared: SharedExporter | None = None
        self._disable = False
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Any) -> FlaskWithOciApm:
        """Has `app` traced."""
        self.app = app
        app.before_request(self._before_request)
        app.teardown_request(self._teardown_request)
        self._disable = bool(app.config.get("ZIPKIN_DISABLE", app.config.get("TESTING", False)))
        return self

    def exempt(self, view: F) -> F:
        """Makes no spans of requests to this view."""
        self._exempt_views.add(_location(view))
        return view

    def update_tags(self, **kwargs: Any) -> None:
        """Adds tags to the span of the current request."""
        if span := _current():
            span.add_tags(kwargs)

    def logging(self, **kwargs: Any) -> None:
        """HiQ's former name of `update_tags`."""
        tracing.say("FlaskWithOciApm.logging is deprecated, please call `update_tags` instead")
        self.update_tags(**kwargs)

    def create_http_headers_for_new_span(self) -> dict[str, str]:
        """Zipkin's headers, for a request that is made while serving this one."""
        if self._disable or _current() is None:
            return {}
        return dict(_hiq.inject({}, ["b3multi"]))

    def _before_request(self) -> None:
        if self._disable:
            return
        flask = mod("flask")
        request = flask.request
        view = flask.current_app.view_functions.get(request.endpoint)
        if view is not None and _location(view) in self._exempt_views:
            return
        if self._shared is None:
            # For as long as the process lives: a batch is sent when it is full or old, not at the end of each request.
            self._shared = SharedExporter.enter(self.app.name)
        parent = _hiq.extract(list(request.headers.items()), ["b3multi"])
        span = _hiq.RootSpan(
            f"{request.endpoint}.{request.method}", self.app.name, {}, sampled=self._samples(parent), parent=parent
        )
        flask.g._hiq_apm = (span, _hiq.attach(span.context))

    def _samples(self, parent: _hiq.Context | None) -> bool:
        if parent is not None and parent.trace_flags & 1:
            return True
        return self._sample_rate > 0 and random.random() * 100 < self._sample_rate

    def _teardown_request(self, error: BaseException | None = None) -> None:
        flask = mod("flask")
        span, token = flask.g.pop("_hiq_apm", (None, None))
        if span is not None:
            _hiq.detach(token)
            span.finish(error)


def child_span(f: F) -> F:
    """Makes a span of each call, under that of the request; `f` gets it as its argument `span`, where it has one."""
    parameters = inspect.signature(f).parameters.values()
    takes_span = any(parameter.name == "span" or parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)

    @functools.wraps(f)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        with _hiq.trace(f.__name__) as span:
            if takes_span:
                kwargs["span"] = span
            result = f(*args, **kwargs)
            span.set_attribute("function_args", args)
            span.set_attribute("function_returns", result)
            return result

    return decorated  # type: ignore[return-value]


def _location(view: Callable[..., Any]) -> str:
    return f"{view.__module__}.{view.__name__}"


def _current() -> _hiq.RootSpan | None:
    flask = mod("flask")
    if not flask.has_request_context():
        return None
    span, _ = flask.g.get("_hiq_apm", (None, None))
    return span  # type: ignore[no-any-return]
