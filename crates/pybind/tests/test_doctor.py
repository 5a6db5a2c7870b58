"""`hiq doctor` against servers that are well, and against everything that can be wrong with one."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import PACKAGE_FOLDER, plain_environment, python

DOCTOR = ["-m", "hiq", "doctor", "--timeout", "20"]


class Backend(http.server.BaseHTTPRequestHandler):
    """Answers all requests as its server says, and keeps them."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, body))  # type: ignore[attr-defined]
        answer = b""
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[Callable[[int], http.server.ThreadingHTTPServer]]:
    servers = []

    def start(status: int) -> http.server.ThreadingHTTPServer:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
        server.status, server.requests = status, []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def url(server: http.server.ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


def test_an_exporter_that_delivers_is_well(backend: Callable, tmp_path: Path) -> None:
    server = backend(200)
    ran = python(
        *DOCTOR,
        folder=tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT=url(server),
        OTEL_EXPORTER_OTLP_PROTOCOL="http/json",
        OTEL_SERVICE_NAME="patient",
    )
    assert ran.returncode == 0, ran.stderr
    ((path, body),) = server.requests
    (group,) = json.loads(body)["resourceSpans"]
    (span,) = group["scopeSpans"][0]["spans"]
    assert (path, span["name"]) == ("/v1/traces", "hiq doctor")
    assert {"key": "service.name", "value": {"stringValue": "patient"}} in group["resource"]["attributes"]
    assert ran.stdout.splitlines()[0] == f"otlp      {url(server)}/v1/traces"
    assert f"ok: the span `hiq doctor` of trace {span['traceId']} was taken in " in ran.stdout
    assert ran.stdout.endswith("all exporters deliver, as far as can be seen\n")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "answered 401 unauthorized; check the credentials in OTEL_EXPORTER_OTLP_HEADERS"),
        (404, "answered 404 not found; is this an OTLP server with its HTTP receiver on"),
        (503, "answered 503 service unavailable"),
    ],
)
def test_what_a_server_answers_is_said(backend: Callable, tmp_path: Path, status: int, words: str) -> None:
    server = backend(status)
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": url(server), "OTEL_EXPORTER_OTLP_HEADERS": "api-key=geheim"}
    ran = python(*DOCTOR, folder=tmp_path, **environment)
    assert ran.returncode == 1, ran.stderr
    assert f"FAILED: {url(server)}/v1/traces {words}" in ran.stdout
    assert "1 of 1 exporters cannot deliver" in ran.stdout
    assert "geheim" not in ran.stdout + ran.stderr


def test_each_of_several_exporters_has_its_paragraph(backend: Callable, tmp_path: Path) -> None:
    zipkin, nobody = backend(202), closed_port(socket.SOCK_STREAM)
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{nobody}",
        "OTEL_EXPORTER_ZIPKIN_ENDPOINT": f"{url(zipkin)}/api/v2/spans",
        "OTEL_TRACES_EXPORTER": "otlp,zipkin",
    }
    ran = python(*DOCTOR, folder=tmp_path, **environment)
    assert ran.returncode == 1, ran.stderr
    otlp, otlp_words, second, zipkin_words, last = ran.stdout.splitlines()
    assert otlp == f"otlp      http://127.0.0.1:{nobody}/v1/traces"
    assert "FAILED" in otlp_words
    assert "connection refused" in otlp_words
    assert second == f"zipkin    {url(zipkin)}/api/v2/spans"
    assert zipkin_words.startswith("          ok: the span")
    assert last == "1 of 2 exporters cannot deliver"


def test_a_name_that_nobody_knows_is_said(tmp_path: Path) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://no-such-host.invalid:4318"}
    ran = python(*DOCTOR, folder=tmp_path, **environment)
    assert ran.returncode == 1
    assert "the name of no-such-host.invalid:4318 is not known" in ran.stdout


def test_tls_on_a_plain_port_is_said(backend: Callable, tmp_path: Path) -> None:
    server = backend(200)
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": url(server).replace("http:", "https:")}
    ran = python(*DOCTOR, folder=tmp_path, **environment)
    assert ran.returncode == 1
    assert "FAILED" in ran.stdout
    assert "TLS" in ran.stdout


def test_packets_to_a_port_that_is_open_are_sent_and_to_one_that_is_closed_fail(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        ran = jaeger_doctor(tmp_path, agent.getsockname()[1])
        assert b"hiq doctor" in agent.recv(65_536)
    assert ran.returncode == 0, ran.stdout
    assert "sent: the span `hiq doctor` of trace " in ran.stdout
    assert "this wire never answers" in ran.stdout
    ran = jaeger_doctor(tmp_path, closed_port(socket.SOCK_DGRAM))
    assert ran.returncode == 1, ran.stdout
    assert "FAILED" in ran.stdout


def jaeger_doctor(folder: Path, port: int) -> subprocess.CompletedProcess[str]:
    environment = {
        "OTEL_EXPORTER_JAEGER_PROTOCOL": "udp/thrift.compact",
        "OTEL_EXPORTER_JAEGER_AGENT_HOST": "127.0.0.1",
        "OTEL_EXPORTER_JAEGER_AGENT_PORT": str(port),
    }
    return python(*DOCTOR, "jaeger", folder=folder, **environment)


def test_an_unknown_exporter_is_refused(tmp_path: Path) -> None:
    ran = python(*DOCTOR, "pigeon", folder=tmp_path)
    assert ran.returncode == 2
    assert "`pigeon` is not an exporter of this build; use one of otlp, " in ran.stderr


def test_the_console_and_the_program_share_their_place_in_a_file(tmp_path: Path) -> None:
    output = tmp_path / "output"
    script = f"exec {sys.executable} -m hiq doctor console > {output}"
    environment = plain_environment(PYTHONPATH=PACKAGE_FOLDER)
    subprocess.run(["sh", "-c", script], env=environment, timeout=60, check=True)
    first, span, words, last = output.read_text().splitlines()
    assert first.split() == ["console", "/dev/stdout"]
    assert json.loads(span)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"] == "hiq doctor"
    assert "ok: the span" in words
    assert last == "all exporters deliver, as far as can be seen"


def closed_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
