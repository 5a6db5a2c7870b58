"""The log of calls (LMK) and the sending of trees (Jack): one thread calls the handlers, whatever they do."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
from pathlib import Path
from typing import Any

import hiq
import pytest
from conftest import names, python
from hiq import _hiq
from hiq.jack import get_jack_log_file, log_jack_rotated
from hiq.testing import InMemoryExporter

PROGRAM = """
    def outer(x):
        return inner(x)

    def inner(x):
        return x

    async def later():
        return inner(1)
"""


def rows(module: Any) -> list[list[str]]:
    return [[module.__name__, "", function, function] for function in ("outer", "inner", "later")]


@pytest.fixture
def lmk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LMK", "1")


def seen(messages: list[dict[str, Any]]) -> list[tuple[str, str, bool]]:
    assert _hiq.wait_until_told(60) == 0
    return [(message["id_"], message["name"], message["is_start"]) for message in messages]


def test_handlers_get_hiqs_messages_in_a_thread_of_their_own(program, lmk, capsys) -> None:
    module = program(PROGRAM)
    messages: list[dict[str, Any]] = []
    threads = set()

    def handler(data: dict[str, Any], pid: int) -> str:
        messages.append(data)
        threads.add(threading.current_thread())
        assert pid == os.getpid()
        return f"line {len(messages)}"

    with hiq.HiQLatency(rows(module), lmk_handler=handler, extra_metrics=[hiq.ExtraMetrics.ARGS]) as driver:
        assert driver.summon_log_monkey_king
        module.outer(1)
    assert seen(messages) == [
        ("time", "__outer", True),
        ("time", "__inner", True),
        ("time", "__inner", False),
        ("time", "__outer", False),
    ]
    assert [message["extra"] for message in messages] == [{"args": "int(1)"}, {"args": "int(1)"}, {}, {}]
    values = [message["value"] for message in messages]
    assert values == sorted(values)
    (root,) = driver.get_metrics()[0].get_root().nodes
    assert (values[0], values[-1]) == (root.start, root.end)
    (thread,) = threads
    assert thread.daemon and thread.name == "hiq-handlers"
    assert capsys.readouterr().out.splitlines() == ["line 1", "line 2", "line 3", "line 4"]


def test_coroutines_are_in_the_log(program, lmk) -> None:
    module = program(PROGRAM)
    messages: list[dict[str, Any]] = []
    with hiq.HiQLatency(rows(module), lmk_handler=lambda data, pid: messages.append(data)):
        asyncio.run(module.later())
    expected = [("__later", True), ("__inner", True), ("__inner", False), ("__later", False)]
    assert [message[1:] for message in seen(messages)] == expected


def test_a_logger_takes_the_lines_and_a_file_where_it_has_an_add(program, lmk) -> None:
    class Logger:
        """As loguru's."""

        def __init__(self) -> None:
            self.files: list[Any] = []
            self.lines: list[str] = []

        def add(self, path: str, rotation: str) -> None:
            self.files.append((path, rotation))

        def info(self, line: str) -> None:
            self.lines.append(line)

    module, logger = program(PROGRAM), Logger()
    with hiq.HiQLatency(rows(module), lmk_path="calls.log", lmk_logger=logger):
        module.inner(1)
    assert _hiq.wait_until_told(60) == 0
    assert logger.files == [("calls.log", "500 MB")]
    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}"
    start, end = logger.lines
    assert re.fullmatch(rf"{moment} - \[time\] \[🆔 {os.getpid()}\] 🐵 \[inner\]", start)
    assert re.fullmatch(rf"{moment} - \[time\] \[🆔 {os.getpid()}\] 🙈 \[inner\]", end)


def test_handlers_that_fail_or_call_traced_functions_do_no_harm(program, lmk, caplog) -> None:
    module = program(PROGRAM)
    calls = []

    def handler(data: dict[str, Any], pid: int) -> str:
        calls.append(module.outer(2))
        raise ValueError("mine")

    with InMemoryExporter() as exporter, hiq.HiQLatency(rows(module), lmk_handler=handler):
        for _ in range(3):
            assert module.inner(1) == 1
        assert _hiq.wait_until_told(60) == 0
        assert len(exporter.spans()) == 3
    assert calls == [2, 2, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "hiq: a handler of the log of calls failed: ValueError: mine"
    ]


def test_without_lmk_nothing_is_logged(program, capsys) -> None:
    module = program(PROGRAM)
    with hiq.HiQLatency(rows(module), lmk_handler=lambda data, pid: "line") as driver:
        module.inner(1)
    assert not driver.summon_log_monkey_king
    assert _hiq.wait_until_told(60) == 0
    assert capsys.readouterr().out == ""


PRINTING = """
import os, hiq, json
handler = lambda data, pid: f"{data['name']} {data['is_start']} {pid == os.getpid()}"
driver = hiq.HiQLatency([["json", "", "dumps", "dumps"]], lmk_handler=handler)
json.dumps(1)
"""


def test_what_is_waiting_at_exit_is_written(tmp_path: Path) -> None:
    run = python("-c", PRINTING, folder=tmp_path, LMK="1")
    assert (run.stdout.splitlines(), run.stderr) == (["__dumps True True", "__dumps False True"], "")


def test_a_forked_child_has_a_thread_of_its_own(tmp_path: Path) -> None:
    code = PRINTING + (
        "driver._native.overhead_ns(); hiq._hiq.wait_until_told(60)\n"
        "import sys; sys.stdout.flush()\n"
        "child = os.fork()\n"
        "if child: os.waitpid(child, 0)\n"
        "else: json.dumps(2)\n"
    )
    # A process with threads that forks is warned of by newer Pythons, as it is with HiQ.
    run = python("-W", "ignore::DeprecationWarning", "-c", code, folder=tmp_path, LMK="1")
    assert (run.stdout.splitlines(), run.stderr) == (["__dumps True True", "__dumps False True"] * 2, "")


# --- Jack -----------------------------------------------------------------------------------------

SENDING = """
import hiq, json
keys = iter(["one", "two", "three", "four"])
driver = hiq.HiQLatency([["json", "", "dumps", "dumps"]], hiq_id_func=lambda: next(keys), max_hiq_size=1)
for number in range(4):
    json.dumps(number)
"""


def test_jack_writes_every_tree_and_the_last_ones_at_exit(tmp_path: Path) -> None:
    run = python("-c", SENDING, folder=tmp_path, JACK="1", HOME=str(tmp_path))
    assert re.fullmatch(r"🅹 🅰 🅒 Ⓚ \d+ is started\n", run.stdout)
    assert run.stderr == ""
    lines = (tmp_path / ".hiq" / "log_jack.log").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4
    starts = []
    for line in lines:
        key, _, text = line.partition(",")
        tree = hiq.Tree(text)
        assert (key, names(tree)) == ("time", [["__dumps"]])
        starts.append(tree.get_root().nodes[0].start)
    assert starts == sorted(starts)


def test_jack_says_what_its_stream_lacks_and_goes_on(tmp_path: Path) -> None:
    run = python("-c", SENDING, folder=tmp_path, JACK="1", NO_JACK_LOG="1", HIQ_OCI_STREAMING="1", HOME=str(tmp_path))
    assert run.returncode == 0
    assert not (tmp_path / ".hiq").exists()
    said = "HIQ_OCI_STREAMING: 🦉 Please setup environment variable `OCI_STM_END`; trees go to the log file only"
    assert said in run.stderr


def test_trees_may_be_sent_by_hand(tmp_path: Path) -> None:
    code = """
import hiq
driver = hiq.HiQLatency([])
driver.send_trees_to_jack({"time": hiq.Tree(tid="a")}, debug=True)
import os; os.environ["JACK"] = "1"
driver = hiq.HiQLatency([])
tree = hiq.Tree(tid="by hand"); tree.start("x", 1.0); tree.end("x", 2.0)
driver.send_trees_to_jack({"time": tree})
"""
    run = python("-c", code, folder=tmp_path, HOME=str(tmp_path))
    assert run.stdout.startswith("Jack is working\n🅹 🅰 🅒 Ⓚ ")
    (line,) = (tmp_path / ".hiq" / "log_jack.log").read_text(encoding="utf-8").splitlines()
    assert line.startswith("by hand,t1^by hand,")


def test_jacks_log_is_apart_from_the_programs(tmp_path: Path, monkeypatch) -> None:
    before = (logging.getLogger().level, list(logging.getLogger().handlers))
    logger = log_jack_rotated(str(tmp_path / "jack.log"), max_bytes=200, backup_count=2)
    assert logger is not None
    for number in range(100):
        logger.info("line %d", number)
    assert (logging.getLogger().level, list(logging.getLogger().handlers)) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jack.log", "jack.log.1", "jack.log.2"]
    for handler in logger.handlers:
        handler.close()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get_jack_log_file() == str(tmp_path / ".hiq" / "log_jack.log")
