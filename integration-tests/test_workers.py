"""Four workers of gunicorn or uvicorn behind one scrape, one killed, in a real Prometheus."""

from __future__ import annotations

import collections
import concurrent.futures
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hiq_servers import Job, Prometheus
from hiq_servers.process import http_answer
from hiq_servers.waiting import attempts_within

PROGRAMS = Path(__file__).parent / "programs"
WORKERS = 4
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Server:
    """How an application server is started, and what it prints once it listens."""

    name: str
    command: tuple[str, ...]
    listens: str


GUNICORN = Server(
    "gunicorn",
    ("gunicorn", "--workers", str(WORKERS), "--bind", "127.0.0.1:0", "counted_app:app"),
    r"Listening at: (http://[\d.:]+)",
)
# Its workers are not forked but started anew, and accept from one socket.
UVICORN = Server(
    "uvicorn",
    ("uvicorn", "--workers", str(WORKERS), "--port", "0", "counted_asgi:app"),
    r"running on (http://[\d.:]+)",
)


class Workers:
    """The application under a server; its workers share the port that scrapes come to."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.name = server.name
        self.accounts = folder / "accounts"
        self.accounts.mkdir()
        (folder / "groups").mkdir()
        self.scrape_port = free_port()
        environment = {
            **os.environ,
            "ACCOUNTS": str(self.accounts),
            "HIQ_METRIC_DIR": str(folder / "groups"),
            "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
            "OTEL_EXPORTER_PROMETHEUS_PORT": str(self.scrape_port),
        }
        self._log = folder / "server.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *server.command],
                cwd=PROGRAMS,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.url = self._wait_for_address(server.listens)

    def _wait_for_address(self, pattern: str) -> str:
        for _ in attempts_within(PATIENCE_SECONDS):
            found = re.search(pattern, self._log.read_text())
            if found:
                return found[1]
            assert self._process.poll() is None, self._log.read_text()
        raise AssertionError(f"{self.name} does not listen:\n{self._log.read_text()}")

    def ask(self) -> int:
        """Has a request answered. Returns the worker's process."""
        for _ in attempts_within(PATIENCE_SECONDS):
            answer = http_answer(self.url)
            if answer is not None and answer[0] == 200:
                return int(answer[1].split()[0])
        raise AssertionError(f"{self.name} does not answer:\n{self._log.read_text()}")

    def ask_until_all_workers_answered(self, without: int = 0) -> set[int]:
        """Has requests answered until as many workers as there are have answered some."""
        workers: set[int] = set()
        # At a time: a worker that has nothing to do is quicker than one that is being woken.
        with concurrent.futures.ThreadPoolExecutor(2 * WORKERS) as pool:
            for _ in range(500):
                asked = [pool.submit(self.ask) for _ in range(2 * WORKERS)]
                workers |= {one.result() for one in asked}
                if len(workers - {without}) == WORKERS:
                    return workers
        raise AssertionError(f"only {workers} answered:\n{self._log.read_text()}")

    def counted(self) -> collections.Counter[str]:
        """The workers' own accounts, those of dead ones too."""
        accounts = self.accounts.iterdir()
        return collections.Counter(word for one in accounts for word in one.read_text().split())

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_SECONDS)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture(params=[GUNICORN, UVICORN], ids=lambda server: server.name)
def served(
    request: pytest.FixtureRequest, hiq_installed: None, tmp_path: Path
) -> Iterator[Workers]:
    running = Workers(tmp_path, request.param)
    yield running
    running.stop()


def test_four_workers_are_one_scrape_and_what_a_killed_one_took_along_is_told(
    served: Workers, tmp_path: Path, compared: Callable[[str, str, int], None]
) -> None:
    job = Job("counted", [f"127.0.0.1:{served.scrape_port}"])
    with Prometheus(tmp_path, [job]) as prometheus:
        before = served.ask_until_all_workers_answered()
        accounts = served.counted()
        assert accounts["answer"] == accounts["price"] >= WORKERS
        for function in ("answer", "price"):
            assert value(prometheus, function, accounts[function]) == accounts[function]
        assert lost(prometheus) == 0

        # No request is under way: only what this one has counted and not told yet can be lost.
        victim = served.ask()
        os.kill(victim, signal.SIGKILL)
        after = served.ask_until_all_workers_answered(without=victim)
        assert after - before
        accounts = served.counted()
        spans = accounts["answer"] + accounts["price"]
        told = prometheus.wait_for_query(
            "sum(hiq_function_calls_total) + sum(hiq_metric_lost_spans_total)",
            lambda samples: bool(samples) and samples[0].value >= spans,
        )
        assert told[0].value == spans
        # The one request after the last look, at most: an answer and a price.
        assert lost(prometheus) <= 2 * WORKERS
        # One target, one set of series: no worker's own.
        assert len(prometheus.query('hiq_function_calls_total{function="__answer"}')) == 1
        compared(f"scrape of 4 {served.name} workers", prometheus.name, spans)


def value(prometheus: Prometheus, function: str, at_least: int) -> float:
    query = f'hiq_function_calls_total{{function="__{function}"}}'
    samples = prometheus.wait_for_query(
        query, lambda samples: bool(samples) and samples[0].value >= at_least
    )
    return samples[0].value


def lost(prometheus: Prometheus) -> float:
    return sum(sample.value for sample in prometheus.query("hiq_metric_lost_spans_total"))
