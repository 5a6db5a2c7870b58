"""Prometheus: HiQ's summaries, a collector for `prometheus_client`, and `/metrics` for web applications.

    app.mount("/metrics", hiq.prometheus.asgi_app())                # FastAPI, Starlette
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/metrics": hiq.prometheus.wsgi_app()})  # Flask

Without a web application, `hiq.init(metrics=["prometheus"])` listens at localhost:9464.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Any

from . import _hiq

__all__ = ["HiqCollector", "address", "asgi_app", "get_summary", "wsgi_app"]

_OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
# Of the resource, which prometheus_client has none of.
_TARGET = "target"
_shown = False


def get_summary(name: str, desc: str | None = None) -> _hiq.Summary:
    """HiQ's: the summary `name` (`hiq_main` for `__main`), shown by `prometheus_client`'s default registry."""
    if name[0:2] == "__":
        name = f"hiq_{name[2:]}"
    summary = _hiq.hiq_summary(name, name if desc is None else desc)
    show()
    return summary


def address() -> tuple[str, int] | None:
    """Where this process answers scrapes by `hiq.init(metrics=["prometheus"])`: host and port."""
    return _hiq.scrape_address()


class HiqCollector:
    """All metrics of hiq for a registry of `prometheus_client`:

    prometheus_client.REGISTRY.register(hiq.prometheus.HiqCollector())
    """

    def describe(self) -> list[Any]:
        """Nothing: what there is, is known when it is collected."""
        return []

    def collect(self) -> Iterator[Any]:
        """Everything that has been measured up to now."""
        _hiq.flush_counts()
        return _families(_hiq.prometheus_page(_OPEN_METRICS)[2])


class _HiqSummaries(HiqCollector):
    """HiQ's summaries alone."""

    def collect(self) -> Iterator[Any]:
        _hiq.flush_counts()
        return _families(_hiq.hiq_summaries_page(_OPEN_METRICS)[2])


def _families(page: bytes) -> Iterator[Any]:
    # Its own reader of our page: names, labels and kinds are then the same wherever they are scraped.
    parser: Any = importlib.import_module("prometheus_client.openmetrics.parser")
    for family in parser.text_string_to_metric_families(page.decode()):
        if family.name != _TARGET:
            yield family


# --- applications -----------------------------------------------------------------------------------

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


def wsgi_app(*, utf8_names: bool = False) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
    """A WSGI application that answers scrapes with all metrics of this process, its own and Python's.

    `utf8_names` leaves names as they are for scrapers that read them.
    """

    def metrics_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status, headers, body = _answer(
            environ.get("REQUEST_METHOD", "GET"),
            environ.get("HTTP_ACCEPT", ""),
            environ.get("HTTP_ACCEPT_ENCODING", ""),
            utf8_names,
        )
        start_response(status, headers)
        return [body]

    return metrics_app


def asgi_app(*, utf8_names: bool = False) -> Callable[[MutableMapping[str, Any], _Receive, _Send], Awaitable[None]]:
    """An ASGI application that answers scrapes with all metrics of this process, its own and Python's.

    `utf8_names` leaves names as they are for scrapers that read them.
    """

    async def metrics_app(scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            status, headers, body = await _in_thread(
                scope["method"], given.get("accept", ""), given.get("accept-encoding", ""), utf8_names
            )
            raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            await send({"type": "http.response.start", "status": int(status[:3]), "headers": raw})
            await send({"type": "http.response.body", "body": body})
        else:
            raise ValueError(f"metrics are answered over http, not {scope['type']}")

    return metrics_app


async def _live(receive: _Receive, send: _Send) -> None:
    """Starts and ends with the server, where the application is not mounted in another one."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _in_thread(method: str, accept: str, accept_encoding: str, utf8_names: bool) -> _Answer:
    """Counting may take a moment: the loop goes on meanwhile, where it is asyncio's."""
    import asyncio

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _answer(method, accept, accept_encoding, utf8_names)
    return await loop.run_in_executor(None, _answer, method, accept, accept_encoding, utf8_names)


_Answer = tuple[str, list[tuple[str, str]], bytes]


def _answer(method: str, accept: str, accept_encoding: str, utf8_names: bool) -> _Answer:
    """Status, headers and body."""
    if method not in ("GET", "HEAD"):
        return "405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")], b""
    from . import _process_metrics

    _hiq.flush_counts()
    content_type, encoding, body = _hiq.prometheus_page(
        accept, accept_encoding, _process_metrics.families(), _process_metrics.started(), utf8_names
    )
    headers = [
        ("Content-Type", content_type),
        ("Vary", "Accept, Accept-Encoding"),
        ("Content-Length", str(len(body))),
    ]
    if encoding is not None:
        headers.append(("Content-Encoding", encoding))
    return "200 OK", headers, b"" if method == "HEAD" else body


# --- for the rest of the package ----------------------------------------------------------------------


def follow() -> None:
    """`TRACE_TYPE=prometheus`: a summary for each tag, shown by `prometheus_client`'s default registry."""
    _hiq.follow_hiq_summaries()
    if not show():
        from .tracing import say

        say(
            "TRACE_TYPE=prometheus: calls are summed up, but prometheus_client, which would show them, is not installed"
        )


def show() -> bool:
    """Has HiQ's summaries collected by `prometheus_client`'s default registry. False when it is not installed."""
    global _shown
    if not _shown and importlib.util.find_spec("prometheus_client") is not None:
        client: Any = importlib.import_module("prometheus_client")
        client.REGISTRY.register(_HiqSummaries())
        _shown = True
    return _shown
