"""Confs as the native module reads them, beside what HiQ 1.1.14 makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hiq_golden
import pytest
from hiq import ConfigError, HiqError, _hiq

# Where the answer is another one on purpose.
DIFFERENCES = {
    "csv: empty": "is empty",  # HiQ traces nothing and says nothing.
    "json: byte order mark": [["m", "C", "f", "__t1"]],  # HiQ takes the file for CSV.
    "rows: line end behind a name": "only alpha numerics",  # HiQ's pattern overlooks it.
}


def read(case: dict[str, Any], folder: Path) -> list[list[str]]:
    if not isinstance(case["content"], str):
        return cells(_hiq.parse_conf(case["content"]))
    path = folder / f"conf{case['ending']}"
    path.write_text(case["content"], encoding="utf-8", newline="")
    return cells(_hiq.load_conf(path))


def cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    return [[row["module"], row["class"], row["function"], row["name"]] for row in rows]


def test_confs_are_accepted_and_refused_as_by_hiq(tmp_path: Path) -> None:
    cases = hiq_golden.whole("conf.json")["confs"]
    assert len(cases) >= 60
    for case in cases:
        hiqs = [[cell or "" for cell in row] for row in case["rows"]] if "rows" in case else None
        expected = DIFFERENCES.get(case["case"], hiqs)
        if isinstance(expected, list):
            assert read(case, tmp_path) == expected, case
            continue
        with pytest.raises(ConfigError) as caught:
            read(case, tmp_path)
        hiqs_text = expected or case["message"]
        if hiqs_text.startswith("🦉") or expected:
            assert hiqs_text.replace("{i[3]}!", "") in str(caught.value), case


def test_rows_have_all_that_a_file_says(tmp_path: Path) -> None:
    path = tmp_path / "shop.json"
    rows = [
        {"module": "# comment", "class": "", "function": "", "name": ""},
        {
            "module": "shop",
            "class": "Cart*",
            "function": "*",
            "name": "cart_*",
            "min_duration": "1.5ms",
            "attributes": {"team": "cart", "tier": 1, "share": 0.5, "beta": True, "tags": ["a", 2]},
        },
        {"module": "shop", "class": None, "function": "total", "name": "total"},
    ]
    path.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "]", encoding="utf-8")
    expected = [
        {
            "module": "shop",
            "class": "Cart*",
            "function": "*",
            "name": "__cart_*",
            "min_duration_ns": 1_500_000,
            "attributes": {"team": "cart", "tier": 1, "share": 0.5, "beta": True, "tags": ["a", 2]},
            "place": f"{path}:3",
        },
        {
            "module": "shop",
            "class": "",
            "function": "total",
            "name": "__total",
            "min_duration_ns": 0,
            "attributes": {},
            "place": f"{path}:4",
        },
    ]
    assert _hiq.load_conf(path) == _hiq.load_conf(str(path)) == expected
    as_cells = [
        ["#", "", "", ""],
        ("shop", "Cart*", "*", "cart_*", "1.5ms", rows[1]["attributes"]),
        ["shop", None, "total", "total"],
    ]
    from_list = _hiq.parse_conf(as_cells)
    assert [row.pop("place") for row in from_list] == ["conf:2", "conf:3"]
    assert from_list == [{key: value for key, value in row.items() if key != "place"} for row in expected]


def test_each_error_names_file_line_column_and_fix(tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("shop,Cart,add,add\nshop,Cart,sub,a b\nshop,Cart,mul\nshop,Cart,div,add\n", encoding="utf-8")
    rows, problems = _hiq.check_conf(path)
    assert cells(rows) == [["shop", "Cart", "add", "__add"]]
    assert [problem.split(" ")[0] for problem in problems] == [f"{path}:2:4:", f"{path}:3:", f"{path}:4:4:"]
    assert 'e.g. "a_b"' in problems[0]
    assert "this row has 3" in problems[1]
    assert f"{path}:1 has it already; rename one of the two" in problems[2]
    with pytest.raises(ConfigError) as caught:
        _hiq.load_conf(path)
    assert str(caught.value) == problems[0]
    assert isinstance(caught.value, HiqError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([["m", "", "f", 3]], 'conf:1:4: .*the fourth, the name is a number; write it as text, in quotes: "3"'),
        ([["m", "", "f", 10**30]], "conf:1:4: .*the name is a number"),
        ([["m", "", "f", None]], "conf:1:4: .*the name is empty"),
        ([["m", "", "f", "t"], ["m", "", "g", object()]], "conf:2:4: the cell is of type object; write a text"),
        ([["m", "", "f", "t", "5ms", {"a": {"b": 1}}]], 'conf:1:6: attribute "a" is an object'),
        ([["m", "", "f", "t", "5ms", {"a": {"b": {"c": 1}}}]], "conf:1:6: the cell is of type dict"),
        ([["m", "", "f", "t", "5ms", {3: 1}]], "conf:1:6: a key is of type int; write a text"),
        ([["m", "", "f", "t", "5"]], "conf:1:5: .*e.g. 5ms"),
        (["abcd"], "conf:1: the row is of type str; write a list of four texts"),
        ([["m", "", "f", "t"], 3], "conf:2: the row is of type int"),
    ],
)
def test_rows_that_are_not_texts_are_refused_by_place(rows: list[Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        _hiq.parse_conf(rows)


def test_a_list_inside_of_itself_is_refused() -> None:
    inside: list[Any] = ["a"]
    inside.append(inside)
    with pytest.raises(ConfigError, match="conf:1:6: the cell is of type list"):
        _hiq.parse_conf([["m", "", "f", "t", "5ms", inside]])
    with pytest.raises(TypeError, match="not iterable"):
        _hiq.parse_conf(3)


def test_a_file_that_cannot_be_read_is_an_error_with_its_name(tmp_path: Path) -> None:
    missing = tmp_path / "nothing.csv"
    with pytest.raises(ConfigError, match=r"😓 file .*nothing\.csv doesn't exist"):
        _hiq.load_conf(missing)
    assert _hiq.check_conf(missing)[0] == []
    assert "nothing.csv doesn't exist" in _hiq.check_conf(missing)[1][0]
    with pytest.raises(ConfigError, match="cannot be read"):
        _hiq.load_conf(tmp_path)
    (tmp_path / "latin.csv").write_bytes(b"m,,f,t\nm,,gr\xfc\xdfe,u\n")
    with pytest.raises(ConfigError, match=r"latin.csv:2:6: byte 0xfc is not UTF-8; save the file as UTF-8"):
        _hiq.load_conf(tmp_path / "latin.csv")
