"""Runs a program under the interpreter's own profiler; writes who called what, and what raised.

    python record_calls.py CALLS.json CONF (-m module | script.py) [arguments]

The same conf that hiq gets says which functions matter. Frames of the interpreter are all that is
looked at here, so the record is independent of hiq, which is held against it.

CALLS.json: `calls` is a list of [function, nearest function of the conf below it on the same stack
or null, count]; `raised` counts, for plain functions, the calls that ended by an exception.
"""

from __future__ import annotations

import collections
import csv
import dis
import importlib
import inspect
import json
import runpy
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

RESUMABLE = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
RETURNS = {dis.opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in dis.opmap}
RESUME = dis.opmap.get("RESUME")
RESUME_KIND_MASK = 3


def main(arguments: list[str]) -> None:
    calls_path, conf, *program = arguments
    recorder = Recorder()
    for row in conf_rows(Path(conf)):
        recorder.watch(row)
    recorder.start()
    try:
        run_as_main(program)
    finally:
        recorder.stop()
        Path(calls_path).write_text(json.dumps(recorder.result()))


def run_as_main(program: list[str]) -> None:
    """Runs `-m module arguments` or `script.py arguments` as `python` itself would."""
    if program[0] == "-m":
        sys.argv = program[1:]
        sys.path[0] = str(Path.cwd())
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        sys.path[0] = str(Path(program[0]).parent)
        runpy.run_path(program[0], run_name="__main__")


def conf_rows(path: Path) -> list[dict[str, str]]:
    """Reads a conf of literal rows (module, class, function, name), JSON or CSV."""
    if path.suffix == ".json":
        rows: list[dict[str, str]] = json.loads(path.read_text())
        return rows
    columns = ("module", "class", "function", "name")
    with path.open(newline="") as file:
        records = [record for record in csv.reader(file) if not record[0].startswith("#")]
    return [dict(zip(columns, record, strict=True)) for record in records]


class Recorder:
    """Counts the calls of the functions that it was told to watch, by caller."""

    def __init__(self) -> None:
        self._names: dict[CodeType, str] = {}
        self._calls: collections.Counter[tuple[str, str | None]] = collections.Counter()
        self._raised: collections.Counter[str] = collections.Counter()

    def watch(self, row: dict[str, str]) -> None:
        owner: Any = importlib.import_module(row["module"])
        if row["class"]:
            owner = getattr(owner, row["class"])
        found = inspect.getattr_static(owner, row["function"])
        function = getattr(found, "__func__", found)
        self._names[function.__code__] = row["name"]

    def start(self) -> None:
        threading.setprofile(self._on_event)
        sys.setprofile(self._on_event)

    def stop(self) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def result(self) -> dict[str, Any]:
        calls = [
            [name, caller, count] for (name, caller), count in sorted(self._calls.items(), key=str)
        ]
        return {"calls": calls, "raised": dict(self._raised)}

    def _on_event(self, frame: FrameType, event: str, _: object) -> None:
        name = self._names.get(frame.f_code)
        if name is None:
            return
        if event == "call" and _is_first_step(frame):
            self._calls[name, self._nearest(frame.f_back)] += 1
        elif event == "return" and _is_raising(frame):
            self._raised[name] += 1

    def _nearest(self, frame: FrameType | None) -> str | None:
        while frame is not None:
            if frame.f_code in self._names:
                return self._names[frame.f_code]
            frame = frame.f_back
        return None


def _is_first_step(frame: FrameType) -> bool:
    """A generator's frame is entered once per step; only the first is the call."""
    if not frame.f_code.co_flags & RESUMABLE or frame.f_lasti < 0:
        return True
    operation, argument = frame.f_code.co_code[frame.f_lasti : frame.f_lasti + 2]
    return operation == RESUME and argument & RESUME_KIND_MASK == 0


def _is_raising(frame: FrameType) -> bool:
    """The profiler has one event for both ends; the last instruction tells them apart."""
    is_plain = not frame.f_code.co_flags & RESUMABLE
    return is_plain and frame.f_code.co_code[frame.f_lasti] not in RETURNS


if __name__ == "__main__":
    main(sys.argv[1:])
