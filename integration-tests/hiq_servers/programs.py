"""Runs other programs: a clean environment, a hard time limit, nothing left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

_FOREIGN_PREFIXES = ("OTEL_", "HIQ_", "TRACE_TYPE", "TRACEPARENT", "TRACESTATE", "BLACK_", "PYTHON")


class ProgramTimeout(Exception):
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
    program = start_program(command, folder=folder, environment=environment)
    try:
        stdout, stderr = program.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        kill_with_children(program)
        stdout, stderr = program.communicate()
        raise ProgramTimeout(
            f"{' '.join(map(str, command))} was killed after {timeout_seconds:g} s"
            f"\nstdout: {stdout[-4000:]}\nstderr: {stderr[-4000:]}"
        ) from None
    finally:
        kill_with_children(program)
    return Finished(program.returncode, stdout, stderr)


def start_program(
    command: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Starts a program in a process group of its own, with text pipes for what it prints."""
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=folder,
        env={**plain_environment(), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_with_children(program: subprocess.Popen[str]) -> None:
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
