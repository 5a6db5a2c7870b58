"""The same by OpenTelemetry's exporters, and by py_zipkin: their encoders alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import cycle
from time import thread_time_ns
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.zipkin.json.v2 import JsonV2Encoder
from opentelemetry.exporter.zipkin.node_endpoint import NodeEndpoint
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from py_zipkin import Encoding, Kind
from py_zipkin.encoding import Span, create_endpoint, get_encoder
from spans import SPANS, trees
from suite import Batch, Suite

BATCHES = 16


class Keep(SpanExporter):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans):
        self.spans += spans
        return SpanExportResult.SUCCESS


def main() -> None:
    batches = [recorded(random.Random(seed)) for seed in range(BATCHES)]
    zipkin = JsonV2Encoder()
    local = NodeEndpoint()
    py_zipkin = get_encoder(Encoding.V2_JSON)

    suite = Suite()
    suite.timed(
        "otlp-proto", spans_of(batches, lambda spans: encode_spans(spans).SerializeToString())
    )
    suite.timed("zipkin-json", spans_of(batches, lambda spans: zipkin.serialize(spans, local)))
    of_py_zipkin = [[zipkin_span(span) for span in batch] for batch in batches]
    suite.timed(
        "py-zipkin-json",
        spans_of(
            of_py_zipkin,
            lambda spans: py_zipkin.encode_queue([py_zipkin.encode_span(span) for span in spans]),
        ),
    )
    suite.serve()


def recorded(rng: random.Random) -> list[ReadableSpan]:
    keep = Keep()
    provider = TracerProvider(resource=Resource.create({"service.name": "bench"}))
    provider.add_span_processor(SimpleSpanProcessor(keep))
    tracer = provider.get_tracer("bench")
    for tree in trees(rng):
        name, attributes = next(tree)
        with tracer.start_as_current_span(name, attributes=attributes):
            for name, attributes in tree:
                tracer.start_span(name, attributes=attributes).end()
    return keep.spans


def zipkin_span(span: ReadableSpan) -> Span:
    parent = span.parent
    return Span(
        trace_id=f"{span.context.trace_id:032x}",
        name=span.name,
        parent_id=f"{parent.span_id:016x}" if parent else None,
        span_id=f"{span.context.span_id:016x}",
        kind=Kind.LOCAL,
        timestamp=span.start_time / 1e9,
        duration=(span.end_time - span.start_time) / 1e9,
        local_endpoint=create_endpoint(service_name="bench", use_defaults=False),
        tags={key: str(value) for key, value in span.attributes.items()},
    )


def spans_of(batches: list[list[Any]], encode: Callable[[list[Any]], object]) -> Batch:
    """An iteration is a span."""
    turns: Iterator[list[Any]] = cycle(batches)

    def batch(n: int) -> int:
        took, left = 0, n
        while left > 0:
            spans = next(turns)
            start = thread_time_ns()
            encode(spans)
            took += thread_time_ns() - start
            left -= SPANS
        return took * n // (n - left)

    return batch


if __name__ == "__main__":
    main()
