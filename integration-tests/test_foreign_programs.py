"""Programs that nobody here wrote, unchanged, under `hiq run`: they do what they did, and are seen.

What is expected comes from another run of the same program under the interpreter's own profiler
(`programs/record_calls.py`), which counts who called what. That is deterministic for these two:
black does the same to every file whatever the process, and httpx calls itself per request.
"""

from __future__ import annotations

import collections
import json
import multiprocessing
import re
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import black
import pytest

from hiq_servers import BackgroundProgram, Collector, Finished, Span, run_program
from hiq_servers.forest import (
    Edges,
    Node,
    assert_same_edges,
    edges,
    pairs_with_parents,
    span_forest,
)
from hiq_servers.tracing import SCOPE_NAME, TracedRun, hiq_version, span_name, under_hiq

PROGRAMS = Path(__file__).parent / "programs"
BLACK_CONF = PROGRAMS / "black.json"
HTTPX_CONF = PROGRAMS / "httpx.csv"
UVICORN_CONF = PROGRAMS / "uvicorn.csv"

LIMIT_SECONDS = 120.0
SERVER_READY_SECONDS = 60.0
SERVER_EXIT_SECONDS = 60.0
CLOCK_NANOS = 1_000_000

LOCAL_PARENT_FLAGS = 0x101
REMOTE_PARENT_FLAGS = 0x301

WORKERS = 2


class Record:
    """What the profiler saw of a program."""

    def __init__(self, path: Path) -> None:
        record = json.loads(path.read_text())
        self.edges: Edges = collections.Counter()
        for name, caller, count in record["calls"]:
            self.edges[span_name(name), caller and span_name(caller)] = count
        self.raised = {span_name(name): count for name, count in record["raised"].items()}

    def handed_over(self, name: str, by: str) -> None:
        """Work handed to a pool has no caller on its stack; a tracer knows who submitted it."""
        self.edges[span_name(name), span_name(by)] += self.edges.pop((span_name(name), None))


def under_profiler(calls: Path, conf: Path, *program: str | Path) -> list[str]:
    command = [sys.executable, PROGRAMS / "record_calls.py", calls, conf, *program]
    return [str(part) for part in command]


# --- black ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def black_record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Record]]:
    """Black under the profiler takes long, so it starts at once and is asked for when needed."""
    assert isinstance(black.format_str, types.FunctionType), "a compiled black cannot be traced"
    folder = black_folder(tmp_path_factory.mktemp("recorded"))
    calls = folder / "calls.json"
    command = under_profiler(calls, BLACK_CONF, *black_command(workers=1))
    with BackgroundProgram(
        command, folder=folder, output=folder / "output", environment=black_environment(folder)
    ) as recording:

        def finished_record() -> Record:
            recording.finish(LIMIT_SECONDS).require_success()
            record = Record(calls)
            record.handed_over("format_file", by="schedule")
            return record

        yield finished_record


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("workers", [1, WORKERS], ids=["in a thread", "in worker processes"])
def test_black_formats_its_own_sources_as_ever_and_every_call_arrives(
    workers: int,
    collector: Collector,
    black_record: Callable[[], Record],
    tmp_path: Path,
    compared: Callable[[str, str, int], None],
) -> None:
    plain, traced = black_folder(tmp_path / "plain"), black_folder(tmp_path / "traced")
    run = TracedRun(collector.otlp_endpoint, "http/protobuf")
    command = black_command(workers)
    untraced = run_black([sys.executable, *command], plain, {})
    finished = run_black(under_hiq(BLACK_CONF, *command), traced, run.environment())

    assert printed_by_black(finished, traced) == printed_by_black(untraced, plain)
    assert files_in(traced) == files_in(plain)
    assert files_in(plain) != files_in(black_folder(tmp_path / "untouched")), "nothing to format"

    spans = collector.settled_spans_of_service(run.service)
    compared("black, OTLP HTTP/protobuf", collector.name, len(spans))
    record, roots = black_record(), span_forest(spans)
    if workers > 1 and not workers_know_their_parent():
        record.edges[span_name("format_file"), None] = record.edges.pop(
            (span_name("format_file"), span_name("schedule"))
        )
    assert_same_edges(record.edges, edges(roots))
    assert_spans_are_sound(spans, roots, run)
    assert_errors_of_black(spans, record)
    assert_processes_of_black(spans, workers)


def black_folder(folder: Path) -> Path:
    """A folder with a copy of black's own package in it."""
    shutil.copytree(
        Path(black.__file__).parent,
        folder / "sources",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    return folder


def black_command(workers: int) -> list[str]:
    return ["-m", "black", "--workers", str(workers), "sources"]


def black_environment(folder: Path) -> dict[str, str]:
    # Black skips what its cache knows as formatted; each run must find everything still to do.
    return {"BLACK_CACHE_DIR": str(folder / "cache")}


def run_black(command: list[str], folder: Path, environment: dict[str, str]) -> Finished:
    return run_program(
        command,
        folder=folder,
        environment={**environment, **black_environment(folder)},
        timeout_seconds=LIMIT_SECONDS,
    ).require_success()


def printed_by_black(finished: Finished, folder: Path) -> tuple[int, str, list[str]]:
    # Workers report in the order in which they happen to finish.
    lines = finished.stderr.replace(str(folder.resolve()), "").splitlines()
    return finished.code, finished.stdout, sorted(lines)


def files_in(folder: Path) -> dict[str, bytes]:
    sources = folder / "sources"
    return {str(path.relative_to(sources)): path.read_bytes() for path in sources.rglob("*.py")}


def workers_know_their_parent() -> bool:
    """A forked worker begins inside the calls that were open; a spawned one begins with nothing."""
    return multiprocessing.get_context().get_start_method() == "fork"


def assert_errors_of_black(spans: list[Span], record: Record) -> None:
    failed = collections.Counter(span.name for span in spans if span.status_code == "ERROR")
    types_seen = {
        span.events[0].attributes["exception.type"] for span in spans if span.status_code == "ERROR"
    }
    # Black leaves by sys.exit(0), which is an exception and no error: either reading is fine here.
    expected = {name: n for name, n in record.raised.items() if name != span_name("black_main")}
    failed.pop(span_name("black_main"), None)
    types_seen.discard("SystemExit")
    assert dict(failed) == expected
    assert types_seen == {
        "black.linegen.CannotSplit",
        "black.report.NothingChanged",
        "black.trans.CannotTransform",
    }


def assert_processes_of_black(spans: list[Span], workers: int) -> None:
    pids: dict[str, set[object]] = collections.defaultdict(set)
    instances: dict[object, set[object]] = collections.defaultdict(set)
    for span in spans:
        pids[span.name].add(span.resource["process.pid"])
        instances[span.resource["process.pid"]].add(span.resource["service.instance.id"])
    ids = [instance for of_process in instances.values() for instance in of_process]
    assert len(ids) == len(set(ids)) == len(instances), "one service.instance.id per process"
    main_pids = pids[span_name("schedule")]
    formatting_pids = pids[span_name("format_file")]
    if workers == 1:
        assert formatting_pids == main_pids
    else:
        assert len(formatting_pids) == workers and not formatting_pids & main_pids


# --- httpx and uvicorn ---------------------------------------------------------------------------


@pytest.mark.usefixtures("hiq_installed")
def test_httpx_and_uvicorn_talk_as_ever_and_every_call_of_both_arrives(
    collector: Collector, tmp_path: Path, compared: Callable[[str, str, int], None]
) -> None:
    client_run = TracedRun(collector.otlp_endpoint, "http/json")
    server_run = TracedRun(collector.otlp_endpoint, "http/protobuf")
    untraced = fetch_all_from_uvicorn(tmp_path / "untraced", plainly, plainly)
    recorded = fetch_all_from_uvicorn(
        tmp_path / "recorded",
        lambda *program: (under_profiler(tmp_path / "client.json", HTTPX_CONF, *program), {}),
        lambda *program: (under_profiler(tmp_path / "server.json", UVICORN_CONF, *program), {}),
    )
    traced = fetch_all_from_uvicorn(
        tmp_path / "traced",
        lambda *program: (under_hiq(HTTPX_CONF, *program), client_run.environment()),
        lambda *program: (under_hiq(UVICORN_CONF, *program), server_run.environment()),
    )

    assert traced == untraced == recorded
    client_spans = collector.settled_spans_of_service(client_run.service)
    compared("httpx, OTLP HTTP/JSON", collector.name, len(client_spans))
    assert_program_was_recorded(client_spans, client_run, Record(tmp_path / "client.json"))
    assert_errors_of_httpx(client_spans)
    server_spans = collector.settled_spans_of_service(server_run.service)
    compared("uvicorn, OTLP HTTP/protobuf", collector.name, len(server_spans))
    assert_program_was_recorded(server_spans, server_run, Record(tmp_path / "server.json"))


Launch = Callable[..., tuple[list[str], dict[str, str]]]
"""Takes a program, returns the command that runs it and what its environment needs."""


def plainly(*program: str | Path) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, *map(str, program)], {}


def fetch_all_from_uvicorn(folder: Path, client: Launch, server: Launch) -> tuple[object, ...]:
    """Runs both to their ends; returns all that they printed and their exit codes."""
    folder.mkdir()
    server_command, server_environment = server(
        *("-m", "uvicorn", "echo_app:app", "--port", "0", "--http", "h11", "--loop", "asyncio")
    )
    with BackgroundProgram(
        server_command,
        folder=PROGRAMS,
        output=folder / "server.log",
        # As `python -m` has it: the profiler imports the application before uvicorn does.
        environment={**server_environment, "PYTHONPATH": str(PROGRAMS)},
    ) as uvicorn:
        url = uvicorn.wait_for_output(r"running on (http://\S+)", SERVER_READY_SECONDS)[1]
        client_command, client_environment = client(PROGRAMS / "fetch_all.py", url)
        fetched = run_program(
            client_command,
            folder=folder,
            environment=client_environment,
            timeout_seconds=LIMIT_SECONDS,
        ).require_success()
        served = uvicorn.interrupt(SERVER_EXIT_SECONDS)
    return fetched, served.code, server_lines(served.stdout)


def server_lines(log: str) -> list[str]:
    """Uvicorn's log without process ids and ports; requests at once may be logged in any order."""
    without_pids = re.sub(r"process \[\d+\]", "process [pid]", log)
    return sorted(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:port", without_pids).splitlines())


def assert_program_was_recorded(spans: list[Span], run: TracedRun, record: Record) -> None:
    roots = span_forest(spans)
    assert_same_edges(record.edges, edges(roots))
    assert_spans_are_sound(spans, roots, run)


def assert_errors_of_httpx(spans: list[Span]) -> None:
    """One request in `fetch_all.py` names a protocol that there is no transport for."""
    passed = {
        span.name: span.events[0].attributes["exception.type"]
        for span in spans
        if span.status_code == "ERROR"
    }
    assert passed == {
        span_name("pool_request"): "httpcore.UnsupportedProtocol",
        **dict.fromkeys(
            map(span_name, ("transport", "send_once", "send_with_redirects", "send_with_auth")),
            "httpx.UnsupportedProtocol",
        ),
        **dict.fromkeys(map(span_name, ("send", "request", "get")), "httpx.UnsupportedProtocol"),
    }


# --- both ----------------------------------------------------------------------------------------


def assert_spans_are_sound(spans: list[Span], roots: list[Node[Span]], run: TracedRun) -> None:
    """What holds for every span, whatever was called."""
    assert len({span.span_id for span in spans}) == len(spans)
    assert {root.item.parent_span_id for root in roots} == {""}
    expected = run.resource()
    for parent, node in pairs_with_parents(roots):
        span = node.item
        assert span.kind == "INTERNAL"
        assert "hiq.unfinished" not in span.attributes
        assert (span.status_code == "ERROR") == bool(span.events)
        assert {key: span.resource.get(key) for key in expected} == expected
        assert (span.scope_name, span.scope_version) == (SCOPE_NAME, hiq_version())
        assert span.flags == expected_flags(parent, span)
        if parent is not None:
            early = parent.start_unix_nanos - node.start_unix_nanos
            late = node.end_unix_nanos - parent.end_unix_nanos
            assert max(early, late) <= CLOCK_NANOS, f"{span} lies outside {parent.item}"


def expected_flags(parent: Node[Span] | None, span: Span) -> int:
    if parent is None or parent.item.resource["process.pid"] == span.resource["process.pid"]:
        return LOCAL_PARENT_FLAGS
    return REMOTE_PARENT_FLAGS
