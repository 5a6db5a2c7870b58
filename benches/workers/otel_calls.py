"""The same through OpenTelemetry's SDK: batch processor, exporter that does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import repeat
from time import thread_time_ns

import targets
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prometheus_client import Summary
from suite import Suite, calls, inside, loops

ATTRIBUTES = {"method": "GET", "code": 200, "address": "cart.internal", "hit": True}


class Discard(SpanExporter):
    def export(self, spans):
        return SpanExportResult.SUCCESS

    def shutdown(self):
        pass


def main() -> None:
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Discard()))
    tracer = provider.get_tracer("bench")
    off = TracerProvider(sampler=ALWAYS_OFF).get_tracer("bench")

    suite = Suite()
    suite.timed("bare", calls(targets.bare))
    suite.timed("decorated", calls(tracer.start_as_current_span("leaf")(targets.decorated)))
    suite.timed("off", calls(off.start_as_current_span("leaf")(targets.declared)))
    failing(suite, tracer)
    steps(suite, tracer)
    fib(suite, tracer)
    spans_by_hand(suite, tracer)
    measurements(suite)
    suite.serve()


def failing(suite: Suite, tracer) -> None:
    decorated = tracer.start_as_current_span("failing")(targets.declared_failing)

    def bare_failing(loop: Iterable[None]) -> None:
        for _ in loop:
            try:  # noqa: SIM105 - suppress() would be measured too
                targets.bare_failing()
            except ValueError:
                pass

    def decorated_failing(loop: Iterable[None]) -> None:
        for _ in loop:
            try:  # noqa: SIM105 - suppress() would be measured too
                decorated()
            except ValueError:
                pass

    suite.timed("bare_failing", loops(bare_failing))
    suite.timed("decorated_failing", loops(decorated_failing))


def steps(suite: Suite, tracer) -> None:
    decorated = tracer.start_as_current_span("step")(targets.declared_step)

    async def awaits(function, n: int) -> int:
        start = thread_time_ns()
        for _ in repeat(None, n):
            await function()
        return thread_time_ns() - start

    suite.timed("bare_step", lambda n: asyncio.run(awaits(targets.bare_step, n)))
    suite.timed("decorated_step", lambda n: asyncio.run(awaits(decorated, n)))


def fib(suite: Suite, tracer) -> None:
    # fib(16): fib(24) takes seconds, and the slowdown is the same.
    targets.declared_fib = tracer.start_as_current_span("fib")(targets.declared_fib)
    suite.timed("bare_fib", loops(lambda loop: [targets.bare_fib(16) for _ in loop]))
    suite.timed("decorated_fib", loops(lambda loop: [targets.declared_fib(16) for _ in loop]))


def measurements(suite: Suite) -> None:
    latency = Summary("bench_latency", "Latency.")

    def observe(loop: Iterable[None]) -> None:
        for _ in loop:
            latency.observe(0.25)

    def empty(loop: Iterable[None]) -> None:
        for _ in loop:
            pass

    suite.timed("observe", loops(observe))
    suite.timed("empty_loop", loops(empty))


def spans_by_hand(suite: Suite, tracer) -> None:
    def spans(loop: Iterable[None]) -> None:
        for _ in loop:
            tracer.start_span("cart.add_item", attributes=ATTRIBUTES).end()

    def blocks(loop: Iterable[None]) -> None:
        for _ in loop:
            with tracer.start_as_current_span("cart.add_item", attributes=ATTRIBUTES):
                pass

    def root():
        return tracer.start_as_current_span("bench")

    suite.timed("span", inside(root, loops(spans)))
    suite.timed("block", inside(root, loops(blocks)))


if __name__ == "__main__":
    main()
