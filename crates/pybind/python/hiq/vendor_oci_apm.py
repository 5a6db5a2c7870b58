"""HiQ's ways to OCI APM: `HiQOciApmContext`, and what it is made of."""

from __future__ import annotations

import functools
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from . import _hiq, distributed, tracing
from .constants import TRACING_TYPE_OCI
from .exporters import Exporter, OciApmExporter

__all__ = ["HiQOciApmContext", "OciApmHttpTransport", "get_oci_apm_endpoint"]

_DEFAULT_TAGS: Mapping[str, str] = MappingProxyType({"mode": "sync"})
_PATIENCE_S = 5.0

F = TypeVar("F", bound=Callable[..., Any])


def get_oci_apm_endpoint(APM_BASE_URL: str = "", key: str = "") -> str:
    """The address of the upload, data key included. `APM_BASE_URL`, `APM_PUB_KEY` and `APM_API_VER` beat arguments."""
    base = os.environ.get("APM_BASE_URL", APM_BASE_URL)
    key = os.environ.get("APM_PUB_KEY", key)
    version = os.environ.get("APM_API_VER", "20200101")
    if not key:
        raise ValueError("🦉 Please setup environment variable `APM_PUB_KEY`")
    if not base:
        raise ValueError("🦉 Please setup environment variable `APM_BASE_URL`")
    return f"{base}/{version}/observations/public-span?dataFormat=zipkin&dataFormatVersion=2&dataKey={key}"


class OciApmHttpTransport:
    """Uploads spans that are Zipkin's JSON of version 2 already, when it is made: what py_zipkin calls a transport.

    A failure is said in a line, and never raised.
    """

    def __init__(self, encoded_span: str | bytes, apm_url: str | None = None, debug: bool = False) -> None:
        self.encoded_span = encoded_span
        self.apm_url = get_oci_apm_endpoint() if apm_url is None else apm_url
        self.debug = debug
        self.call()

    def call(self) -> None:
        """Uploads them."""
        body = self.encoded_span.encode() if isinstance(self.encoded_span, str) else self.encoded_span
        start = time.monotonic()
        with _hiq.suppress():
            status = _post(self.apm_url, body)
        if self.debug:
            print(f"😎 len(s.encoded_span)={len(self.encoded_span)}")
            post_latency_cost = (time.monotonic() - start) * 1e6
            print(f"⏰ {post_latency_cost=}us, res.status_code={status}")


def _post(url: str, body: bytes) -> int | None:
    if not url.startswith(("https://", "http://")):
        raise ValueError("APM_BASE_URL: give it as https://...")
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
    # The address holds the data key: what is said leaves its query out.
    shown = url.partition("?")[0]
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_S) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        tracing.say(f"{shown} answered {error.code}")
        error.close()
        return int(error.code)
    except OSError as error:
        tracing.say(f"{shown} was not reached: {getattr(error, 'reason', error)}")
        return None


class HiQOciApmContext:
    """The root of a trace in OCI APM: a span of kind *server*, whose tags are `binary_annotations`.

    Calls of traced functions inside are spans under it, of the service that `SERVICE_NAME` names (`hiq`), unless
    `TRACE_TYPE` is set to something else than `oci-apm`. `sample_rate` is a percentage. Leaving it sends what has been
    recorded, for at most five seconds. It is a decorator as well. `APM_BASE_URL` and `APM_PUB_KEY` say where to.
    """

    def __init__(
        self,
        service_name: str = "hiq_service_name",
        span_name: str = "hiq_span_name",
        binary_annotations: Mapping[str, Any] = _DEFAULT_TAGS,
        sample_rate: float = 100,
    ) -> None:
        if not 0 <= sample_rate <= 100:
            raise ValueError(f"sample_rate: {sample_rate} is no percentage; give 0 to 100")
        self.service_name = service_name
        self.span_name = span_name
        self.binary_annotations = dict(binary_annotations)
        self.sample_rate = sample_rate
        self._span: _hiq.RootSpan | None = None
        self._token: _hiq.Token | None = None
        self._shared: SharedExporter | None = None

    def start(self) -> HiQOciApmContext:
        """Begins the span, as `with` does."""
        self._shared = SharedExporter.enter()
        parent = _hiq.current_context()
        sampled = self.sample_rate > 0 and random.random() * 100 < self.sample_rate
        self._span = _hiq.RootSpan(
            self.span_name, self.service_name, self.binary_annotations, sampled=sampled, parent=parent
        )
        takes_children = os.environ.get("TRACE_TYPE", TRACING_TYPE_OCI) == TRACING_TYPE_OCI
        self._token = _hiq.attach(self._span.context if takes_children else self._span.unsampled_context)
        return self

    def stop(self, exc_type: Any = None, exc_value: BaseException | None = None, exc_traceback: Any = None) -> None:
        """Ends the span and sends what has been recorded."""
        span, shared = self._span, self._shared
        if span is None or shared is None:
            return
        self._span = self._shared = None
        _hiq.detach(self._token)
        span.finish(exc_value)
        shared.leave()

    def update_binary_annotations(self, extra_annotations: Mapping[str, Any]) -> None:
        """Adds tags."""
        self.binary_annotations.update(extra_annotations)
        if self._span is not None:
            self._span.add_tags(dict(extra_annotations))

    def __enter__(self) -> HiQOciApmContext:
        return self.start()

    def __exit__(self, *error: Any) -> None:
        self.stop(*error)

    def __call__(self, function: F) -> F:
        @functools.wraps(function)
        def traced(*args: Any, **kwargs: Any) -> Any:
            with HiQOciApmContext(self.service_name, self.span_name, self.binary_annotations, self.sample_rate):
                return function(*args, **kwargs)

        return traced  # type: ignore[return-value]


class SharedExporter:
    """The exporter of contexts that are open at the same time: each span must be sent once."""

    _lock = threading.Lock()
    _current: SharedExporter | None = None

    def __init__(self, exporter: Exporter, service: str) -> None:
        # What has no root here, as in other threads, is nobody's to send.
        sampler = {"sampler": "parentbased_always_off"}
        self._handle = distributed._attach(exporter, os.environ.get("SERVICE_NAME", service), **sampler)
        # HiQ's spans name no library.
        self._scope = _hiq.set_scope("", "")
        self._users = 0

    @classmethod
    def enter(cls, service: str = "hiq") -> SharedExporter:
        """One more user. `service` is that of the spans under the roots, unless `SERVICE_NAME` names another."""
        get_oci_apm_endpoint()
        with cls._lock:
            if cls._current is None:
                cls._current = SharedExporter(OciApmExporter(resource_tags=False), service)
            cls._current._users += 1
            return cls._current

    def leave(self) -> None:
        """One user less: what it has recorded is sent."""
        with SharedExporter._lock:
            self._users -= 1
            if self._users == 0:
                SharedExporter._current = None
                _hiq.set_scope(*self._scope)
                distributed._detach(self._handle)
                return
        _hiq.flush(_PATIENCE_S)
