"""hiq's exporters for programs that trace with the OpenTelemetry SDK.

    provider.add_span_processor(BatchSpanProcessor(HiqSpanExporter(hiq.JaegerExporter(agent_host_name="jaeger"))))

or, under `opentelemetry-instrument`, `OTEL_TRACES_EXPORTER=hiq_otlp,hiq_zipkin`. The SDK's spans are read once and
leave as hiq's own do: from native threads, with retries, a bounded queue and a ledger.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult  # type: ignore[import-not-found,unused-ignore]

from . import _hiq
from .exporters import Exporter

__all__ = [
    "ChromeSpanExporter",
    "HiqSpanExporter",
    "JaegerSpanExporter",
    "KafkaSpanExporter",
    "OciApmSpanExporter",
    "OciStreamingSpanExporter",
    "OtlpSpanExporter",
    "ZipkinSpanExporter",
]

_logger = logging.getLogger("hiq")


class HiqSpanExporter(SpanExporter):  # type: ignore[misc,unused-ignore]
    """Sends the SDK's spans where `exporters` say: names or exporters, as `hiq.init` takes them.

    `export` never waits: what the far side does not take at once is tried again, and what became of each span stands in
    `stats()`. `force_flush` and `shutdown` wait.
    """

    def __init__(self, *exporters: str | Exporter) -> None:
        if not exporters:
            exporters = ("otlp",)
        given = [exporter.settings() if isinstance(exporter, Exporter) else exporter for exporter in exporters]
        self._pipeline, warnings = _hiq.SdkPipeline.open({"exporters": given})
        for warning in warnings:
            _logger.warning("%s", warning)

    def export(self, spans: Sequence[Any]) -> Any:
        problems = self._pipeline.export(spans)
        if not problems:
            return SpanExportResult.SUCCESS
        _logger.warning("%d of %d spans could not be read: %s", len(problems), len(spans), problems[0])
        return SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._pipeline.flush(timeout_millis / 1_000)

    def shutdown(self) -> None:
        self._pipeline.shutdown()

    def stats(self) -> dict[str, dict[str, Any]]:
        """The loss ledger, by exporter: see `hiq.stats`."""
        return self._pipeline.stats()


class OtlpSpanExporter(HiqSpanExporter):
    """`OTEL_TRACES_EXPORTER=hiq_otlp`."""

    def __init__(self) -> None:
        super().__init__("otlp")


class JaegerSpanExporter(HiqSpanExporter):
    """`OTEL_TRACES_EXPORTER=hiq_jaeger`."""

    def __init__(self) -> None:
        super().__init__("jaeger")


class KafkaSpanExporter(HiqSpanExporter):
    """`OTEL_TRACES_EXPORTER=hiq_kafka`."""

    def __init__(self) -> None:
        super().__init__("kafka")


class OciApmSpanExporter(HiqSpanExporter):
    """`OTEL_TRACES_EXPORTER=hiq_oci_apm`: to `APM_BASE_URL`."""

    def __init__(self) -> None:
        super().__init__("oci_apm")


class OciStreamingSpanExporter(HiqSpanExporter):
    """`OTEL_TRACES_EXPORTER=hiq_oci_streaming`: to the stream that `OCI_STM_OCID` names."""

    def __init__(self) -> None:
        super().__init__("oci_streaming")


class ChromeSpanExporter(HiqSpanExporter):
    """`OTEL_TRACES_EXPORTER=hiq_chrome`: a trace file, named by `HIQ_CHROME_FILE`."""

    def __init__(self) -> None:
        super().__init__("chrome")


class ZipkinSpanExporter(HiqSpanExporter):
    """`OTEL_TRACES_EXPORTER=hiq_zipkin`."""

    def __init__(self) -> None:
        super().__init__("zipkin")
