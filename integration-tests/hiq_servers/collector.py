"""The OpenTelemetry Collector: what it takes in, it writes out as OTLP JSON lines, nothing lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hiq_servers.process import ServerError, http_answer
from hiq_servers.server import JAEGER_PORTS, READ_BACK_SECONDS, Server
from hiq_servers.spans import Span, spans_in
from hiq_servers.waiting import attempts_within


class Collector(Server):
    """It appends, so that what it wrote before it was started again stays."""

    name = "collector"
    port_names = ("health", "otlp_grpc", "otlp_http", *JAEGER_PORTS, "zipkin")

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self._spans: list[Span] = []
        self._metrics: list[dict[str, Any]] = []
        self._spans_file = _Lines(self.folder / "spans.jsonl")
        self._metrics_file = _Lines(self.folder / "metrics.jsonl")

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "SPANS_FILE": str(self._spans_file.path),
            "METRICS_FILE": str(self._metrics_file.path),
        }

    def command(self, binary: Path, config: Path) -> list[str]:
        return [str(binary), "--config", str(config)]

    def is_healthy(self) -> bool:
        answer = http_answer(self.url("health", "/status"))
        return answer is not None and json.loads(answer[1])["healthy"] is True

    def spans_of_service(self, service: str) -> list[Span]:
        return [span for span in self._all() if span.resource.get("service.name") == service]

    def spans_of_trace(self, trace_id: str) -> list[Span]:
        return [span for span in self._all() if span.trace_id == trace_id]

    def metrics_of_service(self, service: str) -> list[dict[str, Any]]:
        """Reads the `ResourceMetrics` of a service as OTLP JSON has them, oldest first."""
        for document in self._metrics_file.added():
            self._metrics.extend(document["resourceMetrics"])
        name = {"key": "service.name", "value": {"stringValue": service}}
        return [each for each in self._metrics if name in each["resource"].get("attributes", [])]

    def wait_for_metrics(self, service: str, at_least: int = 1) -> list[dict[str, Any]]:
        """Polls until `at_least` so many requests of a service are there."""
        found: list[dict[str, Any]] = []
        for _ in attempts_within(READ_BACK_SECONDS):
            found = self.metrics_of_service(service)
            if len(found) >= at_least:
                return found
        raise ServerError(f"{self.name}: {len(found)} of {at_least} of {service}: {found}")

    def _all(self) -> list[Span]:
        for document in self._spans_file.added():
            self._spans.extend(spans_in(document))
        return self._spans


class _Lines:
    """A file of JSON lines that grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read_bytes = 0

    def added(self) -> Iterator[Any]:
        """Reads on from where the last reading stopped; a line still being written waits."""
        if not self.path.exists():
            return iter(())
        with self.path.open("rb") as output:
            output.seek(self._read_bytes)
            added = output.read()
        whole_lines, _, _ = added.rpartition(b"\n")
        self._read_bytes += len(whole_lines) + (1 if whole_lines else 0)
        return map(json.loads, whole_lines.splitlines())
