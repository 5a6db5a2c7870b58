"""The Zipkin exporter from Python: settings, what arrives at a local server, HiQ's context."""

from __future__ import annotations

import gzip
import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import hiq
import pytest
from conftest import plain_environment, python
from hiq import HiQOpenTelemetryContext, OtmExporterType

SPANS = "/api/v2/spans"


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    def spans(self) -> list[dict]:
        return json.loads(self.body)


@dataclass
class Zipkin:
    """A server that keeps what it is sent, as a Zipkin server answers."""

    url: str
    requests: list[Received] = field(default_factory=list)

    def spans(self) -> list[dict]:
        return [span for request in self.requests for span in request.spans()]


@pytest.fixture
def zipkin() -> Iterator[Zipkin]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            headers = {name.lower(): value for name, value in self.headers.items()}
            zipkin.requests.append(Received(self.path, headers, body))
            self.send_response(202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    zipkin = Zipkin(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield zipkin
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OTEL_", "APM_", "TRACE", "OTM_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def balances(ledger: dict) -> bool:
    settled = ("exported", "sent_unconfirmed", "rejected", "queued", "in_flight", "spooled")
    dropped = sum(ledger["dropped"].values())
    return ledger["offered"] + ledger["recovered"] == sum(ledger[name] for name in settled) + dropped


def traced_pair() -> None:
    with hiq.trace("outer", kind="server"), hiq.trace("inner", kind="client", **{"peer.service": "db", "rows": 3}):
        pass


def test_spans_arrive_with_parents_kinds_and_tags(zipkin: Zipkin) -> None:
    hiq.init("shop", exporters=[hiq.ZipkinExporter(zipkin.url)], resource={"team": "billing"})
    traced_pair()
    assert hiq.flush(60)
    ledger = hiq.stats()["zipkin"]
    assert ledger["exported"] == 2
    assert balances(ledger)
    (request,) = zipkin.requests
    assert request.path == SPANS
    assert request.headers["content-type"] == "application/json"
    outer, inner = sorted(request.spans(), key=lambda span: span["timestamp"])
    assert (outer["name"], outer["kind"], outer.get("parentId")) == ("outer", "SERVER", None)
    assert (inner["name"], inner["kind"], inner["parentId"]) == ("inner", "CLIENT", outer["id"])
    assert inner["traceId"] == outer["traceId"]
    assert inner["localEndpoint"] == {"serviceName": "shop"}
    assert inner["remoteEndpoint"] == {"serviceName": "db"}
    assert inner["tags"]["rows"] == "3"
    assert inner["tags"]["team"] == "billing"
    assert "service.name" not in inner["tags"]
    assert inner["duration"] >= 1


def test_an_exception_is_an_error_tag_and_an_annotation(zipkin: Zipkin) -> None:
    hiq.init("shop", exporters=[hiq.ZipkinExporter(zipkin.url)])
    with pytest.raises(ValueError, match=r"no \| apples"), hiq.trace("buy"):
        raise ValueError("no | apples")
    assert hiq.flush(60)
    (span,) = zipkin.spans()
    assert span["tags"]["error"] == "ValueError: no | apples"
    assert span["tags"]["otel.status_code"] == "ERROR"
    (annotation,) = span["annotations"]
    name, _, attributes = annotation["value"].partition(": ")
    assert json.loads(name) == "exception"
    assert json.loads(attributes)["exception.message"] == "no | apples"
    assert "|" not in annotation["value"]


@pytest.mark.parametrize(
    ("format", "path", "content_type"),
    [
        ("v2", SPANS, "application/json"),
        ("v1", "/api/v1/spans", "application/json"),
        ("proto", SPANS, "application/x-protobuf"),
    ],
)
def test_each_format_goes_to_its_path(zipkin: Zipkin, format: str, path: str, content_type: str) -> None:
    hiq.init("shop", exporters=[hiq.ZipkinExporter(zipkin.url, format=format, compression="gzip")])
    traced_pair()
    assert hiq.flush(60)
    (request,) = zipkin.requests
    assert (request.path, request.headers["content-type"]) == (path, content_type)
    assert request.headers["content-encoding"] == "gzip"
    assert b"inner" in request.body
    assert b"shop" in request.body
    ledger = hiq.stats()["zipkin"]
    assert ledger["exported"] == 2
    assert balances(ledger)


def test_settings_reach_the_wire(zipkin: Zipkin) -> None:
    exporter = hiq.ZipkinExporter(
        zipkin.url,
        headers={"x-key": "v"},
        local_ip="192.0.2.7",
        local_port=8080,
        max_tag_value_length=5,
        annotations="collector",
        resource_tags=False,
    )
    hiq.init("shop", exporters=[exporter], resource={"team": "billing"})
    with hiq.trace("work", text="äöüäöüäöü") as span:
        span.add_event("step", {"n": 1})
    assert hiq.flush(60)
    (request,) = zipkin.requests
    assert request.headers["x-key"] == "v"
    (sent,) = request.spans()
    assert sent["localEndpoint"] == {"serviceName": "shop", "ipv4": "192.0.2.7", "port": 8080}
    assert sent["tags"]["text"] == "äöüäö"
    assert "team" not in sent["tags"]
    assert sent["annotations"][0]["value"] == 'step|{"n":1}|0'


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"format": "v3"}, "format: `v3` is not known; give one of v2, v1, proto"),
        ({"endpoint": "zipkin:9411"}, "endpoint: `zipkin:9411` has no scheme"),
        ({"endpoint": "http://z:9411/api/v2/spans", "format": "v1"}, "use a path that ends in api/v1/spans"),
        ({"local_ip": "here"}, "local_ip: `here` is no IP address"),
        ({"local_port": 70_000}, "local_port: 70000 is no port"),
        ({"local_port": 0}, "local_port: 0"),
        ({"max_tag_value_length": 0}, "max_tag_value_length: 0 leaves nothing"),
        ({"annotations": "jaeger"}, "annotations: `jaeger` is not known"),
        ({"client_key": "key.pem"}, "client_certificate: only one half"),
        ({"compression": "zip"}, "compression: `zip` is not known"),
    ],
)
def test_settings_that_cannot_be_are_told_with_the_fix(settings: dict, said: str) -> None:
    with pytest.raises(hiq.ConfigError) as error:
        hiq.init("shop", exporters=[hiq.ZipkinExporter(**settings)])
    assert said in str(error.value)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(hiq.ConfigError, match="colour: is not a setting"):
        hiq.init("shop", exporters=[{"type": "zipkin", "colour": "red"}])


def test_the_environment_chooses_it(zipkin: Zipkin, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import hiq\nhiq.init('shop')\nwith hiq.trace('work'):\n    pass\n")
    finished: subprocess.CompletedProcess[str] = python(
        program,
        folder=tmp_path,
        **plain_environment(OTEL_TRACES_EXPORTER="zipkin", OTEL_EXPORTER_ZIPKIN_ENDPOINT=zipkin.url + SPANS),
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert [span["name"] for span in zipkin.spans()] == ["work"]


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


def test_hiqs_context_takes_hiqs_arguments(program, zipkin: Zipkin) -> None:
    module = program(PROGRAM)
    with HiQOpenTelemetryContext(
        exporter_type=OtmExporterType.ZIPKIN_JSON,
        endpoint=zipkin.url + SPANS,
        service_name="hiq_doc",
        local_node_ipv4="192.0.2.7",
        local_node_port=31_313,
        max_tag_value_length=256,
        timeout=60,
    ):
        with hiq.HiQLatency(rows(module)):
            module.main()
    spans = zipkin.spans()
    assert sorted(span["name"] for span in spans) == sorted(f"__{name}" for name in module.log)
    for span in spans:
        assert span["localEndpoint"] == {"serviceName": "hiq_doc", "ipv4": "192.0.2.7", "port": 31_313}
        assert span["tags"]["span.kind"] == "internal"
        assert span["tags"]["otel.scope.name"] == "otm_hiq"


def test_hiqs_context_sends_protobuf(program, zipkin: Zipkin) -> None:
    module = program(PROGRAM)
    with (
        HiQOpenTelemetryContext(OtmExporterType.ZIPKIN_PROTOBUF, endpoint=zipkin.url),
        hiq.HiQLatency(rows(module)),
    ):
        module.main()
    (request,) = zipkin.requests
    assert (request.path, request.headers["content-type"]) == (SPANS, "application/x-protobuf")
    assert b"hiq_service" in request.body
    assert b"__inner" in request.body


def test_the_endpoint_is_the_argument_then_the_variable(program, zipkin: Zipkin, monkeypatch) -> None:
    module = program(PROGRAM)
    monkeypatch.setenv("OTEL_EXPORTER_ZIPKIN_ENDPOINT", zipkin.url + SPANS)
    with HiQOpenTelemetryContext(OtmExporterType.ZIPKIN_JSON), hiq.HiQLatency(rows(module)):
        module.main()
    assert len(zipkin.spans()) == 2
    monkeypatch.setenv("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "http://127.0.0.1:9/nowhere")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with HiQOpenTelemetryContext(endpoint=zipkin.url), hiq.HiQLatency(rows(module)):
        module.main()
    assert len(zipkin.spans()) == 4
