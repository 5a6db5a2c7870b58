"""Pools end their workers by SIGTERM: what those had finished arrives all the same, and nothing else of the program changes."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import pytest
from conftest import python

METHODS = ["fork", "forkserver", "spawn"]
UNDER_RUN = ["-m", "hiq", "run", "--conf", "conf.csv", "--file", "spans.jsonl"]
WORK = """
import os
def task(number):
    with open(f"log-{os.getpid()}", "a") as log:
        log.write("__task\\n")
    return number
"""


def recorded(folder: Path) -> dict[str, list[str]]:
    """Names of the spans that arrived, by process."""
    found: dict[str, list[str]] = {}
    for line in (folder / "spans.jsonl").read_text(encoding="utf-8").splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            pids = [i["value"]["intValue"] for i in resource["resource"]["attributes"] if i["key"] == "process.pid"]
            for scope in resource["scopeSpans"]:
                found.setdefault(str(pids[0]), []).extend(span["name"] for span in scope["spans"])
    return found


def logged(folder: Path) -> dict[str, list[str]]:
    return {log.name.removeprefix("log-"): log.read_text().split() for log in folder.glob("log-*")}


def write(folder: Path, main: str) -> None:
    (folder / "conf.csv").write_text("work,,task,task\n", encoding="utf-8")
    (folder / "work.py").write_text(WORK, encoding="utf-8")
    (folder / "main.py").write_text(main, encoding="utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the semaphore that a signal handler may post")
@pytest.mark.parametrize("method", METHODS)
def test_workers_of_a_pool_that_is_terminated_have_sent_all_that_they_finished(method: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        f"""
import multiprocessing, work
if __name__ == "__main__":
    with multiprocessing.get_context({method!r}).Pool(2) as pool:
        print(pool.map(work.task, range(8), chunksize=1))
""",
    )
    run = python(*UNDER_RUN, "main.py", folder=tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, "[0, 1, 2, 3, 4, 5, 6, 7]\n", "")
    assert recorded(tmp_path) == logged(tmp_path)
    assert sum(map(len, logged(tmp_path).values())) == 8


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the semaphore that a signal handler may post")
def test_the_same_in_a_program_that_calls_init_itself(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
import multiprocessing, hiq, work
hiq.init(exporters=[hiq.FileExporter("spans.jsonl")], conf="conf.csv")
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(work.task, range(8), chunksize=1)
""",
    )
    run = python("main.py", folder=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert recorded(tmp_path) == logged(tmp_path)
    assert sum(map(len, logged(tmp_path).values())) == 8


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the semaphore that a signal handler may post")
def test_a_process_in_c_code_is_terminated_with_its_spans_and_by_the_signal(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
import multiprocessing, select, work
def job(ready):
    work.task(1)
    ready.set()
    select.poll().poll()  # For ever, in C.
context = multiprocessing.get_context("fork")
ready = context.Event()
process = context.Process(target=job, args=(ready,))
process.start()
ready.wait()
process.terminate()
process.join()
print(process.exitcode)
""",
    )
    run = python(*UNDER_RUN, "main.py", folder=tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, "-15\n", "")
    assert recorded(tmp_path) == logged(tmp_path) != {}


def test_the_program_s_own_handler_is_the_one_that_runs(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
import multiprocessing, os, signal, sys, time, work
def exits(*_):
    sys.exit(7)
def job(ready, sets):
    if sets:
        signal.signal(signal.SIGTERM, exits)
    assert signal.getsignal(signal.SIGTERM) is exits
    work.task(1)
    ready.set()
    # Not in one long wait: a signal that comes just before it would not be heard.
    while True:
        time.sleep(0.05)
context = multiprocessing.get_context("fork")
for sets in (True, False):
    if not sets:
        signal.signal(signal.SIGTERM, exits)
    ready = context.Event()
    process = context.Process(target=job, args=(ready, sets))
    process.start()
    ready.wait()
    process.terminate()
    process.join()
    print(process.exitcode)
""",
    )
    run = python(*UNDER_RUN, "main.py", folder=tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, "7\n7\n", "")
    assert recorded(tmp_path) == logged(tmp_path)
    assert len(logged(tmp_path)) == 2


def test_a_child_that_has_recorded_nothing_ends_at_once_and_starts_nothing(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
import multiprocessing, os, signal, subprocess, sys
def job(ready):
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert len(os.listdir("/proc/self/task")) == 1
    grandchild = os.fork()
    if grandchild == 0:
        signal.pause()
    os.kill(grandchild, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(grandchild, 0)[1]) == -15
    other = subprocess.Popen([sys.executable, "-c", "import signal; print(flush=True); signal.pause()"], stdout=-1)
    other.stdout.readline()
    other.terminate()
    assert other.wait() == -15
    ready.set()
    signal.pause()
context = multiprocessing.get_context("fork")
ready = context.Event()
process = context.Process(target=job, args=(ready,))
process.start()
ready.wait()
process.terminate()
process.join()
print(process.exitcode)
""",
    )
    run = python(*UNDER_RUN, "main.py", folder=tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, "-15\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the semaphore that a signal handler may post")
def test_a_backend_that_never_answers_delays_the_end_of_a_pool_by_a_second_and_is_told_of(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
import multiprocessing, time, work
if __name__ == "__main__":
    pool = multiprocessing.get_context("fork").Pool(2)
    pool.map(work.task, range(8), chunksize=1)
    before = time.monotonic()
    pool.terminate()
    pool.join()
    print(time.monotonic() - before)
""",
    )
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        run = python("-m", "hiq", "run", "--conf", "conf.csv", "--endpoint", url, "main.py", folder=tmp_path)
    assert run.returncode == 0
    # A second for all of them together, and what two processes take to end on a machine that is busy.
    assert float(run.stdout) < 4
    lost = [line for line in run.stderr.splitlines() if " lost at shutdown: " in line]
    spans = sum(int(line.split(": ")[2].split()[0]) for line in lost) if lost else 0
    assert spans == 8, run.stderr
