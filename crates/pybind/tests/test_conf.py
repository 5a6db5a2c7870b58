"""Rows from a list and from every kind of file mean the same; what is wrong is told with its place and its fix."""

from __future__ import annotations

import json
from pathlib import Path

import hiq
import pytest
from hiq.testing import InMemoryExporter

PROGRAM = """
    import time

    def slow(seconds):
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass
        log.append("slow")

    class Cart:
        def add(self, x):
            log.append("add")
            return x
"""


@pytest.fixture
def spans():
    with InMemoryExporter() as exporter:
        yield exporter


def conf_in(form: str, module: str, folder: Path):
    rows = [[module, "Cart", "add", "add"], [module, "", "slow", "slow"]]
    keys = ("module", "class", "function", "name")
    if form == "list":
        return rows
    if form == "tuples":
        return [tuple(row) for row in rows]
    if form == "mappings":
        return [dict(zip(keys, row, strict=True)) for row in rows]
    path = folder / f"conf.{form}"
    if form == "json":
        path.write_text(json.dumps([dict(zip(keys, row, strict=True)) for row in rows]), encoding="utf-8")
    elif form == "yaml":
        lines = [f"- module: {m}\n  class: '{c}'\n  function: {f}\n  name: {n}\n" for m, c, f, n in rows]
        path.write_text("# a comment\n" + "".join(lines), encoding="utf-8")
    else:
        path.write_text("# a comment\n" + "".join(", ".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", ["list", "tuples", "mappings", "json", "yaml", "csv", "conf"])
def test_every_form_of_a_conf_traces_the_same(form: str, program, spans, tmp_path) -> None:
    module = program(PROGRAM)
    conf = conf_in(form, module.__name__, tmp_path)
    hiq.instrument(conf)
    module.Cart().add(1)
    module.slow(0)
    assert [span["name"] for span in spans] == [f"__{name}" for name in module.log] == ["__add", "__slow"]
    hiq.uninstrument()
    with hiq.HiQLatency(str(conf) if isinstance(conf, Path) else conf) as driver:
        module.slow(0)
        assert [row[3] for row in driver.hiq_quadruple] == ["__add", "__slow"]
        assert driver.o___slow is not module.slow
    assert driver.o___slow is module.slow


def test_rows_may_add_attributes_and_leave_short_calls_out(program, spans, tmp_path) -> None:
    module = program(PROGRAM)
    conf = tmp_path / "conf.yaml"
    conf.write_text(
        f"""
- module: {module.__name__}
  function: slow
  name: slow
  min_duration: 20ms
  attributes: {{team: billing, level: 3, share: 0.5, hot: true}}
""",
        encoding="utf-8",
    )
    hiq.instrument(conf)
    for seconds in (0, 0.03, 0.001):
        module.slow(seconds)
    (span,) = spans
    assert span["end_unix_nanos"] - span["start_unix_nanos"] >= 20_000_000
    chosen = {key: span["attributes"][key] for key in ("team", "level", "share", "hot")}
    assert chosen == {"team": "billing", "level": 3, "share": 0.5, "hot": True}


BAD = {
    "csv": ("m,,f,ok\nm,,g\n", ":2"),
    "json": ('[{"module": "m", "class": "", "function": "f", "name": "ok"},\n {"module": "m", "function": 3}]', ":2"),
    "yaml": ("- module: m\n  function: f\n  name: ok\n- module: m\n  function: g\n  name: a b\n", ":4"),
}


@pytest.mark.parametrize("form", BAD)
def test_a_bad_file_is_refused_with_file_and_row(form: str, tmp_path) -> None:
    text, line = BAD[form]
    path = tmp_path / f"bad.{form}"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(hiq.ConfigError) as caught:
        hiq.instrument(path)
    assert str(caught.value).startswith(f"{path}{line}")
    with pytest.raises(ValueError):
        hiq.HiQLatency(str(path))


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ([["m", "", "f"]], "conf:1"),
        ([["m", "", "f", "ok"], ["m", "", "g", "not ok"]], "conf:2:4"),
        ([["m", "", "f", "same"], ["m", "", "g", "same"]], "conf:2:4"),
        ([["m", "", "f", "ok", "soon"]], "conf:1:5"),
        ([[1, 2, 3, 4]], "conf:1"),
    ],
)
def test_a_bad_list_is_refused_with_its_row(rows, part: str) -> None:
    with pytest.raises(hiq.ConfigError) as caught:
        hiq.instrument(rows)
    assert str(caught.value).startswith(part)


def test_nothing_is_traced_when_a_row_is_wrong(program) -> None:
    module = program(PROGRAM)
    original = module.slow
    with pytest.raises(hiq.ConfigError):
        hiq.instrument([[module.__name__, "", "slow", "slow"], ["broken"]])
    assert module.slow is original


def test_extra_rows_must_not_share_a_name_with_the_table(program, tmp_path) -> None:
    module = program(PROGRAM)
    row = [module.__name__, "", "slow", "slow"]
    with pytest.raises(ValueError):
        hiq.HiQLatency([row], extra_hiq_table=[row])
    table = [row]
    hiq.HiQLatency(table, extra_hiq_table=[[module.__name__, "Cart", "add", "add"]]).disable()
    assert table == [row]
