"""HiQ's drivers for FastAPI, and its pages `/hiq` and `/latency/<request id>`."""

from __future__ import annotations

import hmac
import os
import secrets
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextvars import ContextVar
from importlib import import_module
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID, uuid4

from .. import _ui
from .._by_request import DriverByRequest
from ..base import HiQLatency, HiQMemory
from ..constants import ExtraMetrics
from ..hiq_utils import func_args_handler
from ..memory import get_memory_mb
from ..utils import get_env_bool

__all__ = [
    "CorrelationIdMiddleware",
    "FastAPIReqIdGenerator",
    "HiQFastAPILatency",
    "HiQFastAPILatencyMixin",
    "HiQFastAPIMemory",
    "add_pages",
    "correlation_id",
    "get_corr_id",
    "is_valid_uuid4",
    "run_fastapi",
]

# The id of the current request.
correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)

_LONGEST_FORM = 4096


class FastAPIReqIdGenerator:
    """Gives the id of the current request."""

    def __call__(self) -> str | None:
        return correlation_id.get()


class HiQFastAPILatency(DriverByRequest, HiQLatency):
    """Traces how long calls take, by request."""

    request_id = FastAPIReqIdGenerator


class HiQFastAPIMemory(DriverByRequest, HiQMemory):
    """Traces how long calls take and how the process's memory changes meanwhile, by request."""

    request_id = FastAPIReqIdGenerator

    def __init__(
        self,
        hiq_table_or_path: Any = (),
        metric_funcs: Iterable[Callable[[], float]] = (time.time, get_memory_mb),
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(hiq_table_or_path, metric_funcs, *args, **kwargs)


class HiQFastAPILatencyMixin:
    """Makes a driver that is named after it hold a tree for each request."""

    def __init__(
        self,
        hiq_table_or_path: Any = (),
        metric_funcs: Iterable[Callable[[], float]] = (time.time,),
        hiq_id_func: Callable[[], object] | None = FastAPIReqIdGenerator(),
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
    ) -> None:
        super().__init__(  # type: ignore[call-arg]
            hiq_table_or_path,
            metric_funcs,
            hiq_id_func,
            func_args_handler,
            target_path,
            max_hiq_size,
            verbose,
            fast_fail,
            tpl,
            extra_hiq_table,
            attach_timestamp,
            extra_metrics,
            lmk_path,
            lmk_handler,
            lmk_logger,
        )


def is_valid_uuid4(uuid_: str) -> bool:
    """Whether the text is a UUID."""
    try:
        return bool(UUID(uuid_, version=4))
    except ValueError:
        return False


def get_corr_id() -> str | None:
    """The id of the current request: ours, else that of the package asgi-correlation-id."""
    theirs = sys.modules.get("asgi_correlation_id.context")
    own = correlation_id.get()
    return theirs.correlation_id.get() if own is None and theirs is not None else own


class CorrelationIdMiddleware:
    """Gives the request's id back in the answer."""

    def __init__(self, app: Any, header_name: str = "X-Request-ID") -> None:
        self.app = app
        self.header_name = header_name

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_id(message: Any) -> None:
            known = correlation_id.get()
            if message["type"] == "http.response.start" and known:
                more = [(self.header_name, known), ("Access-Control-Expose-Headers", self.header_name)]
                message = {**message, "headers": [*message.get("headers", ()), *map(_raw, more)]}
            await send(message)

        await self.app(scope, receive, send_with_id)


class _Requests:
    """Gives listed requests an id, and tells how long they took."""

    def __init__(self, app: Any, header_name: str, listed: Collection[str], generator: Callable[[], str]) -> None:
        self.app = app
        self._header = header_name.lower().encode("latin-1")
        self._listed = listed
        self._generator = generator

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or "/" + scope["path"].rsplit("/", 1)[-1] not in self._listed:
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == self._header), None)
        token = correlation_id.set(given.decode("latin-1") if given is not None else self._generator())
        began = time.monotonic()

        async def send_with_latency(message: Any) -> None:
            if message["type"] == "http.response.start":
                latency = _raw(("X-Latency", str(time.monotonic() - began)))
                message = {**message, "headers": [*message.get("headers", ()), latency]}
            await send(message)

        try:
            await self.app(scope, receive, send_with_latency)
        finally:
            correlation_id.reset(token)


class _ThreadLimit:
    """Sets how many requests run in threads at a time, once there is an event loop."""

    def __init__(self, app: Any, threads: int | None) -> None:
        self.app = app
        self._threads = threads

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" and self._threads:
            import_module("anyio.to_thread").current_default_thread_limiter().total_tokens = self._threads
        await self.app(scope, receive, send)


def run_fastapi(
    driver: Any,
    app: Any,
    header_name: str = "X-Request-ID",
    host: str = "127.0.0.1",
    port: int = 8080,
    worker: int = 1,
    thread_limit: int | None = os.cpu_count(),
    endpoints: Collection[str] = frozenset({"/predict"}),
    generator: Callable[[], str] = lambda: uuid4().hex,
    custom: Mapping[str, tuple[str, Callable[..., Any] | None]] | None = None,
    app_title: str = "Application",
    app_version: str = "1.0.0",
) -> None:
    """Runs an application with HiQ's pages in it, by uvicorn. `HIQ_FLASK_PORT` and `HIQ_FLASK_WORKER` beat `port` and
    `worker`. It listens on this machine alone unless a host is given (HiQ: on all interfaces)."""
    app.title, app.version, app.description = app_title, app_version, "<a href=hiq>HiQ</a>"
    add_pages(driver, app, header_name, thread_limit, endpoints, generator, custom)
    port = int(os.environ.get("HIQ_FLASK_PORT", port))
    workers = int(os.environ.get("HIQ_FLASK_WORKER", worker))
    import_module("uvicorn").run(app, host=host, port=port, workers=workers)


def add_pages(
    driver: Any,
    app: Any,
    header_name: str = "X-Request-ID",
    thread_limit: int | None = None,
    endpoints: Collection[str] = frozenset({"/predict"}),
    generator: Callable[[], str] = lambda: uuid4().hex,
    custom: Mapping[str, tuple[str, Callable[..., Any] | None]] | None = None,
) -> None:
    """Adds HiQ's pages to an application, and request ids to its `endpoints` (the last parts of their paths).

    Enabling and disabling take a POST with the token that the page carries, which is `HIQ_UI_TOKEN` or made anew;
    a GET does so only with `HIQ_UI_ALLOW_GET=1`.
    """
    custom = {"/custom": ("get", None)} if custom is None else custom
    app.add_middleware(CorrelationIdMiddleware, header_name=header_name)
    listed = {*endpoints, *custom}
    app.add_middleware(_Requests, header_name=header_name, listed=listed, generator=generator)
    app.add_middleware(_ThreadLimit, threads=thread_limit)
    for path, (method, function) in custom.items():
        app.add_api_route(path, function or _not_implemented, methods=[method.upper()])
    pages = _Pages(driver)
    app.add_route("/hiq", pages.hiq)
    app.add_route("/latency/{req_id:path}", pages.latency)
    app.add_route("/hiq_enable", pages.enable, methods=["GET", "POST"])
    app.add_route("/hiq_disable", pages.disable, methods=["GET", "POST"])


def _not_implemented() -> str:
    return "NOT_IMPLEMENTED"


class _Pages:
    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self._token = os.environ.get("HIQ_UI_TOKEN") or secrets.token_urlsafe(24)

    async def hiq(self, request: Any) -> Any:
        return _html(_ui.drivers_page(self._driver, self._token) if self._driver else "")

    async def latency(self, request: Any) -> Any:
        return _html(_ui.tree_page(self._driver, request.path_params["req_id"]) if self._driver else "")

    async def enable(self, request: Any) -> Any:
        return await self._switch(request, on=True)

    async def disable(self, request: Any) -> Any:
        return await self._switch(request, on=False)

    async def _switch(self, request: Any, *, on: bool) -> Any:
        responses = import_module("starlette.responses")
        if request.method == "GET":
            if not get_env_bool("HIQ_UI_ALLOW_GET"):
                refused = "This takes a POST with the token of the page /hiq; HIQ_UI_ALLOW_GET=1 allows a GET.\n"
                return responses.PlainTextResponse(refused, status_code=405, headers={"Allow": "POST"})
        elif not hmac.compare_digest(await _token_of(request), self._token.encode()):
            return responses.PlainTextResponse("The token is wrong: reload the page /hiq.\n", status_code=403)
        if self._driver:
            self._driver.enable_hiq() if on else self._driver.disable_hiq()
        return responses.RedirectResponse(url="/hiq", status_code=307 if request.method == "GET" else 303)


async def _token_of(request: Any) -> bytes:
    """The field `token` of a form, else the header `X-HiQ-Token`."""
    if header := request.headers.get("x-hiq-token"):
        return bytes(header, "utf-8")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            return b""
    fields = parse_qs(body.decode("latin-1"))
    return fields.get("token", [""])[0].encode()


def _html(text: str) -> Any:
    # The page carries a token: no other site may frame it or have it from a cache.
    headers = {"Cache-Control": "no-store", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer"}
    return import_module("starlette.responses").HTMLResponse(text, headers=headers)


def _raw(header: tuple[str, str]) -> tuple[bytes, bytes]:
    return header[0].lower().encode("latin-1"), header[1].encode("latin-1")
