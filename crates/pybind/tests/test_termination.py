"""A service that SIGTERM ends: what it had finished arrives, and the program notices nothing."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hiq
import pytest
from conftest import PACKAGE_FOLDER, plain_environment

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has the semaphore that a signal handler may post"
)
UNDER_RUN = [sys.executable, "-m", "hiq", "run", "--conf", "conf.csv", "--file", "spans.jsonl"]
SERVICE = """
import os
import fastapi

app = fastapi.FastAPI()

def log(name):
    with open("log", "a") as file:
        file.write(name + "\\n")

@app.get("/")
async def page():
    log("page")
    return {"price": price(), "process": os.getpid()}

def price():
    log("price")
    return 1
"""
SERVE = """
import socket, sys
import uvicorn

if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config("service:app", log_level="error", workers=int(sys.argv[1]))
    if config.workers > 1:
        from uvicorn.supervisors import Multiprocess
        Multiprocess(config, sockets=[listener]).run()
    else:
        uvicorn.Server(config).run(sockets=[listener])
"""
LOOP = """
import signal, time
import service

for _ in range(250):
    service.price()
print("ready", flush=True)
while True:
    signal.pause()
"""


def write(folder: Path) -> None:
    (folder / "conf.csv").write_text("service,,price,price\nservice,,page,page\n")
    (folder / "service.py").write_text(SERVICE)
    (folder / "serve.py").write_text(SERVE)
    (folder / "loop.py").write_text(LOOP)


@contextlib.contextmanager
def run(folder: Path, *program: str) -> Iterator[subprocess.Popen[str]]:
    environment = plain_environment(PYTHONPATH=PACKAGE_FOLDER)
    command = [*UNDER_RUN, *program]
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=-1, stderr=-1, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def recorded(folder: Path) -> Counter[str]:
    lines = (folder / "spans.jsonl").read_text(encoding="utf-8").splitlines()
    resources = [resource for line in lines for resource in json.loads(line)["resourceSpans"]]
    groups = [group for resource in resources for group in resource["scopeSpans"]]
    return Counter(span["name"].removeprefix("__") for group in groups for span in group["spans"])


def logged(folder: Path) -> Counter[str]:
    return Counter((folder / "log").read_text().split())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_raises_the_signal_again_loses_nothing(workers: int, tmp_path: Path) -> None:
    write(tmp_path)
    with run(tmp_path, "serve.py", str(workers)) as server:
        url = f"http://127.0.0.1:{first_line(server)}/"
        seen = set()
        for _ in range(50):
            with urllib.request.urlopen(url, timeout=60) as answer:
                seen.add(json.load(answer)["process"])
        server.terminate()
        _, said = server.communicate(timeout=60)
    assert said == ""
    # A supervisor ends by itself; a server alone by the signal, as it would without us.
    assert server.returncode == (-signal.SIGTERM if workers == 1 else 0)
    assert (server.pid in seen) == (workers == 1)
    assert recorded(tmp_path) == logged(tmp_path) == Counter(page=50, price=50)


def test_a_program_that_knows_nothing_of_signals_loses_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    with run(tmp_path, "loop.py") as program:
        assert first_line(program) == "ready"
        program.terminate()
        _, said = program.communicate(timeout=60)
    assert (program.returncode, said) == (-signal.SIGTERM, "")
    assert recorded(tmp_path) == logged(tmp_path) == Counter(price=250)


def test_handlers_are_set_and_shown_as_before() -> None:
    hiq.init(exporters=["memory"])
    before = signal.getsignal(signal.SIGTERM)
    assert before is signal.SIG_DFL
    heard: list[int] = []
    assert signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number)) is signal.SIG_DFL
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        assert signal.signal(signal.SIGTERM, signal.SIG_IGN) is not signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGTERM)
        assert signal.signal(signal.SIGTERM, before) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.default_int_handler is signal.signal(signal.SIGINT, signal.default_int_handler)
    finally:
        signal.signal(signal.SIGTERM, before)
    with pytest.raises(TypeError, match="signal handler must be"):
        signal.signal(signal.SIGTERM, "nothing")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="signal number out of range"):
        signal.signal(4711, signal.SIG_DFL)
    assert str(inspect.signature(signal.signal)) == "(signalnum, handler)"
