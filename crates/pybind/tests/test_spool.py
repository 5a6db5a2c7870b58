"""With HIQ_SPOOL_DIR, spans outlive a process whose backend was down: the next process delivers them."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import python

RECORDS = """
import hiq

hiq.init("spooled", log_level="none")
for number in range(3):
    hiq.record(f"span-{number}")
hiq.flush(60)
stats = hiq.stats()["otlp"]
assert stats["spooled"] == 3, stats
hiq.shutdown(1)
"""

DELIVERS = """
import hiq

hiq.init("spooled", log_level="none")
assert hiq.flush(60)
stats = hiq.stats()["otlp"]
assert (stats["recovered"], stats["exported"], stats["spooled"]) == (3, 3, 0), stats
"""


class Taker(http.server.BaseHTTPRequestHandler):
    bodies: list[bytes]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def taker() -> Iterator[tuple[str, list[bytes]]]:
    bodies: list[bytes] = []
    handler = type("Handler", (Taker,), {"bodies": bodies})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", bodies
        server.shutdown()
        thread.join()


def test_spans_outlive_a_process_whose_backend_was_down(tmp_path: Path, taker: tuple[str, list[bytes]]) -> None:
    url, bodies = taker
    spool = str(tmp_path / "spool")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        ran = python("-c", RECORDS, folder=tmp_path, HIQ_SPOOL_DIR=spool, OTEL_EXPORTER_OTLP_ENDPOINT=closed)
        assert ran.returncode == 0, ran.stderr
    assert bodies == []
    ran = python("-c", DELIVERS, folder=tmp_path, HIQ_SPOOL_DIR=spool, OTEL_EXPORTER_OTLP_ENDPOINT=url)
    assert ran.returncode == 0, ran.stderr
    sent = b"".join(bodies)
    assert [sent.count(b"span-%d" % number) for number in range(3)] == [1, 1, 1]
