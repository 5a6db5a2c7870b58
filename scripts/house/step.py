"""Runs commands and says how far they are, with the time since `make` began."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from house.places import REPOSITORY, clone_folder

PROGRESS_SECONDS = 10
TAIL_LINES = 60
TIMEOUT_SECONDS = 3600
_BUILDING = ("Compiling ", "Checking ", "Documenting ", "Downloading ", "Installing ", "Finished ")

_began = time.monotonic()


class StepError(Exception):
    """A step has failed; the text is all that has to be said."""


def say(text: str) -> None:
    seconds = int(time.monotonic() - _began)
    print(f"[{seconds // 60:2}:{seconds % 60:02}] {text}", flush=True)


def run_quietly(
    title: str,
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path = REPOSITORY,
) -> None:
    """Runs a command whose output matters when it fails. Its last line is shown now and then."""
    say(title)
    log = clone_folder("logs") / f"{re.sub(r'[^a-z0-9.]+', '-', title.lower())[:60]}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        program = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        code = _wait_talking(program, log)
    if code != 0:
        _show_tail(log)
        raise StepError(
            f"{title.partition(' (')[0]}: failed with code {code}, all output is in {log}"
        )


def run_openly(
    title: str,
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path = REPOSITORY,
) -> None:
    """Runs a command whose output is the point."""
    say(title)
    words = [str(word) for word in command]
    finished = subprocess.run(words, cwd=cwd, env=env, check=False, timeout=TIMEOUT_SECONDS)
    if finished.returncode != 0:
        raise StepError(f"{title}: failed with code {finished.returncode}")


def end_with(work: str, failures: Sequence[str]) -> int:
    """The closing line of a verb, and its exit code."""
    for failure in failures:
        say(f"FAILED {failure}")
    say(f"{work}: {f'{len(failures)} failed' if failures else 'ok'}")
    return 1 if failures else 0


def _wait_talking(program: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        while time.monotonic() < deadline:
            try:
                return program.wait(PROGRESS_SECONDS)
            except subprocess.TimeoutExpired:
                say(f"  ... {_last_line(log)}")
        return -1
    finally:
        if program.poll() is None:
            program.kill()
            program.wait()


def _last_line(log: Path) -> str:
    """What is being built, where the output tells; else what it said last."""
    lines = [line.strip() for line in _tail(log) if line.strip()]
    building = [line for line in lines if line.startswith(_BUILDING)]
    return (building or lines or ["no output yet"])[-1][:100]


def _show_tail(log: Path) -> None:
    sys.stdout.write("\n".join(_tail(log)[-TAIL_LINES:]) + "\n")
    sys.stdout.flush()


def _tail(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 32768))
        return file.read().decode(errors="replace").splitlines()
