"""The examples that send somewhere, run as their first lines say, against the real servers."""

from __future__ import annotations

import collections
import json
import secrets
import sys
from pathlib import Path

import pytest

from conftest import REPOSITORY
from hiq_servers import Prometheus, Server, run_program
from hiq_servers.measured import built_by_cargo
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


def test_the_example_of_metrics_in_rust_is_queried_back(
    prometheus: Prometheus, tmp_path: Path
) -> None:
    folder = built_by_cargo("hiq-prometheus", "--example", "metrics") / "examples"
    service = f"orders-{secrets.token_hex(6)}"
    # Nobody can press Enter: it ends at once.
    finished = run_program(
        [folder / "metrics"],
        folder=tmp_path,
        environment={
            "HIQ_REMOTE_WRITE_ENDPOINT": prometheus.url("web"),
            "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
            "OTEL_RESOURCE_ATTRIBUTES": f"service.namespace={service}",
        },
        timeout_seconds=LIMIT_SECONDS,
    ).require_success()

    assert f"writing to {prometheus.url('web', '/api/v1/write')}" in finished.stdout
    orders = prometheus.wait_for_query(f'orders_total{{job="{service}/orders"}}')
    assert {each.labels["city"]: each.value for each in orders} == {"Huế": 25, "Hà Nội": 75}
    (count,) = prometheus.query(f'orders_duration_seconds_count{{job="{service}/orders"}}')
    assert count.value == ORDERS * 10
