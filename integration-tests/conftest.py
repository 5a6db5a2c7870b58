"""Starts the servers once per run, counts what was compared, lets no skip pass unseen."""

from __future__ import annotations

import collections
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from hiq_servers import SERVERS, Collector, Prometheus, Pushgateway, Server, Zipkin

REPOSITORY = Path(__file__).parents[1]

# A proxy or exporter setting of the caller's shell must reach neither our senders nor our children.
for name in list(os.environ):
    if name.startswith("OTEL_") or name.lower().endswith("_proxy"):
        del os.environ[name]
# Nor must the switch that all processes of a user share: another may be turning it.
_status = tempfile.TemporaryDirectory(prefix="hiq-integration-")
os.environ["HIQ_STATUS_DIR"] = _status.name

_compared: collections.Counter[tuple[str, str]] = collections.Counter()
_failed: set[tuple[str, str]] = set()
_ROW = pytest.StashKey[tuple[str, str]]()


@pytest.fixture(scope="session", params=SERVERS, ids=lambda server: server.name)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Each real server in turn, started once."""
    with request.param(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture(scope="session", params=[Zipkin, *SERVERS], ids=lambda server: server.name)
def zipkin_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Each real server that takes Zipkin's formats in turn, started once."""
    with request.param(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture(scope="session")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """The Collector alone, for tests whose subject is the traced program."""
    with Collector(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """The newest Prometheus, for what is pushed to it. It scrapes nothing."""
    with Prometheus(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture(scope="session")
def pushgateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushgateway]:
    """A Pushgateway: groups of other tests may be in it."""
    with Pushgateway(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture(scope="session")
def hiq_installed() -> None:
    """For tests whose subject is hiq: they need its wheel in the environment that runs them."""
    if importlib.util.find_spec("hiq") is None:
        pytest.skip(
            f"hiq is not installed for {sys.executable}: run.py installs the wheel it is given"
        )


@pytest.fixture
def compared(request: pytest.FixtureRequest) -> Callable[[str, str, int], None]:
    """`compared(format, server, spans)` books spans that were compared for the closing table."""

    def book(wire_format: str, server_name: str, spans: int) -> None:
        request.node.stash[_ROW] = (wire_format, server_name)
        _compared[wire_format, server_name] += spans

    return book


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and skips_are_failures():
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which is a failure here: {report.longrepr}"
        if hasattr(report, "wasxfail"):
            del report.wasxfail
    if report.failed and _ROW in item.stash:
        _failed.add(item.stash[_ROW])
    return report


def pytest_collection_finish(session: pytest.Session) -> None:
    if skips_are_failures() and not session.items:
        pytest.exit("no integration test was collected", returncode=1)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and skips_are_failures():
        report.outcome = "failed"
        report.longrepr = (
            f"{collector.nodeid} was skipped, which is a failure here: {report.longrepr}"
        )
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _compared:
        return
    terminalreporter.section("spans read back from real servers and compared")
    line = "{:36} {:12} {:>14}  {}"
    terminalreporter.write_line(line.format("format", "server", "spans compared", "ok"))
    for row in sorted(_compared):
        verdict = "NO" if row in _failed else "yes"
        terminalreporter.write_line(line.format(*row, _compared[row], verdict))


def skips_are_failures() -> bool:
    return os.environ.get("HIQ_INTEGRATION_STRICT") == "1"
