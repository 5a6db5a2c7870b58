"""The example shop under `hiq run`, against every real server: what arrives is what the shop did.

What is expected comes from the shop's own journal (`SHOP_JOURNAL`), which knows nothing of hiq.
"""

from __future__ import annotations

import ast
import collections
import dataclasses
import json
import platform
import re
import secrets
import socket
import statistics
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import REPOSITORY
from hiq_servers import Collector, Finished, Server, Span, run_program
from hiq_servers.forest import (
    Node,
    assert_same_edges,
    edges,
    matched,
    pairs_with_parents,
    span_forest,
)
from hiq_servers.tracing import SCOPE_NAME, TracedRun, hiq_version, span_name, under_hiq

SHOP = REPOSITORY / "examples" / "shop"
LIMIT_SECONDS = 60.0
# hiq's clock is the processor's, put in step with the system's once a second.
CLOCK_NANOS = 1_000_000
TYPICAL_GAP_NANOS = 500_000

SAMPLED = 0x001
CONTEXT_HAS_IS_REMOTE = 0x100
CONTEXT_IS_REMOTE = 0x200


@dataclasses.dataclass(frozen=True)
class Wire:
    """One way of sending, with one form of the conf: each form is read by somebody here."""

    title: str
    protocol: str
    compression: str
    conf: str


WIRES = (
    Wire("OTLP HTTP/protobuf", "http/protobuf", "none", "shop.yaml"),
    Wire("OTLP HTTP/protobuf gzip", "http/protobuf", "gzip", "shop.json"),
    Wire("OTLP HTTP/JSON", "http/json", "none", "shop.csv"),
    Wire("OTLP gRPC", "grpc", "none", "shop.yaml"),
    Wire("OTLP gRPC gzip", "grpc", "gzip", "shop.json"),
)


@pytest.fixture(scope="module")
def untraced_output(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    folder = tmp_path_factory.mktemp("untraced")
    return run_shop([sys.executable], folder / "journal.jsonl", {}).require_success()


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.title)
def test_every_call_of_the_shop_arrives_as_its_journal_has_it(
    wire: Wire,
    server: Server,
    untraced_output: Finished,
    tmp_path: Path,
    compared: Callable[[str, str, int], None],
) -> None:
    endpoint = server.otlp_endpoint_for(wire.protocol)
    run = TracedRun(endpoint, wire.protocol, wire.compression)
    journal = tmp_path / "journal.jsonl"
    finished = run_shop(under_hiq(SHOP / wire.conf), journal, run.environment())
    assert_same_output(finished, untraced_output)

    spans = server.settled_spans_of_service(run.service)

    compared(wire.title, server.name, len(spans))
    calls, roots = call_forest(journal), span_forest(spans)
    assert_same_trees(calls, roots)
    assert_ids_are_sound(spans, roots)
    pairs = list(matched(calls, roots, times_agree))
    for call, span in pairs:
        assert_span_tells_the_call(call, span.item)
        assert_resource_and_scope(span.item, run, call.item["pid"])
        assert span.item.flags == SAMPLED | CONTEXT_HAS_IS_REMOTE
    assert_typical_times_are_close(pairs)
    assert_children_lie_inside(pairs)


@pytest.mark.usefixtures("hiq_installed")
def test_a_traceparent_in_the_environment_becomes_the_parent_of_every_root(
    collector: Collector, tmp_path: Path
) -> None:
    trace_id, parent_id = secrets.token_hex(16), secrets.token_hex(8)
    run = TracedRun(collector.otlp_endpoint, "http/protobuf")
    journal = tmp_path / "journal.jsonl"
    caller = {"TRACEPARENT": f"00-{trace_id}-{parent_id}-01", "TRACESTATE": "vendor=opaque"}
    run_shop(
        under_hiq(SHOP / "shop.yaml"), journal, {**run.environment(), **caller}, "--requests", "11"
    ).require_success()

    roots = span_forest(collector.settled_spans_of_service(run.service))

    assert_same_trees(call_forest(journal), roots)
    for parent, node in pairs_with_parents(roots):
        assert node.item.trace_id == trace_id
        assert node.item.trace_state == "vendor=opaque"
        if parent is None:
            assert node.item.parent_span_id == parent_id
            assert node.item.flags == SAMPLED | CONTEXT_HAS_IS_REMOTE | CONTEXT_IS_REMOTE


def run_shop(
    python: list[str], journal: Path, environment: dict[str, str], *arguments: str
) -> Finished:
    return run_program(
        [*python, "-m", "shop", *arguments],
        folder=SHOP,
        environment={**environment, "SHOP_JOURNAL": str(journal)},
        timeout_seconds=LIMIT_SECONDS,
    )


def assert_same_output(traced: Finished, untraced: Finished) -> None:
    assert (traced.code, traced.stderr) == (untraced.code, untraced.stderr)
    assert without_seconds(traced.stdout) == without_seconds(untraced.stdout)


def without_seconds(text: str) -> str:
    return re.sub(r"(?m)^seconds .*$", "seconds", text)


def call_forest(journal: Path) -> list[Node[dict[str, Any]]]:
    """The shop's journal as trees, under the names that its conf gives."""
    names = conf_names()
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    nodes = {
        line["id"]: Node(
            line,
            names[line["function"]],
            line["enter_unix_nanos"],
            line["exit_unix_nanos"],
        )
        for line in lines
    }
    roots: list[Node[dict[str, Any]]] = []
    for node in nodes.values():
        parent = node.item["parent"]
        (roots if parent is None else nodes[parent].children).append(node)
    return roots


def conf_names() -> dict[str, str]:
    rows = json.loads((SHOP / "shop.json").read_text(encoding="utf-8"))
    return {dotted(row): span_name(row["name"]) for row in rows}


def dotted(row: dict[str, str]) -> str:
    return ".".join(filter(None, (row["module"], row["class"], row["function"])))


def assert_same_trees(calls: list[Node[Any]], spans: list[Node[Any]]) -> None:
    # First the short answer: which calls are missing or have the wrong parent.
    assert_same_edges(edges(calls), edges(spans))
    call_shapes = collections.Counter(call.shape for call in calls)
    span_shapes = collections.Counter(span.shape for span in spans)
    assert call_shapes == span_shapes


def assert_ids_are_sound(spans: list[Span], roots: list[Node[Span]]) -> None:
    assert len({span.span_id for span in spans}) == len(spans)
    for span in spans:
        assert re.fullmatch("[0-9a-f]{32}", span.trace_id) and int(span.trace_id, 16)
        assert re.fullmatch("[0-9a-f]{16}", span.span_id) and int(span.span_id, 16)
        assert span.trace_state == ""
    assert {root.item.parent_span_id for root in roots} == {""}
    assert len({root.item.trace_id for root in roots}) == len(roots)


def assert_span_tells_the_call(call: Node[dict[str, Any]], span: Span) -> None:
    line = call.item
    assert span.kind == "INTERNAL"
    assert span.links == []
    assert (span.dropped_attributes, span.dropped_events, span.dropped_links) == (0, 0, 0)
    assert_attributes(line, span)
    if line["outcome"] == "raised":
        assert_exception(call, span)
    else:
        assert (span.status_code, span.status_message, span.events) == ("UNSET", "", [])


def assert_attributes(line: dict[str, Any], span: Span) -> None:
    expected = code_attributes(line["function"])
    found = {key: span.attributes.get(key) for key in expected}
    assert found == expected
    extras = {key: value for key, value in span.attributes.items() if key not in expected}
    active_nanos = extras.pop("hiq.active_ns", None)
    if line["function"] in COROUTINES:
        assert type(active_nanos) is int
    if active_nanos is not None:
        assert 0 < active_nanos <= span.end_unix_nanos - span.start_unix_nanos
    assert extras.pop("error.type", line["error_type"]) == line["error_type"]
    assert extras == {}


COROUTINES = (
    "shop.client.Client.fetch",
    "shop.client.read_response",
    "shop.client.Progress.watch",
)


def code_attributes(function: str) -> dict[str, object]:
    """`code.*` by OpenTelemetry's conventions, from the source text; C code has only a name."""
    where = source_places().get(function)
    if where is None:
        return {"code.function.name": function}
    path, line = where
    return {
        "code.function.name": function,
        "code.file.path": str(path),
        "code.line.number": line,
    }


def source_places() -> dict[str, tuple[Path, int]]:
    if not _places:
        for path, module in [*shop_modules(), (Path(json.__file__), "json")]:
            for name, node in definitions(path, module).items():
                # The line of the first decorator where there is one.
                first = node.decorator_list[0] if node.decorator_list else node
                _places[name] = (path, first.lineno)
    return _places


_places: dict[str, tuple[Path, int]] = {}


def shop_modules() -> list[tuple[Path, str]]:
    return [(path, f"shop.{path.stem}") for path in sorted((SHOP / "shop").glob("*.py"))]


def definitions(path: Path, module: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    """The functions of a module by their dotted names."""
    found = {}
    waiting: list[tuple[str, ast.AST]] = [(module, ast.parse(path.read_text(encoding="utf-8")))]
    while waiting:
        prefix, holder = waiting.pop()
        for node in ast.iter_child_nodes(holder):
            if isinstance(node, ast.ClassDef):
                waiting.append((f"{prefix}.{node.name}", node))
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found[f"{prefix}.{node.name}"] = node
    return found


def assert_exception(call: Node[dict[str, Any]], span: Span) -> None:
    line = call.item
    assert span.status_code == "ERROR"
    assert line["error_text"] in span.status_message
    assert [event.name for event in span.events] == ["exception"], f"{span}: {line}"
    (event,) = span.events
    assert span.start_unix_nanos <= event.time_unix_nanos <= span.end_unix_nanos
    assert event.attributes["exception.type"] == line["error_type"]
    assert event.attributes["exception.message"] == line["error_text"]
    stack = event.attributes["exception.stacktrace"]
    assert line["error_type"] in stack and line["error_text"] in stack
    # The stack is taken once, where the exception began.
    assert f"in {origin(call).rpartition('.')[2]}\n" in stack
    assert event.dropped_attributes == 0


def origin(call: Node[dict[str, Any]]) -> str:
    """The innermost function that the same exception left."""
    for child in call.children:
        if child.item["outcome"] == "raised" and same_error(child.item, call.item):
            return origin(child)
    function: str = call.item["function"]
    return function


def same_error(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one[key] == other[key] for key in ("error_type", "error_text"))


def assert_resource_and_scope(span: Span, run: TracedRun, pid: int) -> None:
    expected = {
        **run.resource(),
        "process.pid": pid,
        "process.runtime.name": "cpython",
        "process.runtime.version": platform.python_version(),
        "host.name": socket.gethostname(),
        "process.executable.path": str(Path(sys.executable).resolve()),
    }
    assert {key: span.resource.get(key) for key in expected} == expected
    assert uuid.UUID(span.resource["service.instance.id"]).int
    assert (span.scope_name, span.scope_version) == (SCOPE_NAME, hiq_version())


def times_agree(call: Node[dict[str, Any]], span: Node[Span]) -> bool:
    return min(gaps_nanos(call, span)) >= -CLOCK_NANOS


def assert_typical_times_are_close(pairs: list[tuple[Node[dict[str, Any]], Node[Span]]]) -> None:
    gaps = [gap for call, span in pairs for gap in gaps_nanos(call, span)]
    assert statistics.median(gaps) < TYPICAL_GAP_NANOS


def gaps_nanos(call: Node[dict[str, Any]], span: Node[Span]) -> tuple[int, int]:
    """A span reaches around an entry made inside the call, and into one made around it."""
    before = call.start_unix_nanos - span.start_unix_nanos
    after = span.end_unix_nanos - call.end_unix_nanos
    return (-before, -after) if call.item["side"] == "around" else (before, after)


def assert_children_lie_inside(pairs: list[tuple[Node[dict[str, Any]], Node[Span]]]) -> None:
    calls = {id(span): call.item for call, span in pairs}
    for _, parent in pairs:
        for child in parent.children:
            call = calls[id(child)]
            slack = 0
            if call["thread_id"] != calls[id(parent)]["thread_id"]:
                # Two threads' clocks were put in step apart from each other.
                slack = CLOCK_NANOS
            early = parent.start_unix_nanos - child.start_unix_nanos
            late = child.end_unix_nanos - parent.end_unix_nanos
            assert max(early, late) <= slack, f"{child.item} lies outside {parent.item}"
