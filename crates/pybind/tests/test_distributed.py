"""`HiQOpenTelemetryContext` against a local server: which exporter is chosen, what arrives, what is left afterwards."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import hiq
import pytest
from hiq import HiQOpenTelemetryContext, OtmExporterType
from hiq.distributed import setup_jaeger, setup_zipkin
from hiq.testing import InMemoryExporter


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    def spans(self) -> list[dict]:
        document = json.loads(self.body)
        return [span for r in document["resourceSpans"] for s in r["scopeSpans"] for span in s["spans"]]

    def resource(self) -> dict:
        attributes = json.loads(self.body)["resourceSpans"][0]["resource"]["attributes"]
        return {item["key"]: item["value"] for item in attributes}


@dataclass
class Collector:
    url: str
    requests: list[Received] = field(default_factory=list)

    def names(self) -> list[str]:
        return sorted(span["name"] for request in self.requests for span in request.spans())


@pytest.fixture
def collector() -> Iterator[Collector]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            headers = {name.lower(): value for name, value in self.headers.items()}
            collector.requests.append(Received(self.path, headers, body))
            self.send_response(200)
            self.send_header("Content-Type", self.headers["Content-Type"])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield collector
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if (
            name.startswith(("OTEL_", "JAEGER_"))
            or name in ("TRACE_TYPE", "TRACEPARENT", "OTM_TRACER_NAME")
            or name.lower().endswith("_proxy")
        ):
            monkeypatch.delenv(name)


PROGRAM = """
    def main():
        log.append("main")
        return inner()

    def inner():
        log.append("inner")
        return 5
"""


def rows(module) -> list[list[str]]:
    return [[module.__name__, "", "main", "main"], [module.__name__, "", "inner", "inner"]]


def logged(module) -> list[str]:
    return sorted(f"__{name}" for name in module.log)


def test_leaving_the_context_has_sent_everything_and_the_driver_has_its_tree(program, collector) -> None:
    module = program(PROGRAM)
    with HiQOpenTelemetryContext(
        OtmExporterType.OTLP_HTTP_JSON, endpoint=collector.url, service_name="shop"
    ) as nothing:
        assert nothing is None
        assert os.environ["TRACE_TYPE"] == "opentelemetry"
        driver = hiq.HiQLatency(rows(module))
        assert module.main() == 5
    assert "TRACE_TYPE" not in os.environ
    assert collector.names() == logged(module)
    (request,) = collector.requests
    assert request.path == "/v1/traces"
    assert request.headers["content-type"] == "application/json"
    assert request.resource()["service.name"] == {"stringValue": "shop"}
    spans = {span["name"]: span for span in request.spans()}
    assert spans["__inner"]["parentSpanId"] == spans["__main"]["spanId"]
    # Outside, the driver goes on and nothing is sent.
    module.main()
    driver.disable_hiq()
    assert len(collector.requests) == 1
    assert len(driver.get_metrics()[0].get_root().nodes) == 2


def test_protobuf_arrives_as_protobuf(program, collector) -> None:
    module = program(PROGRAM)
    with HiQOpenTelemetryContext(exporter_type=OtmExporterType.OTLP_HTTP_PROTOBUF, endpoint=collector.url):
        with hiq.HiQLatency(rows(module)):
            module.main()
    (request,) = collector.requests
    assert request.headers["content-type"] == "application/x-protobuf"
    assert names_in_protobuf(request.body) == logged(module)


def names_in_protobuf(body: bytes) -> list[str]:
    """The names of the spans, read by the wire format alone: resource_spans 1, scope_spans 2, spans 2, name 5."""
    messages = [body]
    for number in (1, 2, 2):
        messages = [value for message in messages for key, value in fields(message) if key == number]
    return sorted(value.decode() for message in messages for key, value in fields(message) if key == 5)


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        if tag & 7 == 2:
            length, at = varint(message, at)
            yield tag >> 3, message[at : at + length]
            at += length
        elif tag & 7 == 0:
            _, at = varint(message, at)
        else:
            at += {1: 8, 5: 4}[tag & 7]


def varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def test_the_environment_chooses_when_nothing_is_said(program, collector, monkeypatch, capfd) -> None:
    module = program(PROGRAM)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from-the-environment")
    with HiQOpenTelemetryContext(), hiq.HiQLatency(rows(module)):
        module.main()
    assert collector.names() == logged(module)
    assert collector.requests[0].resource()["service.name"] == {"stringValue": "from-the-environment"}
    assert capfd.readouterr().err == ""


def test_an_argument_beats_the_environment(program, collector, monkeypatch) -> None:
    module = program(PROGRAM)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from-the-environment")
    with HiQOpenTelemetryContext(
        OtmExporterType.OTLP_HTTP_JSON,
        endpoint=collector.url,
        service_name="argued",
        headers={"x-key": "v"},
        compression="gzip",
    ):
        with hiq.HiQLatency(rows(module)):
            module.main()
    assert collector.names() == logged(module)
    (request,) = collector.requests
    assert request.resource()["service.name"] == {"stringValue": "argued"}
    assert request.headers["x-key"] == "v"
    assert request.headers["content-encoding"] == "gzip"


@pytest.fixture
def agent() -> Iterator[socket.socket]:
    """A Jaeger agent's socket: what arrives is read by the test."""
    with socket.socket(type=socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(30)
        yield listener


def assert_compact_call(packet: bytes, service: str, names: list[str]) -> None:
    """One-way call of `emitBatch`, whose argument's first field is a process, then so many spans; texts behind their lengths."""
    process = b"\x1c\x1c\x18" + bytes([len(service)]) + service.encode()
    assert packet.startswith(b"\x82\x81\x00\x09emitBatch" + process)
    for name in names:
        assert bytes([len(name)]) + name.encode() in packet


def test_the_bare_default_is_hiqs_jaeger_thrift_over_udp(program, agent, monkeypatch, capfd) -> None:
    module = program(PROGRAM)
    host, port = agent.getsockname()
    with (
        HiQOpenTelemetryContext(service_name="bare", agent_host_name=host, agent_port=port),
        hiq.HiQLatency(rows(module)),
    ):
        module.main()
    assert_compact_call(agent.recv(65_535), "bare", logged(module))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_jaeger_thrift_is_sent_where_arguments_or_the_environment_say(program, agent, monkeypatch, by) -> None:
    module = program(PROGRAM)
    host, port = agent.getsockname()
    arguments = {"agent_host_name": host, "agent_port": port}
    if by == "environment":
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "jaeger")
        monkeypatch.setenv("OTEL_EXPORTER_JAEGER_AGENT_HOST", host)
        monkeypatch.setenv("OTEL_EXPORTER_JAEGER_AGENT_PORT", str(port))
        context = HiQOpenTelemetryContext()
    else:
        context = HiQOpenTelemetryContext(OtmExporterType.JAEGER_THRIFT, **arguments)
    with context, hiq.HiQLatency(rows(module)):
        module.main()
    assert_compact_call(agent.recv(65_535), "hiq_service", logged(module))


def test_jaeger_thrift_is_sent_to_a_collector_that_is_named(program, collector) -> None:
    module = program(PROGRAM)
    endpoint = f"{collector.url}/api/traces"
    context = HiQOpenTelemetryContext(OtmExporterType.JAEGER_THRIFT, "till", collector_endpoint=endpoint)
    with context, hiq.HiQLatency(rows(module)):
        module.main()
    [request] = collector.requests
    assert (request.path, request.headers["content-type"]) == ("/api/traces", "application/x-thrift")
    # Binary thrift: a text stands behind its length in four bytes.
    for text in ("till", *logged(module)):
        assert len(text).to_bytes(4, "big") + text.encode() in request.body


def test_init_takes_a_jaeger_exporter_and_counts_what_nobody_confirms(agent) -> None:
    host, port = agent.getsockname()
    hiq.init(service_name="shop", exporters=[hiq.JaegerExporter(host, port)])
    with hiq.trace("first"):
        pass
    assert hiq.flush(60)
    (ledger,) = [exporter for name, exporter in hiq.stats().items() if name == "jaeger"]
    hiq.shutdown(60)
    assert_compact_call(agent.recv(65_535), "shop", ["first"])
    assert (ledger["offered"], ledger["sent_unconfirmed"], ledger["exported"]) == (1, 1, 0)


def test_mistakes_in_jaegers_settings_name_the_fix() -> None:
    for settings, words in (
        ({"protocol": "udp"}, "udp/thrift.compact"),
        ({"agent_port": 70_000}, "give 1 to 65535"),
        ({"agent_host_name": "http://agent"}, "without a scheme"),
        ({"collector_endpoint": "jaeger:14268"}, "no scheme"),
        ({"agent_host_name": "agent", "max_packet_bytes": 100}, "256 to 65507"),
    ):
        with pytest.raises(hiq.ConfigError, match=words):
            hiq.init(exporters=[hiq.JaegerExporter(**settings)])


def test_the_default_service_is_hiqs(program, collector) -> None:
    module = program(PROGRAM)
    with HiQOpenTelemetryContext(OtmExporterType.OTLP_HTTP_JSON, endpoint=collector.url), hiq.HiQLatency(rows(module)):
        module.main()
    assert collector.requests[0].resource()["service.name"] == {"stringValue": "hiq_service"}


def test_the_tracers_name_is_the_scope_while_the_context_is_open(program, collector) -> None:
    module = program(PROGRAM)

    def sent(**settings: str) -> dict:
        collector.requests.clear()
        kind = OtmExporterType.OTLP_HTTP_JSON
        with HiQOpenTelemetryContext(kind, endpoint=collector.url, **settings), hiq.HiQLatency(rows(module)):
            module.main()
        (request,) = collector.requests
        (scope,) = json.loads(request.body)["resourceSpans"][0]["scopeSpans"]
        return scope["scope"]

    assert sent() == {"name": "otm_hiq"}
    assert sent(tracer_name="mine") == {"name": "mine"}
    with InMemoryExporter() as exporter:
        with HiQOpenTelemetryContext(OtmExporterType.OTLP_HTTP_JSON, endpoint=collector.url), hiq.trace("inside"):
            pass
        with hiq.trace("after"):
            pass
        scopes = {span["name"]: span["scope"] for span in exporter.spans()}
    assert scopes == {"inside": ("otm_hiq", ""), "after": ("hiq", hiq.__version__)}


def test_every_member_has_its_exporter() -> None:
    for kind in OtmExporterType:
        HiQOpenTelemetryContext(kind)


def test_members_keep_hiqs_numbers() -> None:
    assert [(kind.name, kind.value) for kind in OtmExporterType][:4] == [
        ("JAEGER_THRIFT", 1), ("JAEGER_PROTOBUF", 2), ("ZIPKIN_JSON", 3), ("ZIPKIN_PROTOBUF", 4),
    ]  # fmt: skip
    assert {kind.name for kind in OtmExporterType} >= {"OTLP_HTTP_PROTOBUF", "OTLP_HTTP_JSON", "OTLP_GRPC"}


def test_arguments_of_another_family_are_a_type_error() -> None:
    with pytest.raises(TypeError):
        HiQOpenTelemetryContext(OtmExporterType.OTLP_HTTP_JSON, agent_host_name="x")
    with pytest.raises(TypeError):
        HiQOpenTelemetryContext(OtmExporterType.JAEGER_THRIFT, local_node_port=1)
    with pytest.raises(TypeError):
        setup_jaeger(local_node_port=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        setup_zipkin(agent_port=1)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="Unknown exporter type"):
        HiQOpenTelemetryContext("OTLP")  # type: ignore[arg-type]


def test_a_traceparent_becomes_the_parent_inside_the_context_only(program, collector) -> None:
    module = program(PROGRAM)
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    hiq.instrument(rows(module))
    with HiQOpenTelemetryContext(
        OtmExporterType.OTLP_HTTP_JSON, endpoint=collector.url, traceparent=f"00-{trace_id}-{span_id}-01"
    ):
        module.inner()
    (span,) = collector.requests[0].spans()
    assert (span["traceId"], span["parentSpanId"]) == (trace_id, span_id)
    assert hiq.current_context() is None
    with pytest.raises(hiq.ConfigError, match="traceparent: `nonsense`"):
        HiQOpenTelemetryContext(OtmExporterType.OTLP_HTTP_JSON, traceparent="nonsense")


def test_a_context_adds_an_exporter_to_a_running_pipeline(program, collector, tmp_path, caplog) -> None:
    module = program(PROGRAM)
    path = tmp_path / "spans.jsonl"
    hiq.init("own", exporters=[hiq.FileExporter(path)], conf=rows(module))
    module.inner()
    with HiQOpenTelemetryContext(OtmExporterType.OTLP_HTTP_JSON, endpoint=collector.url, service_name="other"):
        module.main()
    module.inner()
    hiq.flush(60)
    assert "service_name `other` of HiQOpenTelemetryContext is not used" in caplog.text
    assert collector.names() == ["__inner", "__main"]
    assert collector.requests[0].resource()["service.name"] == {"stringValue": "own"}
    written = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    names = [s["name"] for d in written for r in d["resourceSpans"] for c in r["scopeSpans"] for s in c["spans"]]
    assert sorted(names) == logged(module)


def test_two_contexts_at_once_each_get_everything_inside_them(program, collector) -> None:
    module = program(PROGRAM)
    hiq.instrument(rows(module))
    outer = HiQOpenTelemetryContext(OtmExporterType.OTLP_HTTP_JSON, endpoint=f"{collector.url}/outer")
    inner = HiQOpenTelemetryContext(OtmExporterType.OTLP_HTTP_JSON, endpoint=f"{collector.url}/inner")
    outer.__enter__()
    module.inner()
    inner.__enter__()
    module.main()
    outer.__exit__(None, None, None)
    module.inner()
    inner.__exit__(None, None, None)
    by_path: dict[str, list[str]] = {}
    for request in collector.requests:
        by_path.setdefault(request.path, []).extend(span["name"] for span in request.spans())
    assert {path: sorted(names) for path, names in by_path.items()} == {
        "/outer": ["__inner", "__inner", "__main"],
        "/inner": ["__inner", "__inner", "__main"],
    }


def test_a_disabled_sdk_sends_nothing(program, collector, monkeypatch) -> None:
    module = program(PROGRAM)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with HiQOpenTelemetryContext(OtmExporterType.OTLP_HTTP_JSON, endpoint=collector.url), hiq.HiQLatency(rows(module)):
        assert module.main() == 5
    assert collector.requests == []


def test_exceptions_leave_the_context_as_they_are(collector) -> None:
    with pytest.raises(KeyError, match="mine"):
        with HiQOpenTelemetryContext(OtmExporterType.OTLP_HTTP_JSON, endpoint=collector.url):
            raise KeyError("mine")
    assert "TRACE_TYPE" not in os.environ
