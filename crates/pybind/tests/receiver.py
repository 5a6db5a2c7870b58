"""A receiver of requests that is not ours: http.server, which keeps what comes."""

from __future__ import annotations

import gzip
import http.server
import json
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        unpacked = gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body
        return json.loads(unpacked)


class Receiver:
    """Answers everything with `status`; requests are read from `requests`, oldest first."""

    def __init__(self, server: http.server.HTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.requests: queue.Queue[Request] = queue.Queue()
        self.status = 200

    def next(self) -> Request:
        return self.requests.get(timeout=60)

    def rest(self) -> Iterator[Request]:
        while not self.requests.empty():
            yield self.requests.get()


@contextmanager
def receiver() -> Iterator[Receiver]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            kept.requests.put(Request(self.command, self.path, headers, body))
            self.send_response(kept.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PUT = do_POST

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    kept = Receiver(server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def values(request: Request) -> dict[tuple[str, tuple[tuple[str, str], ...]], Any]:
    """The points of an OTLP JSON request of metrics, by name and labels."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = {}
    for resource in request.json()["resourceMetrics"]:
        for scope in resource["scopeMetrics"]:
            for metric in scope["metrics"]:
                (data,) = (metric[kind] for kind in metric if isinstance(metric[kind], dict))
                for point in data["dataPoints"]:
                    labels = ((pair["key"], pair["value"]["stringValue"]) for pair in point.get("attributes", []))
                    found[(metric["name"], tuple(sorted(labels)))] = point
    return found
