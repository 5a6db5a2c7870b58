"""OTLP over gRPC against grpcio's own server: what arrives, and what the ledger says of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import hiq
import pytest
from conftest import SCENARIOS, plain_environment
from hiq import HiQOpenTelemetryContext, OtmExporterType
from test_distributed import PROGRAM, logged, names_in_protobuf, rows


class GrpcCollector:
    """A process of its own: grpcio has threads, and the tests fork."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(SCENARIOS / "grpc_collector.py"), *arguments],
            env=plain_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = self.next()["port"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def next(self) -> dict[str, Any]:
        """The next call; waits for it."""
        line = self._process.stdout.readline()
        assert line, f"the collector ended with {self._process.poll()}"
        return json.loads(line)

    def stop(self) -> list[dict[str, Any]]:
        """Ends it; what was not asked for yet."""
        rest, _ = self._process.communicate(timeout=30)
        return [json.loads(line) for line in rest.splitlines()]


Start = Callable[..., GrpcCollector]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    started: list[GrpcCollector] = []

    def run(*arguments: str) -> GrpcCollector:
        started.append(GrpcCollector(*arguments))
        return started[-1]

    yield run
    for collector in started:
        collector.stop()


def names(call: dict[str, Any]) -> list[str]:
    return names_in_protobuf(bytes.fromhex(call["body"]))


def test_hiqs_context_sends_everything_before_it_ends(program, start: Start) -> None:
    collector, module = start(), program(PROGRAM)
    settings = {"endpoint": collector.url, "service_name": "shop", "headers": {"Api-Key": "for the server"}}
    with HiQOpenTelemetryContext(OtmExporterType.OTLP_GRPC, **settings), hiq.HiQLatency(rows(module)):
        module.main()
    call = collector.next()
    assert names(call) == logged(module)
    assert b"shop" in bytes.fromhex(call["body"])
    assert call["metadata"]["api-key"] == "for the server"
    assert call["metadata"]["user-agent"].startswith("OTel-OTLP-Exporter-hiq/")
    # The server knows how long the client waits.
    assert 0 < call["seconds"] <= 10
    assert collector.stop() == []


def test_the_environment_chooses_grpc(program, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    collector, module = start(), program(PROGRAM)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"127.0.0.1:{collector.port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    with HiQOpenTelemetryContext(), hiq.HiQLatency(rows(module)):
        module.main()
    assert names(collector.next()) == logged(module)


def test_an_exporter_with_gzip_to_an_address_without_a_scheme(start: Start) -> None:
    collector = start()
    otlp = hiq.OtlpExporter(f"127.0.0.1:{collector.port}", protocol="grpc", insecure=True, compression="gzip")
    hiq.init(exporters=[otlp])
    for number in range(50):
        with hiq.trace(f"work {number}"):
            pass
    assert hiq.flush(60)
    stats = hiq.stats()["otlp"]
    assert (stats["exported"], stats["rejected"], stats["dropped"], stats["queued"]) == (50, 0, {}, 0)
    hiq.shutdown(60)
    received = [collector.next(), *collector.stop()]
    assert sorted(name for call in received for name in names(call)) == sorted(f"work {n}" for n in range(50))


def test_what_a_server_refuses_is_counted_and_not_sent_again(start: Start, capfd) -> None:
    collector = start("INVALID_ARGUMENT")
    hiq.init(exporters=[hiq.OtlpExporter(collector.url, protocol="grpc")])
    with hiq.trace("work"):
        pass
    assert hiq.flush(60)
    stats = hiq.stats()["otlp"]
    assert (stats["offered"], stats["rejected"], stats["exported"]) == (1, 1, 0)
    hiq.shutdown(60)
    assert names(collector.next()) == ["work"]
    assert collector.stop() == []
    said = capfd.readouterr().err
    assert f"{collector.url} answered INVALID_ARGUMENT: as the test wants it" in said


def test_insecure_is_a_switch() -> None:
    with pytest.raises(hiq.ConfigError, match="insecure: str was given; give True or False"):
        hiq.init(exporters=[hiq.OtlpExporter(protocol="grpc", insecure="yes")])
