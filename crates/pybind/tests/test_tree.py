"""`hiq.Tree` beside HiQ 1.1.14: the same steps, the same strings, drawings and answers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hiq
import hiq_golden
import pytest
from conftest import python
from hiq import FORMAT_DATETIME, FORMAT_TIMESTAMP, Tree, _hiq
from hiq.utils import ts_pair_to_dt, ts_to_dt

SetZone = Callable[[str], None]


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[SetZone]:
    def set_zone(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def threshold() -> Iterator[Callable[[str | None], None]]:
    """HiQ reads `ZIN_THRESHOLD` once for the process; here the cases have different ones."""

    def set_threshold(value: str | None) -> None:
        _hiq.set_zin_threshold(1e-7 if value is None else float(value))

    yield set_threshold
    set_threshold(None)


@pytest.fixture
def cases(
    zone: SetZone, threshold: Callable[[str | None], None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """HiQ's cases, each with its environment set."""

    def each() -> Iterator[dict[str, Any]]:
        known = hiq_golden.trees()
        assert len(known) >= 2100
        for case in known:
            threshold(case.get("zin"))
            if os.environ.get("TZ") != case["tz"]:
                zone(case["tz"])
            if "wide_output" in case:
                monkeypatch.setenv("WIDE_OUTPUT", case["wide_output"])
            else:
                monkeypatch.delenv("WIDE_OUTPUT", raising=False)
            yield case

    return each()


def drawings(tree: Tree) -> tuple[str, str]:
    return tree.get_graph(FORMAT_TIMESTAMP), tree.get_graph(time_format=FORMAT_DATETIME)


def drawings_of(case: dict[str, Any]) -> tuple[str, str]:
    return case["ts"], case.get("dt") or case["ts"]


def test_strings_and_drawings_are_hiqs_and_drawing_changes_nothing(cases: Iterator[dict[str, Any]]) -> None:
    for case in cases:
        tree = hiq_golden.build(case)
        assert tree.repr() == case["repr"], case
        for _ in range(2):
            assert drawings(tree) == drawings_of(case), case
        assert tree.repr() == case["repr"], case


def test_trees_read_from_hiqs_strings_are_the_same_trees(cases: Iterator[dict[str, Any]]) -> None:
    for case in cases:
        tree = Tree(case["repr"])
        # What HiQ loses (text that is not ASCII or no literal) is kept here.
        assert tree.repr() == case["repr"], case
        hiq_kept_all = case.get("reread", True) is True
        expected = drawings_of(case)
        if hiq_kept_all and "reread_ts" in case:
            expected = case["reread_ts"], case["reread_dt"]
        assert drawings(tree) == expected, case


def test_nodes_that_python_has_touched_change_nothing(cases: Iterator[dict[str, Any]]) -> None:
    for case in cases:
        tree = Tree(case["repr"])
        touch(tree.get_root())
        assert tree.extra is tree.extra
        assert tree.repr() == case["repr"], case
        assert tree == Tree(case["repr"])


def touch(node: Any) -> None:
    """Makes a Python object of each second node and of each second dict."""
    for number, child in enumerate(node.nodes):
        if number % 2:
            touch(child)
        else:
            assert child.extra is child.extra


def test_questions_are_answered_as_by_hiq(cases: Iterator[dict[str, Any]]) -> None:
    asked = 0
    for case in cases:
        expected = case.get("queries")
        if expected is None:
            continue
        asked += 1
        tree = hiq_golden.build(case)
        children = tree.get_root().nodes
        assert str(tree) == repr(tree) == expected["summary"]
        assert str(tree.get_root()) == expected["root"]
        assert (str(children[0]) if children else "") == expected["first"]
        assert sorted(tree.get_distinct_node_names()) == expected["names"]
        assert printed(tree.duration_by_name_s()) == expected["by_name"]
        assert printed(tree.leaf_duration_by_name_s()) == expected["leaves"]
        assert printed(tree.leaf_duration_by_name_s(ordered=1)) == expected["leaves_descending"]
        assert printed(tree.leaf_duration_by_name_s(2)) == expected["leaves_ascending"]
        assert tree.leaf_duration_by_name_s(ordered=3) == expected["leaves_text"]
        assert repr(tree.leaf_duration_total_s()) == expected["leaves_total"]
        for name, span in expected["of_name"]:
            assert repr(tree.get_duration_by_node_name(name)) == span
        for name, level, span in expected["of_level"]:
            assert repr(tree.get_duration_by_node_name_and_level(name, level)) == span
        assert sorted(tree.to_dot_string("record").split("\n")) == expected["dot"]
        assert tree.just_before_ending_root() is expected["last_span"]
    assert asked >= 250


def printed(durations: dict[str, float]) -> list[list[str]]:
    return [[name, repr(span)] for name, span in durations.items()]


def test_strings_that_users_keep_are_read_as_hiq_reads_them(zone: SetZone) -> None:
    zone("UTC")
    kept = hiq_golden.whole("named.json")["strings"]
    assert len(kept) == 6
    for text in kept:
        tree = Tree(text["text"])
        assert tree.repr() == text["reread"]
        assert tree.get_graph() == text["ts"]
        if text.get("graph"):
            assert hiq.get_graph_from_string(text["text"]) == text["graph"]
        for name, span in text.get("durations", []):
            assert repr(hiq.get_duration_from_hiq_string(text["text"], name)) == span
    with pytest.raises(ValueError, match=r"could not find nothing in hiq tree"):
        hiq.get_duration_from_hiq_string(kept[0]["text"], "nothing")


def test_times_print_as_hiq_prints_them(zone: SetZone) -> None:
    for name, start, end, single, pair in hiq_golden.lines("times.jsonl.gz"):
        if os.environ.get("TZ") != name:
            zone(name)
        assert ts_to_dt(float(start)) == single
        assert ts_pair_to_dt(float(start), float(end)) == pair


def test_lines_of_the_log_of_calls_are_hiqs(zone: SetZone) -> None:
    for line in hiq_golden.whole("named.json")["lmk"]:
        zone(line["tz"])
        data = {key: line[key] for key in ("id_", "name", "is_start")}
        data |= {"value": float(line["value"]), "extra": hiq_golden.extra(line["extra"])}
        assert hiq.lmk_data_handler(data, pid=line["pid"]) == line["line"]


# --- drawing --------------------------------------------------------------------------------------


def test_show_prints_through_pythons_print(capsys: pytest.CaptureFixture[str], zone: SetZone) -> None:
    zone("UTC")
    tree = Tree("t1^t,,0,1,2,1,1e-07,0#%n1*[None,inf,inf,0$0#[__f,1636000000.123456,1636000001.123456,0$0#]]")
    tree.show()
    # The drawing ends with a line end, and `print` adds one.
    assert capsys.readouterr().out == tree.get_graph(FORMAT_TIMESTAMP) + "\n"
    tree.show(FORMAT_DATETIME)
    assert "2021-11-04 04:26:40.123456 - 04:26:41.123456" in capsys.readouterr().out
    with hiq.SilencePrint():
        tree.show()
    assert capsys.readouterr().out == ""


def test_a_program_that_changes_its_time_zone_sees_it_at_once(zone: SetZone) -> None:
    tree = Tree("t1^t,,0,1,2,1,1e-07,0#%n1*[None,inf,inf,0$0#[__f,1636000000.123456,1636000001.123456,0$0#]]")
    places = [("UTC", "04:26:40"), ("Asia/Kolkata", "09:56:40"), ("XYZ-3:30", "07:56:40"), ("UTC", "04:26:40")]
    for name, local in places:
        zone(name)
        assert f"2021-11-04 {local}.123456" in tree.get_graph(FORMAT_DATETIME)


@pytest.mark.parametrize(
    ("text", "is_wide"),
    [("1", True), ("True", True), ("yes", True), ("false", True), ("0", False), ("None", False), ("", False)],
)
def test_wide_output_is_a_truth_value_by_hiqs_rule(monkeypatch: pytest.MonkeyPatch, text: str, is_wide: bool) -> None:
    monkeypatch.setenv("WIDE_OUTPUT", text)
    tree = Tree(tid="m")
    tree.start("__f", 1, {"start": 5.0, "end": 6.0})
    tree.end("__f", 2)
    assert ("[         5.000 -          6.000]" in tree.get_graph()) is is_wide


def test_another_time_format_is_refused() -> None:
    with pytest.raises(ValueError, match="wrong time format: x"):
        Tree().get_graph("x")


def test_the_root_covers_calls_that_come_after_a_drawing() -> None:
    tree = Tree(tid="t")
    tree.start("__f", 2)
    tree.end("__f", 3)
    tree.consolidate()
    assert (tree.get_root().start, tree.get_root().end) == (2.0, 3.0)
    tree.start("__g", 1)
    tree.consolidate()
    assert (tree.get_root().start, tree.get_root().end) == (2.0, 3.0), "not while a span is open"
    tree.end("__g", 5)
    assert tree.get_graph().startswith("[1.000 - 5.000]  [100.00%] 🟢_root_t(4.0000)\n")
    assert tree.total_duration_s() == 4.0
    tree.consolidate()
    assert (tree.get_root().start, tree.get_root().end) == (1.0, 5.0)


def test_virtual_roots_inside_of_virtual_roots_are_merged() -> None:
    text = "t1^time,,0,1,2,1,1e-07,0#%n1*[None,inf,inf,0$0#[None,inf,inf,0$0#[__f,1.0,3.0,0$0#]]]"
    merged = "t1^time,,0,1,2,1,1e-07,0#%n1*[None,1.0,3.0,0$0#[__f,1.0,3.0,0$0#]]"
    as_read, with_nodes = Tree(text), Tree(text)
    leaf = with_nodes.get_root().nodes[0].nodes[0]
    for tree in (as_read, with_nodes):
        tree.consolidate()
        assert tree.repr() == merged
    assert with_nodes.get_root().nodes[0] is leaf


def test_without_dot_there_is_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Tree(tid="t").to_img() is None
    assert capsys.readouterr().out == "dot is missing! please install graphviz.\n"


def test_a_picture_is_made_by_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dot = tmp_path / "dot"
    dot.write_text('#!/bin/sh\ntest "$1 $2 $3" = "-T svg -o" || exit 3\ncat > "$4"\n', encoding="utf-8")
    dot.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    tree = Tree("t1^t,,0,1,2,0,1e-07,0#%n1*[None,inf,inf,0$0#[__f,1.0,2.0,0$0#]]")
    named = tree.to_img(str(tmp_path / "tree.svg"), format="svg")
    assert Path(named).read_text(encoding="utf-8") == tree.to_dot_string("record")
    found = Path(tree.to_img(format="svg", node_shape="box"))
    assert found.suffix == ".svg"
    assert "shape=box" in found.read_text(encoding="utf-8")
    found.unlink()


def test_the_threshold_is_that_of_the_environment(tmp_path: Path) -> None:
    source = """
        import hiq
        tree = hiq.Tree(tid="t")
        for name, end in (("__short", 0.09), ("__long", 0.11)):
            tree.start(name, 0.0)
            tree.end(name, end)
        print(tree.get_distinct_node_names(), tree.repr().split(",")[6])
    """
    import textwrap

    done = python("-c", textwrap.dedent(source), folder=tmp_path, ZIN_THRESHOLD="0.1")
    assert done.stdout == "['None', '__long'] 0.1\n", done.stderr


# --- malformed strings ----------------------------------------------------------------------------

GOOD = "t1^time,,0,2,3,1,1e-07,8#{'a': 1}%n1*[None,inf,inf,0$0#[__f,1.0,2.5,0$8#{'k': 2}[__g,1.5,2.0,0$0#]]]"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x", 'starts with "x"'),
        ("t2^" + GOOD[3:], '"2" at byte 1'),
        ("t1^", "cut off"),
        ("t1^a,b", "cut off"),
        (GOOD[: GOOD.index("[")], "cut off: the \\[ of a node is missing at byte 37"),
        (GOOD.replace("8#{'k'", "9#{'k'"), "its length is wrong"),
        (GOOD.replace("8#{'k'", "99999#{'k'"), "the string ends before"),
        (GOOD.replace("2.5", "two"), 'end is "two"'),
        (GOOD + "x", "where the end should be"),
    ],
)
def test_malformed_strings_are_errors_that_say_where(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Tree(text)


def test_no_cut_of_a_string_does_more_than_give_an_error() -> None:
    for end in range(1, len(GOOD)):
        with pytest.raises(ValueError, match=r"\w"):
            Tree(GOOD[:end])
    assert Tree(GOOD).repr() == GOOD


def test_what_cannot_be_read_changes_nothing() -> None:
    tree = Tree(GOOD)
    with pytest.raises(ValueError, match="cut off"):
        tree.recover(GOOD[:-3])
    tree.recover("")
    tree.recover(None)
    assert tree.repr() == GOOD


def test_an_end_that_does_not_match_says_so_as_hiq_does_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """What HiQ 1.1.14 printed for these steps; the lines between are of the program, where its own are of HiQ's file."""
    said = [
        "💀 debug info: 2, a, z",
        "💀 debug info: 3, b, a",
        "💀 debug info: 1, None, a",
    ]
    tree = hiq.Tree()
    tree.start("a", 1.0)
    assert tree.end("z", 2.0, {"lost": 1}) is None
    tree.start("b", 2.0)
    tree.end("a", 2.5)
    tree.end("b", 3.0)
    tree.end("a", 4.0)
    tree.end("a", 5.0)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "debug info" in line] == said
    assert lines.count("RuntimeError: stk should be non-empty and name should match!") == 3
    assert next(line for line in lines if line.startswith("  File ")).startswith(f'  File "{__file__}", line ')
    (a,) = tree.get_root().nodes
    assert (a.name, a.end, a.extra, [node.name for node in a.nodes]) == ("a", 4.0, {}, ["b"])
