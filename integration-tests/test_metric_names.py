"""Names and labels that clash: no server refuses anything, and it holds what was written."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hiq_servers import (
    BackgroundProgram,
    Job,
    OldPrometheus,
    OldPrometheusForProtobuf,
    Prometheus,
    Pushgateway,
    Sample,
    run_program,
)

PROGRAM = Path(__file__).parent / "programs" / "clashing_names.py"
LIMIT_SECONDS = 60.0

POINTS = 17
LEFT_OUT = 4
"""Of `shop_one` the point without labels, `shop.sm.sum`, `shop_x_total`, one of `shop.same`."""

# Of each series whose value is exact: its name, its labels but for those of the target, its value.
EVERYWHERE: list[tuple[str, dict[str, str], float]] = [
    ("shop_one_total", {}, 1),
    ("shop_one_total", {"city": "Oslo"}, 3),
    ("shop_sm_count", {}, 1),
    ("shop_sm_sum", {}, 0.5),
    ("shop_x_total", {}, 4),
    ("shop_y_total", {}, 6),
    ("shop_h_bucket", {"exported_le": "7", "city": "Oslo", "le": "2.0"}, 1),
    ("shop_h_bucket", {"exported_le": "7", "city": "Oslo", "le": "+Inf"}, 1),
    ("shop_h_count", {"exported_le": "7", "city": "Oslo"}, 1),
    ("shop_h_sum", {"exported_le": "7", "city": "Oslo"}, 1),
    ("shop_q_count", {"exported_quantile": "8"}, 1),
    ("shop_q_sum", {"exported_quantile": "8"}, 0.5),
    ("shop_runs_total", {"exported_job": "nightly"}, 1),
    ("shop_runs_total", {"exported_job": "weekly"}, 2),
    ("shop_same_total", {"city_name": "Oslo"}, 1),
]
PUSHED = [
    *EVERYWHERE,
    ("shop_y", {}, 5),
    ("shop_held", {"pid": "1"}, 1),
    ("shop_held", {"pid": "2"}, 2),
]


def assert_holds(
    samples: list[Sample], expected: list[tuple[str, dict[str, str], float]], target: set[str]
) -> None:
    found = {}
    for sample in samples:
        labels = {name: value for name, value in sample.labels.items() if name not in target}
        name = labels.pop("__name__")
        if "quantile" in labels:
            assert sample.value == pytest.approx(0.5, rel=0.0055), sample
        # 2.42 keeps OpenMetrics' times of creation as series of their own.
        elif not name.endswith("_created"):
            key = (name, tuple(sorted(labels.items())))
            assert key not in found, samples
            found[key] = sample.value
    assert found == {
        (name, tuple(sorted(labels.items()))): value for name, labels, value in expected
    }


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """The address and the process of the program, which waits for scrapes."""
    folder = tmp_path_factory.mktemp("names")
    environment = {
        "OTEL_SERVICE_NAME": f"shop-{secrets.token_hex(6)}",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "prometheus",
        "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
        "OTEL_EXPORTER_PROMETHEUS_PORT": "0",
        "HIQ_METRIC_DIR": str(folder),
    }
    output = folder / "output"
    command: list[str | Path] = [sys.executable, PROGRAM, "serve"]
    with BackgroundProgram(
        command, folder=folder, output=output, environment=environment
    ) as running:
        address, pid = json.loads(running.wait_for_output(r"\[.*\]\n", LIMIT_SECONDS)[0])
        yield address, pid


NEW = {
    "text": {"scrape_protocols": ["PrometheusText0.0.4"]},
    "OpenMetrics": {"scrape_protocols": ["OpenMetricsText1.0.0"]},
    "protobuf": {"scrape_protocols": ["PrometheusProto"]},
}


def test_every_form_of_a_scrape_is_taken_whole(serving: tuple[str, int], tmp_path: Path) -> None:
    jobs = [Job(form, [serving[0]], how) for form, how in NEW.items()]
    with Prometheus(tmp_path, jobs) as prometheus:
        for job in jobs:
            assert_scraped(serving, prometheus, job)


@pytest.mark.parametrize(
    ("server", "form"), [(OldPrometheus, "OpenMetrics"), (OldPrometheusForProtobuf, "protobuf")]
)
def test_prometheus_2_42_takes_it_whole(
    server: type[OldPrometheus], form: str, serving: tuple[str, int], tmp_path: Path
) -> None:
    job = Job(form, [serving[0]])
    with server(tmp_path, [job]) as prometheus:
        assert_scraped(serving, prometheus, job)


def assert_scraped(serving: tuple[str, int], prometheus: Prometheus, job: Job) -> None:
    target = prometheus.wait_for_scrape(job.name)
    assert (target["health"], target["lastError"]) == ("up", "")
    samples = prometheus.wait_for_query(f'{{job="{job.name}", __name__=~"shop_.*"}}')
    # A gauge is of its process.
    pid = {"pid": str(serving[1])}
    expected = [
        *EVERYWHERE,
        ("shop_y", pid, 5.0),
        ("shop_held", {"exported_pid": "1", **pid}, 1.0),
        ("shop_held", {"exported_pid": "2", **pid}, 2.0),
    ]
    assert_holds(samples, expected, {"job", "instance"})


def pushed(folder: Path, to: str, **environment: str) -> tuple[dict[str, Any], str]:
    """What became of the points, and what the program said."""
    done = run_program(
        [sys.executable, PROGRAM, "push"],
        folder=folder,
        environment={
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": to,
            **environment,
        },
        timeout_seconds=LIMIT_SECONDS,
    ).require_success()
    return json.loads(done.stdout), done.stderr


def assert_counted(stats: dict[str, Any], said: str) -> None:
    """Every point that is left out is counted, and the line names both metrics."""
    assert stats["exported"] == POINTS - LEFT_OUT, stats
    assert stats["dropped"] == {"invalid": LEFT_OUT} and stats["rejected"] == 0, stats
    (line,) = [line for line in said.splitlines() if "left out" in line]
    assert "`shop.sm.sum`" in line and "`shop.sm`" in line, said


@pytest.mark.parametrize("version", ["1", "2"])
def test_remote_write_is_taken_whole(version: str, prometheus: Prometheus, tmp_path: Path) -> None:
    name = f"shop-{secrets.token_hex(6)}"
    stats, said = pushed(
        tmp_path,
        "remote_write",
        OTEL_SERVICE_NAME=name,
        HIQ_REMOTE_WRITE_ENDPOINT=prometheus.url("web"),
        HIQ_REMOTE_WRITE_VERSION=version,
    )
    assert_counted(stats, said)
    samples = prometheus.wait_for_query(f'{{job="{name}", __name__=~"shop_.*"}}')
    assert_holds(samples, PUSHED, {"job", "instance"})


def test_a_pushgateway_takes_it_whole(pushgateway: Pushgateway, tmp_path: Path) -> None:
    name = f"shop-{secrets.token_hex(6)}"
    stats, said = pushed(
        tmp_path,
        "pushgateway",
        OTEL_SERVICE_NAME=name,
        HIQ_PUSHGATEWAY_ENDPOINT=pushgateway.url("web"),
    )
    assert_counted(stats, said)
    group = pushgateway.group(job=name)
    assert group is not None
    runs = group["shop_runs_total"]["metrics"]
    found = {each["labels"]["exported_job"]: float(each["value"]) for each in runs}
    assert found == {"nightly": 1, "weekly": 2}
    (sm,) = group["shop_sm"]["metrics"]
    assert (group["shop_sm"]["type"], float(sm["sum"])) == ("SUMMARY", 0.5)
    assert "shop_sm_sum" not in group
