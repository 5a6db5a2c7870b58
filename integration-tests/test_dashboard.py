"""What `docker/` gives Prometheus and Grafana, in a real Prometheus, against what was counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hiq_servers import Prometheus
from hiq_servers.measured import Serving, served
from hiq_servers.process import DOCKER

DASHBOARD = DOCKER / "grafana" / "dashboards" / "hiq.json"


class Composed(Prometheus):
    """Prometheus with the file of `compose.prometheus.yaml`, which scrapes others, more often."""

    def __init__(self, scratch: Path, targets: dict[str, str]) -> None:
        super().__init__(scratch)
        self._targets = targets

    def config(self) -> str:
        text = (DOCKER / "prometheus.yml").read_text().replace("5s", "1s")
        for written, meant in self._targets.items():
            assert written in text
            text = text.replace(written, meant)
        return text


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A program with traced functions, waiting for scrapes."""
    environment = {
        "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
        "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
    }
    with served(tmp_path_factory.mktemp("measure"), environment, "--functions") as running:
        yield running


@pytest.fixture(scope="module")
def composed(serving: Serving, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    targets = {"shop:9464": serving.address, "host.docker.internal:9464": serving.address}
    with Composed(tmp_path_factory.mktemp("servers"), targets) as prometheus:
        for job in ("shop", "host"):
            target = prometheus.wait_for_scrape(job)
            assert (target["health"], target["lastError"]) == ("up", "")
        yield prometheus


def test_functions_are_counted_as_the_program_counts_them(
    serving: Serving, composed: Prometheus
) -> None:
    for function, account in serving.journal["functions"].items():
        of_function = f'{{job="shop", function="{function}"}}'
        (calls,) = composed.wait_for_query(f"hiq_function_calls_total{of_function}")
        assert calls.value == account["calls"]
        (count,) = composed.query(f"hiq_function_duration_seconds_count{of_function}")
        assert count.value == account["calls"]
        (errors,) = composed.query(f"hiq_function_errors_total{of_function}")
        assert errors.value == account["errors"]
        # The program's clock runs around the span's.
        (seconds,) = composed.query(f"hiq_function_duration_seconds_sum{of_function}")
        assert 0 < seconds.value <= account["seconds"]
        quantiles = composed.query(f"hiq_function_duration_seconds{of_function}")
        shares = {quantile.labels["quantile"]: quantile.value for quantile in quantiles}
        assert 0 < shares["0.5"] <= shares["0.9"] <= shares["0.99"]


def panels() -> list[tuple[str, str]]:
    """Title and query of each panel."""
    dashboard = json.loads(DASHBOARD.read_text())
    return [
        (panel["title"], target["expr"])
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]


@pytest.mark.parametrize(("title", "query"), panels(), ids=[title for title, _ in panels()])
def test_every_panel_shows_something(title: str, query: str, composed: Prometheus) -> None:
    samples = composed.wait_for_query(filled_in(query))

    assert all(sample.value >= 0 for sample in samples), (title, samples)


def test_panels_show_what_the_program_counted(serving: Serving, composed: Prometheus) -> None:
    queries = dict(panels())
    functions = serving.journal["functions"]
    (found,) = composed.query(filled_in(queries["Functions"]))
    assert found.value == len(functions)
    (processes,) = composed.query(filled_in(queries["Processes"]))
    assert processes.value == 2
    by_function = composed.query(filled_in(queries["Errors by function"]))
    failing = {name for name, account in functions.items() if account["errors"]}
    assert {sample.labels["function"] for sample in by_function} == failing
    (errors,) = composed.query(filled_in(queries["Errors"]))
    calls = sum(account["calls"] for account in functions.values())
    failed = sum(account["errors"] for account in functions.values())
    assert errors.value == pytest.approx(failed / calls, rel=0.01)


def test_the_dashboard_and_what_provides_it_name_the_same_data_source() -> None:
    provided = (DOCKER / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    assert "uid: prometheus\n" in provided
    sources = list(data_sources(json.loads(DASHBOARD.read_text())))
    assert sources and all(
        source == {"type": "prometheus", "uid": "prometheus"} for source in sources
    )


def data_sources(node: Any) -> Iterator[dict[str, str]]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "datasource":
                yield value
            else:
                yield from data_sources(value)
    elif isinstance(node, list):
        for value in node:
            yield from data_sources(value)


def filled_in(query: str) -> str:
    """The query as Grafana sends it with nothing chosen."""
    return query.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$function", ".*")
