"""The harness's own parts, without any server: comparing, matching, building, running programs."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hiq_servers import BackgroundProgram, Event, Link, Span, differences, run_program
from hiq_servers.compare import all_differences
from hiq_servers.forest import Edges, Node, assert_same_edges, matched
from hiq_servers.pairs import CLOCK_NANOS, Sent, SentSpan, compare
from hiq_servers.programs import ProgramTimeoutError
from hiq_servers.waiting import attempts_within
from servers.build import RECIPES


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Span)])
def test_the_comparison_sees_a_change_of_every_field(field: str) -> None:
    span = full_span()
    changes: dict[str, Any] = {field: other_value(getattr(span, field))}
    changed = dataclasses.replace(span, **changes)

    found = differences(span, changed)

    assert found and all(line.startswith(field) for line in found)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (1, True),
        (1, 1.0),
        ("1", 1),
        ([1], [1.0]),
        ([1, 2], [1]),
        ({"a": 1}, {}),
        (b"x", "x"),
        (None, 0),
    ],
)
def test_the_comparison_sees_a_change_of_type(sent: object, read: object) -> None:
    one = dataclasses.replace(full_span(), attributes={"k": sent})
    other = dataclasses.replace(full_span(), attributes={"k": read})

    assert len(differences(one, other)) == 1


def test_the_comparison_sees_missing_unexpected_and_doubled_spans() -> None:
    span = full_span()
    stranger = dataclasses.replace(span, span_id="00000000000000ff")

    assert all_differences([span], [span]) == []
    assert "not read back" in all_differences([span], [])[0]
    assert "never sent" in all_differences([], [stranger])[0]
    assert "different span ids" in all_differences([span], [span, span])[0]


@pytest.mark.parametrize("slip_nanos", [0, 2 * CLOCK_NANOS])
def test_events_that_a_server_sorts_are_each_compared_with_their_own_times(slip_nanos: int) -> None:
    """A pause between two events is longer than what the clocks may differ by."""
    first, second = 10 * CLOCK_NANOS, 20 * CLOCK_NANOS
    span = dataclasses.replace(full_span(), events=[Event("b", first, {}), Event("a", second, {})])
    of_span = {"start": (1, 1), "end": (2, 2)}
    sent = SentSpan(span, **of_span, after_event={first: first + 1, second: second + 1})
    read_events = [Event("a", second + slip_nanos, {}), Event("b", first, {})]
    read = dataclasses.replace(span, events=read_events)

    def sorted_by_name(span: Span) -> Span:
        return dataclasses.replace(span, events=sorted(span.events, key=lambda each: each.name))

    at_the_wrong_time = pytest.raises(AssertionError, match="event a of")
    with at_the_wrong_time if slip_nanos else contextlib.nullcontext():
        compare(Sent("s", [sent], {}), [read], sorted_by_name)


def test_calls_find_their_spans_by_the_times_of_what_they_called() -> None:
    # Seen alone, either call could be either span; their children leave one way.
    first = node("call 1", 10, 90, node("inner 1", 20, 30))
    second = node("call 2", 11, 89, node("inner 2", 60, 70))
    spans = [
        node("span 2", 9, 91, node("span of inner 2", 59, 71)),
        node("span 1", 9, 91, node("span of inner 1", 19, 31)),
    ]

    pairs = {call.item: span.item for call, span in matched([first, second], spans, lies_inside)}

    assert pairs == {
        "call 1": "span 1",
        "inner 1": "span of inner 1",
        "call 2": "span 2",
        "inner 2": "span of inner 2",
    }


def test_a_call_that_no_span_lies_around_is_named() -> None:
    calls = [node("early", 10, 20), node("late", 50, 60)]
    spans = [node("one", 9, 21), node("other", 51, 61)]

    with pytest.raises(
        AssertionError, match=r"1 of 2 calls of work .*\nfirst: late\nnearest: other"
    ):
        list(matched(calls, spans, lies_inside))


def test_edges_that_differ_are_listed_with_both_numbers() -> None:
    called, recorded = (
        Edges({("a", None): 1, ("b", "a"): 2}),
        Edges({("a", None): 1, ("b", None): 1}),
    )

    with pytest.raises(AssertionError) as error:
        assert_same_edges(called, recorded)

    assert str(error.value).splitlines() == [
        "b called from a: 2 calls, 0 spans",
        "b called from None: 0 calls, 1 spans",
    ]


def test_a_program_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    output = tmp_path / "output"
    with BackgroundProgram(
        [sys.executable, "-c", script], folder=tmp_path, output=output
    ) as program:
        child = int(program.wait_for_output(r"\d+\n", seconds=20)[0])
        with pytest.raises(ProgramTimeoutError, match="still running"):
            program.finish(seconds=0.1)

    assert any(not is_running(child) for _ in attempts_within(10)), "the child lives on"


def test_a_program_over_its_time_is_killed_and_shows_what_it_printed(tmp_path: Path) -> None:
    script = "import threading; print('begun', flush=True); threading.Event().wait()"

    with pytest.raises(ProgramTimeoutError, match="begun"):
        run_program([sys.executable, "-c", script], folder=tmp_path, timeout_seconds=5)


@pytest.mark.parametrize("recipe", ["collector", "prometheus-2.42"])
@pytest.mark.parametrize(
    ("go", "complaint"),
    [
        (None, "`go` is not on PATH: install Go 1."),
        ("echo go1.17.5", "found go1.17.5: install a newer Go"),
        ("exit 2", "found one that does not tell its version"),
    ],
)
def test_a_missing_or_old_go_is_said_plainly(
    recipe: str, go: str | None, complaint: str, tmp_path: Path
) -> None:
    if go is not None:
        fake = tmp_path / "go"
        fake.write_text(f"#!{shutil.which('sh')}\n{go}\n")
        fake.chmod(0o755)
    environment = {**os.environ, "PATH": str(tmp_path), "HIQ_CACHE": str(tmp_path / "cache")}

    finished = subprocess.run(
        [sys.executable, RECIPES / "build.py", recipe],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert finished.returncode == 1
    assert complaint in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_module_with_another_hash_is_not_built(tmp_path: Path) -> None:
    recipes = tmp_path / "servers"
    shutil.copytree(RECIPES, recipes)
    recipe = recipes / "prometheus-2.42" / "recipe.json"
    recipe.write_text(recipe.read_text().replace('"h1:', '"h1:x'))
    environment = {**os.environ, "HIQ_CACHE": str(tmp_path / "cache")}

    finished = subprocess.run(
        [sys.executable, recipes / "build.py", "prometheus-2.42"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert finished.returncode == 1
    assert "has the hash h1:" in finished.stderr and "not h1:x" in finished.stderr


def node(item: str, start: int, end: int, *children: Node[str]) -> Node[str]:
    return Node(item, "work", start, end, list(children))


def lies_inside(call: Node[str], span: Node[str]) -> bool:
    return span.start_unix_nanos <= call.start_unix_nanos and (
        call.end_unix_nanos <= span.end_unix_nanos
    )


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def full_span() -> Span:
    return Span(
        trace_id="0af7651916cd43dd8448eb211c80319c",
        span_id="b7ad6b7169203331",
        parent_span_id="00f067aa0ba902b7",
        name="op",
        kind="CLIENT",
        start_unix_nanos=1,
        end_unix_nanos=2,
        attributes={"k": 1},
        events=[Event("e", 3, {"k": 1})],
        links=[Link("0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7", "a=b", 256, {})],
        status_code="ERROR",
        status_message="bad",
        trace_state="a=b",
        flags=257,
        dropped_attributes=1,
        dropped_events=2,
        dropped_links=3,
        resource={"service.name": "s"},
        scope_name="scope",
        scope_version="1",
        scope_attributes={"k": "v"},
    )


def other_value(value: object) -> object:
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, dict):
        return {**value, "another": True}
    return []
