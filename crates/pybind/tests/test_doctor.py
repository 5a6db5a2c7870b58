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
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.path, body))  # type: ignore[attr-defined]
        self.server.methods.append(self.command)  # type: ignore[attr-defined]
        answer = b""
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_PUT = do_DELETE = do_POST

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[Callable[[int], http.server.ThreadingHTTPServer]]:
    servers = []

    def start(status: int) -> http.server.ThreadingHTTPServer:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
        server.status, server.requests, server.methods = status, [], []  # type: ignore[attr-defined]
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


@pytest.mark.parametrize("by", ["arguments", "environment"])
def test_one_that_is_badly_set_up_does_not_hide_the_others(backend: Callable, tmp_path: Path, by: str) -> None:
    zipkin, names = backend(202), ["kafka", "none", "zipkin"]
    environment = {
        "OTEL_EXPORTER_ZIPKIN_ENDPOINT": f"{url(zipkin)}/api/v2/spans",
        "HIQ_KAFKA_BROKERS": "SASL_SSL://somebody:geheim@kafka:9092",
        "OTEL_TRACES_EXPORTER": ",".join(names) if by == "environment" else "",
    }
    ran = python(*DOCTOR, *(names if by == "arguments" else []), folder=tmp_path, **environment)
    assert ran.returncode == 2, ran.stderr
    kafka, target, words, last = ran.stdout.splitlines()
    assert kafka.startswith("kafka     FAILED: HIQ_KAFKA_BROKERS: `SASL_SSL://***@kafka:9092` is no broker")
    assert (target, words[:22]) == (f"zipkin    {url(zipkin)}/api/v2/spans", "          ok: the span")
    assert last == "1 of 2 exporters cannot deliver"


def test_what_would_make_a_check_worthless_is_said(tmp_path: Path) -> None:
    for timeout in ("0", "-1", "nan", "inf", "soon"):
        ran = python(*DOCTOR[:3], "--timeout", timeout, "console", folder=tmp_path)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert "--timeout" in ran.stderr
        assert timeout in ran.stderr
    ran = python(*DOCTOR, "console", folder=tmp_path, OTEL_SDK_DISABLED="true")
    assert ran.stdout.startswith("warning: OTEL_SDK_DISABLED is true: ")


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
    assert "`pigeon` is not an exporter of this build; use one of otlp, " in ran.stdout


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


# --- metrics --------------------------------------------------------------------------------------


def test_metrics_of_the_environment_are_tried_beside_the_spans(backend: Callable, tmp_path: Path) -> None:
    server = backend(200)
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url(server),
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_SERVICE_NAME": "patient",
    }
    ran = python(*DOCTOR, folder=tmp_path, **environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (_, spans), (path, body) = server.requests
    assert b"resourceSpans" in spans
    (resource,) = json.loads(body)["resourceMetrics"]
    (metric,) = resource["scopeMetrics"][0]["metrics"]
    assert (path, metric["name"]) == ("/v1/metrics", "hiq.doctor")
    assert metric["gauge"]["dataPoints"][0]["asDouble"] == 1
    assert {"key": "service.name", "value": {"stringValue": "patient"}} in resource["resource"]["attributes"]
    _, _, target, words, last = ran.stdout.splitlines()
    assert target == f"metrics-otlp {url(server)}/v1/metrics"
    assert words.startswith("          ok: the metric `hiq.doctor` was taken in ")
    assert last == "all exporters deliver, as far as can be seen"


@pytest.mark.parametrize(
    ("name", "variable", "words"),
    [
        ("otlp", "OTEL_EXPORTER_OTLP_ENDPOINT", "answered 404 not found; is this an OTLP server"),
        ("remote_write", "HIQ_REMOTE_WRITE_ENDPOINT", "answered 404 not found; "),
        ("pushgateway", "HIQ_PUSHGATEWAY_ENDPOINT", "answered 404 not found; is this a Pushgateway"),
    ],
)
def test_what_a_server_of_metrics_answers_is_said(
    backend: Callable, tmp_path: Path, name: str, variable: str, words: str
) -> None:
    server = backend(404)
    ran = python(*DOCTOR, "--metrics", name, folder=tmp_path, **{variable: url(server)})
    assert ran.returncode == 1, ran.stderr
    target, said, last = ran.stdout.splitlines()
    assert target.startswith(f"metrics-{name} {url(server)}/")
    # Without a count of the doctor's own samples.
    assert said.startswith(f"          FAILED: {url(server)}/")
    assert words in said
    assert last == "1 of 1 exporters cannot deliver"
    nobody = closed_port(socket.SOCK_STREAM)
    ran = python(*DOCTOR, "--metrics", name, folder=tmp_path, **{variable: f"http://127.0.0.1:{nobody}"})
    assert ran.returncode == 1
    assert "connection refused" in ran.stdout.lower()


def test_a_pushgateway_is_tried_beside_the_job_s_own_group_and_cleaned_up(backend: Callable, tmp_path: Path) -> None:
    server = backend(200)
    environment = {"HIQ_PUSHGATEWAY_ENDPOINT": url(server), "HIQ_PUSHGATEWAY_JOB": "nightly"}
    ran = python(*DOCTOR, "--metrics", "pushgateway", folder=tmp_path, **environment)
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout.startswith(f"metrics-pushgateway {url(server)}/metrics/job/nightly\n")
    assert [path for path, _ in server.requests] == ["/metrics/job/nightly/hiq_doctor/1"] * 2
    assert server.methods == ["PUT", "DELETE"]
    assert b"hiq_doctor" in server.requests[0][1]


SERVES = """
import sys, hiq
hiq.init("shop", exporters=[], metrics=["prometheus"])
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_scrape_port_is_free_or_held_by_the_service_or_by_a_stranger(backend: Callable, tmp_path: Path) -> None:
    port = closed_port(socket.SOCK_STREAM)
    environment = {"OTEL_EXPORTER_PROMETHEUS_PORT": str(port), "HIQ_METRIC_DIR": str(tmp_path)}

    def doctor(service: str) -> tuple[int, str]:
        named = {**environment, "OTEL_SERVICE_NAME": service}
        ran = python(*DOCTOR, "--metrics", "prometheus", folder=tmp_path, **named)
        return ran.returncode, ran.stdout

    code, said = doctor("shop")
    assert code == 0, said
    assert said.startswith(f"metrics-prometheus http://localhost:{port}/metrics\n")
    assert f"ok: port {port} is free, a scrape of it was taken in " in said
    command = [sys.executable, "-c", SERVES]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=plain_environment(PYTHONPATH=PACKAGE_FOLDER, **environment),
    )
    with process as shop:
        assert shop.stdout is not None
        assert shop.stdin is not None
        assert shop.stdout.readline() == "ready\n"
        code, said = doctor("shop")
        assert (code, "ok: a process of the service `shop` holds the port, a scrape of it" in said) == (0, True), said
        code, said = doctor("another")
        assert code == 1, said
        assert f"cannot listen at localhost:{port}: " in said
        assert "name the service in OTEL_SERVICE_NAME as that does (it is `another` here)" in said
        shop.stdin.close()
    assert doctor("another")[0] == 0


def test_a_host_that_is_not_of_this_machine_is_told_apart_from_a_port_that_is_taken(tmp_path: Path) -> None:
    # An address that is kept for documentation: no machine has it.
    environment = {"OTEL_EXPORTER_PROMETHEUS_HOST": "203.0.113.7", "OTEL_EXPORTER_PROMETHEUS_PORT": "0"}
    ran = python(*DOCTOR, "--metrics", "prometheus", folder=tmp_path, HIQ_METRIC_DIR=str(tmp_path), **environment)
    assert ran.returncode == 1
    assert "OTEL_EXPORTER_PROMETHEUS_HOST: cannot listen at 203.0.113.7:0: " in ran.stdout
    assert "that is no address of this machine" in ran.stdout
    assert "OTEL_SERVICE_NAME" not in ran.stdout


@pytest.mark.parametrize(
    ("kind", "name", "variable", "path", "who"),
    [
        ("exporters", "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT", "", "a collector"),
        ("exporters", "zipkin", "OTEL_EXPORTER_ZIPKIN_ENDPOINT", "/api/v2/spans", "Zipkin"),
        ("metrics", "pushgateway", "HIQ_PUSHGATEWAY_ENDPOINT", "", "a Pushgateway"),
        ("metrics", "remote_write", "HIQ_REMOTE_WRITE_ENDPOINT", "", "a receiver of remote write"),
    ],
)
def test_a_refused_connection_asks_for_what_should_listen_there(
    tmp_path: Path, kind: str, name: str, variable: str, path: str, who: str
) -> None:
    address = f"127.0.0.1:{closed_port(socket.SOCK_STREAM)}"
    arguments = [name] if kind == "exporters" else ["--metrics", name]
    ran = python(*DOCTOR, *arguments, folder=tmp_path, **{variable: f"http://{address}{path}"})
    assert ran.returncode == 1
    assert f"connection refused by {address}; is {who} listening there?" in ran.stdout


def test_a_wrong_setting_of_librdkafka_names_the_variable_that_has_it(tmp_path: Path) -> None:
    ran = python(*DOCTOR, "kafka", folder=tmp_path, HIQ_KAFKA_PROPERTIES="linger.ms=5,foo=bar")
    assert ran.returncode == 2
    assert 'HIQ_KAFKA_PROPERTIES: No such configuration property: "foo"; ' in ran.stdout


def test_a_file_without_a_path_says_how_a_program_is_given_one(tmp_path: Path) -> None:
    ran = python(*DOCTOR, "file", folder=tmp_path)
    assert ran.returncode == 2
    assert "--file trace.otlp.jsonl" in ran.stdout


def test_an_unknown_exporter_of_metrics_is_refused(tmp_path: Path) -> None:
    ran = python(*DOCTOR, "--metrics", "pigeon", folder=tmp_path)
    assert ran.returncode == 2
    assert "`pigeon` is not an exporter of metrics of this build; use one of prometheus, otlp, " in ran.stdout


def closed_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
