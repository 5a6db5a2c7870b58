"""The examples that send somewhere, run as their first lines say, against the real servers."""

from __future__ import annotations

import collections
import json
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY
from hiq_servers import Server, run_program
from hiq_servers.tracing import TracedRun

ORDERS = 10
LIMIT_SECONDS = 60.0


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
def test_the_otlp_example_delivers_its_orders(
    protocol: str, server: Server, tmp_path: Path
) -> None:
    run = TracedRun(server.otlp_endpoint_for(protocol), protocol)
    # The service's name is the example's own: its run is found by the attribute of ours.
    environment = {**run.environment(), "OTEL_EXPORTER_OTLP_PROTOCOL": ""}
    finished = run_program(
        [sys.executable, REPOSITORY / "examples" / "otlp.py", protocol],
        folder=tmp_path,
        environment=environment,
        timeout_seconds=LIMIT_SECONDS,
    ).require_success()

    assert json.loads(finished.stdout)["exported"] == 3 * ORDERS
    spans = server.settled_spans_of_service("orders")
    ours = [span for span in spans if span.resource.get("test.run") == run.run_id]
    names = collections.Counter(span.name for span in ours)
    assert names == {"order": ORDERS, "check stock": ORDERS, "charge card": ORDERS}
