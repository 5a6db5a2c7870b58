"""The shop's counter: a WSGI application, and the threaded server in front of it."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from . import catalogue, codec, journal, pictures
from .errors import ShopError, UnknownPage
from .orders import GiftOrder, Order, place_order
from .pricing import unit_price
from .storage import Storage

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Executor

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

HOST = "127.0.0.1"
SEARCH_LIMIT = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What a customer sent."""

    number: int
    method: str
    path: tuple[str, ...]
    query: dict[str, list[str]]
    body: bytes
    takes_deflate: bool

    @classmethod
    def from_environ(cls, environ: WSGIEnvironment) -> Request:
        """Read a request off the wire."""
        return cls(
            number=_whole_number(environ.get("HTTP_X_REQUEST_NUMBER")),
            method=environ["REQUEST_METHOD"],
            path=tuple(part for part in environ["PATH_INFO"].split("/") if part),
            query=parse_qs(environ.get("QUERY_STRING", "")),
            body=environ["wsgi.input"].read(_whole_number(environ.get("CONTENT_LENGTH"))),
            takes_deflate="deflate" in environ.get("HTTP_ACCEPT_ENCODING", ""),
        )


@dataclass(frozen=True)
class Reply:
    """What is sent back: bytes as they are, anything else as JSON."""

    payload: object
    status: str = "200 OK"
    media_type: str = "application/json"


class Application:
    """Answers requests, each on a connection of its own to the books."""

    def __init__(self, database: str, pool: Executor) -> None:
        self._database = database
        self._pool = pool

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, as WSGI wants it."""
        request = Request.from_environ(environ)
        with journal.inside("shop.web.Application.__call__", request=request.number):
            try:
                with closing(Storage(self._database)) as storage:
                    reply = self._answer(request, storage)
            except ShopError as error:
                reply = Reply({"error": str(error)}, error.status)
            return _send(reply, request, start_response)

    def _answer(self, request: Request, storage: Storage) -> Reply:
        if request.method == "POST":
            return self._sell(request, storage)
        match request.path:
            case ():
                return Reply({"try": ["/products?words=blue", "/products/P-1", "/categories"]})
            case ("categories",):
                return _list_categories(storage)
            case ("products",):
                return _search(request, storage)
            case ("products", sku):
                return _show(sku, storage)
            case ("products", sku, "picture.png"):
                return self._picture(sku, storage)
        raise UnknownPage(f"there is nothing at /{'/'.join(request.path)}")

    def _sell(self, request: Request, storage: Storage) -> Reply:
        kinds: dict[tuple[str, ...], type[Order]] = {
            ("orders",): Order,
            ("gift-orders",): GiftOrder,
        }
        if request.path not in kinds:
            raise UnknownPage(f"nothing is sold at /{'/'.join(request.path)}")
        order = kinds[request.path].from_json(request.number, request.body)
        receipt = place_order(order, storage, self._pool)
        return Reply(asdict(receipt), "201 Created")

    def _picture(self, sku: str, storage: Storage) -> Reply:
        recipe = storage.product(sku).picture
        drawing = self._pool.submit(journal.carry(pictures.draw), recipe)
        return Reply(drawing.result(), media_type="image/png")


class Guard:
    """Turns what an application did not foresee into a plain answer, and a line in the log."""

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, whatever happens."""
        try:
            return self._application(environ, start_response)
        except Exception:
            logger.warning("%s failed", environ["PATH_INFO"], exc_info=True)
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
            return [b"something broke; we are looking into it\n"]


class ShopServer(ThreadingMixIn, WSGIServer):
    """One thread per connection; closing the server waits for them."""

    request_queue_size = 128
    daemon_threads = False

    @classmethod
    def on_loopback(cls, application: WSGIApplication, port: int = 0) -> ShopServer:
        """Listen at ``port``, or at one of the system's choice."""
        server = cls((HOST, port), _QuietHandler)
        server.set_app(Guard(application))
        return server


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)


def _list_categories(storage: Storage) -> Reply:
    shelves = catalogue.shelve(storage.products().values())
    return Reply({"products": shelves.product_count(), "outline": shelves.outline()})


def _search(request: Request, storage: Storage) -> Reply:
    words = request.query.get("words", [""])[0].split()
    category = request.query.get("category", [""])[0]
    found = catalogue.search(storage.products().values(), *words, category=category)
    return Reply({"found": [product.sku for product in islice(found, SEARCH_LIMIT)]})


def _show(sku: str, storage: Storage) -> Reply:
    product = storage.product(sku)
    products = storage.products()
    page = {
        "name": product.name,
        "category": product.category,
        "price_cents": unit_price(sku, products),
        "similar": catalogue.similar(product, products.values()),
    }
    return Reply(page)


def _send(reply: Reply, request: Request, start_response: StartResponse) -> list[bytes]:
    headers = [("Content-Type", reply.media_type)]
    if isinstance(reply.payload, bytes):
        body = reply.payload
    else:
        body = codec.pack(reply.payload, deflate=request.takes_deflate, sort_keys=True)
        if request.takes_deflate:
            headers.append(("Content-Encoding", "deflate"))
    headers.append(("X-Checksum", codec.checksum(body)))
    start_response(reply.status, headers)
    return [body]


def _whole_number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0
