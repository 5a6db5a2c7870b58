"""`hiq.ChromeExporter`: what a traced program leaves in a trace file, by the program's own log."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import hiq
import pytest
from conftest import PACKAGE_FOLDER, python

PROGRAM = """
    import json, os, sys, threading
    import hiq

    log = []

    def step(name):
        with hiq.trace(name, shelf=name[-1]) as span:
            log.append([os.getpid(), threading.get_native_id(), threading.current_thread().name, name])

    def work(name):
        with hiq.trace(name):
            log.append([os.getpid(), threading.get_native_id(), threading.current_thread().name, name])
            for number in range(3):
                step(f"{name} {number}")

    if __name__ == "__main__":
        hiq.init("shop"{arguments})
        threads = [threading.Thread(target=work, args=(f"t{n}",), name=f"worker {n}") for n in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        hiq.flush(60)
        child = os.fork()
        work("child" if child == 0 else "main")
        hiq.shutdown(60)
        with open(f"log.{os.getpid()}", "w") as file:
            json.dump(log, file)
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
"""


def run(folder: Path, arguments: str, **environment: str) -> list[list[Any]]:
    """Runs the program; returns what its two processes noted, each line once."""
    (folder / "program.py").write_text(textwrap.dedent(PROGRAM).replace("{arguments}", arguments))
    subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": PACKAGE_FOLDER, **environment},
        check=True,
        timeout=60,
    )
    lines = [line for path in folder.glob("log.*") for line in json.loads(path.read_text())]
    return sorted(map(list, {tuple(line) for line in lines}))


def shown(path: Path) -> list[list[Any]]:
    """The same of the trace: process, thread, the thread's name, and the span's."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    events = json.loads(text)["traceEvents"]
    names = {
        (event["pid"], event["tid"]): event["args"]["name"] for event in events if event.get("name") == "thread_name"
    }
    spans = [event for event in events if event["ph"] == "X"]
    assert all(event["ts"] > 0 and event["dur"] > 0 for event in spans)
    return sorted([event["pid"], event["tid"], names[event["pid"], event["tid"]], event["name"]] for event in spans)


@pytest.mark.parametrize("name", ["trace.json", "trace.json.gz"])
def test_every_span_stands_on_the_track_of_its_thread_and_process(tmp_path: Path, name: str) -> None:
    noted = run(tmp_path, f", exporters=[hiq.ChromeExporter({name!r})]")
    assert len(noted) == 20
    assert shown(tmp_path / name) == noted


def test_the_environment_turns_it_on(tmp_path: Path) -> None:
    noted = run(tmp_path, "", OTEL_TRACES_EXPORTER="chrome", HIQ_CHROME_FILE="here.json")
    assert shown(tmp_path / "here.json") == noted
    os.unlink(tmp_path / "here.json")
    noted = run(tmp_path, "", OTEL_TRACES_EXPORTER="chrome")
    assert {tuple(line) for line in shown(tmp_path / "hiq-trace.json.gz")} <= {tuple(line) for line in noted}


TASKS = """
    import asyncio, sys
    import hiq

    async def work(number):
        for piece in range(3):
            with hiq.trace(f"{asyncio.current_task().get_name()} {piece}"):
                await asyncio.sleep(0)

    async def main():
        named = [asyncio.create_task(work(n), name=f"worker {n}") for n in range(3)]
        twins = [asyncio.create_task(work(n), name="twin") for n in range(2)]
        unnamed = [asyncio.create_task(work(n)) for n in range(2)]
        await asyncio.gather(*named, *twins, *unnamed)

    hiq.init("shop", exporters=[hiq.ChromeExporter(sys.argv[1])])
    asyncio.run(main())
    with hiq.trace("outside"):
        pass
    hiq.shutdown(60)
"""


def rows_of(path: Path) -> dict[str, list[str]]:
    """The names of rows of a file, and those of the spans on each."""
    rows: dict[str, list[str]] = {}
    for _pid, _tid, row, name in shown(path):
        rows.setdefault(row, []).append(name)
    return {row: sorted(names) for row, names in rows.items()}


def test_tasks_that_the_program_has_named_have_rows_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(textwrap.dedent(TASKS))
    assert python("program.py", "trace.json", folder=tmp_path).returncode == 0
    rows = rows_of(tmp_path / "trace.json")
    for number in range(3):
        assert rows.pop(f"worker {number}") == [f"worker {number} {piece}" for piece in range(3)]
    # They overlap, so that they cannot stand on one row.
    assert sorted(rows.pop("twin") + rows.pop("twin (2)")) == sorted(2 * [f"twin {piece}" for piece in range(3)])
    assert all(row.startswith("MainThread") for row in rows)
    others = [name for names in rows.values() for name in names]
    assert "outside" in others
    assert all(name == "outside" or name.startswith("Task-") for name in others)
    assert len(others) == 7

    # Read back and written again, they are what they were.
    convert = ("-m", "hiq", "convert", "trace.json", "again.json")
    assert python(*convert, folder=tmp_path).returncode == 0
    again = rows_of(tmp_path / "again.json")
    assert {row: names for row, names in again.items() if row.startswith("worker")} == {
        f"worker {number}": [f"worker {number} {piece}" for piece in range(3)] for number in range(3)
    }


def test_perfetto_by_name_and_by_argument(tmp_path: Path) -> None:
    for name, file_format in [("a.pftrace", None), ("b", "perfetto")]:
        hiq.init("shop", exporters=[hiq.ChromeExporter(tmp_path / name, format=file_format)])
        with hiq.trace("a span of this test"):
            pass
        assert hiq.stats()["chrome"]["offered"] == 1
        hiq.shutdown(60)
        written = (tmp_path / name).read_bytes()
        assert written.startswith(b"\n")
        assert b"a span of this test" in written


def test_settings_that_cannot_work_are_said_at_once(tmp_path: Path) -> None:
    diary = tmp_path / "diary.json"
    diary.write_text("my diary")
    for exporter, words in [
        (hiq.ChromeExporter(diary), "no whole Chrome JSON trace written by hiq"),
        (hiq.ChromeExporter(tmp_path / "x.json", format="jaeger"), "use chrome or perfetto"),
    ]:
        with pytest.raises(hiq.ConfigError, match=words):
            hiq.init("shop", exporters=[exporter])
    assert diary.read_text() == "my diary"
