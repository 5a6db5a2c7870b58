"""The Collector stopped cleanly and started again under a program that goes on: nothing is lost.

What is expected comes from the program itself, which counts what it does, and from the Collector's
own file. A span may be there twice only where the ledger says that its answer may have been lost.
"""

from __future__ import annotations

import collections
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hiq_servers import BackgroundProgram, Collector
from hiq_servers.tracing import TracedRun
from hiq_servers.waiting import attempts_within

KEEP_BUSY = Path(__file__).parent / "programs" / "keep_busy.py"
LIMIT_SECONDS = 60.0
RESTARTS = 3
SPANS_BETWEEN = 300
# Small batches, often, so that some are under way whenever the Collector stops.
OFTEN = {"OTEL_BSP_SCHEDULE_DELAY": "20"}


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize(
    ("title", "protocol"), [("OTLP gRPC", "grpc"), ("OTLP HTTP/protobuf", "http/protobuf")]
)
def test_a_collector_that_is_restarted_gets_every_span(
    title: str, protocol: str, tmp_path: Path, compared: Callable[[str, str, int], None]
) -> None:
    stop = tmp_path / "stop"
    with Collector(tmp_path) as collector:
        run = TracedRun(collector.otlp_endpoint_for(protocol), protocol)
        with BackgroundProgram(
            [sys.executable, KEEP_BUSY, stop],
            folder=tmp_path,
            output=tmp_path / "output.txt",
            environment={**run.environment(), **OFTEN},
        ) as program:
            wait_for_more(collector, run.service)
            for _ in range(RESTARTS):
                collector.stop()
                collector.start_again()
                wait_for_more(collector, run.service)
            stop.touch()
            report = json.loads(program.wait_for_output(r"report (.*)\n", LIMIT_SECONDS)[1])
            program.finish(LIMIT_SECONDS).require_success()
        spans = collector.settled_spans_of_service(run.service)

    compared(f"{title}, restarted", collector.name, len(spans))
    received = collections.Counter(span.name for span in spans)
    assert set(received) == {f"work {number}" for number in range(report["made"])}
    stats = report["stats"]
    assert report["delivered"]
    assert stats["offered"] == stats["exported"] == report["made"], stats
    assert (stats["rejected"], stats["dropped"], stats["queued"]) == (0, {}, 0)
    repeated = received.total() - len(received)
    assert repeated <= stats["possible_repeats"], stats


def wait_for_more(collector: Collector, service: str) -> None:
    before = len(collector.spans_of_service(service))
    for _ in attempts_within(LIMIT_SECONDS):
        if len(collector.spans_of_service(service)) >= before + SPANS_BETWEEN:
            return
    raise AssertionError(f"no {SPANS_BETWEEN} more spans in {LIMIT_SECONDS:g} s")
