"""Runs other programs: a clean environment, a hard time limit, nothing left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from hiq_servers.waiting import attempts_within

_FOREIGN_PREFIXES = ("OTEL_", "HIQ_", "TRACE_TYPE", "TRACEPARENT", "TRACESTATE", "BLACK_", "PYTHON")


class ProgramTimeoutError(Exception):
    """The program was ended because it ran into its time limit; the text holds what it printed."""


@dataclasses.dataclass(frozen=True)
class Finished:
    code: int
    stdout: str
    stderr: str

    def require_success(self) -> Finished:
        if self.code != 0:
            raise AssertionError(
                f"ended with code {self.code}\nstdout: {self.stdout}\nstderr: {self.stderr}"
            )
        return self


def run_program(
    command: Sequence[str | Path],
    *,
    folder: Path,
    timeout_seconds: float,
    environment: Mapping[str, str] | None = None,
) -> Finished:
    """Runs a program to its end. At the limit it and all its children are killed."""
    program = _start(command, folder, environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        stdout, stderr = program.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        _kill_with_children(program)
        stdout, stderr = program.communicate()
        raise ProgramTimeoutError(
            f"{' '.join(map(str, command))} was killed after {timeout_seconds:g} s"
            f"\nstdout: {stdout[-4000:]}\nstderr: {stderr[-4000:]}"
        ) from None
    finally:
        _kill_with_children(program)
    return Finished(program.returncode, stdout, stderr)


class BackgroundProgram:
    """A program that runs for the length of a `with` block; all it prints goes into one file."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        folder: Path,
        output: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._output = output
        with output.open("w") as file:
            self._program = _start(
                command, folder, environment, stdout=file, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> BackgroundProgram:
        return self

    def __exit__(self, *_: object) -> None:
        _kill_with_children(self._program)
        self._program.wait()

    def wait_for_output(self, pattern: str, seconds: float) -> re.Match[str]:
        """Returns the first match of `pattern` in what the program has printed."""
        for _ in attempts_within(seconds):
            if found := re.search(pattern, self._output.read_text()):
                return found
            if self._program.poll() is not None:
                break
        raise ProgramTimeoutError(
            f"no {pattern!r} printed in {seconds:g} s, code {self._program.poll()}:"
            f"\n{self._output.read_text()[-4000:]}"
        )

    def finish(self, seconds: float) -> Finished:
        """Waits for the program's own end."""
        try:
            code = self._program.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ProgramTimeoutError(
                f"still running after {seconds:g} s:\n{self._output.read_text()[-4000:]}"
            ) from None
        return Finished(code, self._output.read_text(), "")

    def interrupt(self, seconds: float) -> Finished:
        """Does what Ctrl-C does, and waits for the end."""
        self.send_signal(signal.SIGINT)
        return self.finish(seconds)

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal to the program itself, without waiting."""
        self._program.send_signal(number)


def _start(
    command: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str] | None,
    *,
    stdout: int | IO[str],
    stderr: int,
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=folder,
        env={**plain_environment(), **(environment or {})},
        stdin=subprocess.DEVNULL,
        text=True,
        # A process group of its own, so that a kill reaches its children.
        start_new_session=True,
        stdout=stdout,
        stderr=stderr,
    )


def _kill_with_children(program: subprocess.Popen[str]) -> None:
    """Kills what is left of the program's process group; no such group is fine."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)


def plain_environment() -> dict[str, str]:
    """Our environment without what would steer tracing, Python or the network of a child."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN_PREFIXES) and not name.lower().endswith("_proxy")
    }
