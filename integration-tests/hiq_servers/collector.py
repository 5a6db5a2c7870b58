"""The OpenTelemetry Collector: what it takes in, it writes out as OTLP JSON lines, nothing lost."""

from __future__ import annotations

import json
from pathlib import Path

from hiq_servers.server import JAEGER_PORTS, Server, http_answer
from hiq_servers.spans import Span, spans_in


class Collector(Server):
    """It appends, so that what it wrote before it was started again stays."""

    name = "collector"
    port_names = ("health", "otlp_grpc", "otlp_http", *JAEGER_PORTS, "zipkin")

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self._spans: list[Span] = []
        self._read_bytes = 0

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "SPANS_FILE": str(self.output_file)}

    def command(self, binary: Path, config: Path) -> list[str]:
        return [str(binary), "--config", str(config)]

    def is_healthy(self) -> bool:
        answer = http_answer(self.url("health", "/status"))
        return answer is not None and json.loads(answer[1])["healthy"] is True

    def spans_of_service(self, service: str) -> list[Span]:
        return [span for span in self._all() if span.resource.get("service.name") == service]

    def spans_of_trace(self, trace_id: str) -> list[Span]:
        return [span for span in self._all() if span.trace_id == trace_id]

    @property
    def output_file(self) -> Path:
        return self.folder / "spans.jsonl"

    def _all(self) -> list[Span]:
        """Reads on from where the last reading stopped; a line still being written waits."""
        with self.output_file.open("rb") as output:
            output.seek(self._read_bytes)
            added = output.read()
        whole_lines, _, _ = added.rpartition(b"\n")
        for line in whole_lines.splitlines():
            self._spans.extend(spans_in(json.loads(line)))
        self._read_bytes += len(whole_lines) + (1 if whole_lines else 0)
        return self._spans
