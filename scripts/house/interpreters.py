"""Finds the CPython interpreters of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from house.places import cache_folder

# A Debian without 3.14 gets one by `scripts/get-python-3.14.sh`.
SUPPORTED = ("3.10", "3.11", "3.12", "3.13", "3.14")
_PROBE_TIMEOUT_SECONDS = 60
# Prints the version of a CPython with a global lock, and where it really is.
_PROBE = (
    "import sys, sysconfig\n"
    "assert sys.implementation.name == 'cpython'\n"
    "assert not sysconfig.get_config_var('Py_GIL_DISABLED')\n"
    "print(*sys.version_info[:3], sep='.')\n"
    "print(sys.executable)"
)


@dataclass(frozen=True)
class Interpreter:
    """A CPython that runs."""

    version: str
    path: Path

    @property
    def minor(self) -> str:
        """`3.12` of `3.12.1`."""
        return ".".join(self.version.split(".")[:2])

    @property
    def tag(self) -> str:
        """As wheels write it: `cp312`."""
        return "cp" + self.minor.replace(".", "")


def this_interpreter() -> Interpreter:
    """The one that runs this: `make PYTHON=...` chooses it."""
    found = _probed(sys.executable)
    if found is None or found.minor not in SUPPORTED:
        raise SystemExit(
            f"{sys.executable} is none of CPython {', '.join(SUPPORTED)}: give make PYTHON=..."
        )
    return found


def found_interpreters() -> list[Interpreter]:
    """At most one for each supported version, oldest first."""
    found = (_first_of(minor) for minor in SUPPORTED)
    return [interpreter for interpreter in found if interpreter is not None]


def _first_of(minor: str) -> Interpreter | None:
    for candidate in _candidates(minor):
        interpreter = _probed(candidate)
        if interpreter is not None and interpreter.minor == minor:
            return interpreter
    return None


def _candidates(minor: str) -> Iterator[str | Path]:
    yield sys.executable
    yield from filter(None, os.environ.get("HIQ_PYTHONS", "").split(os.pathsep))
    if on_path := shutil.which(f"python{minor}"):
        yield on_path
    yield cache_folder() / "pythons" / minor / "bin" / f"python{minor}"
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser() / "versions"
    uv = Path("~/.local/share/uv/python").expanduser()
    for folder in (*pyenv.glob(f"{minor}.*"), *uv.glob(f"cpython-{minor}.*")):
        yield folder / "bin" / f"python{minor}"


def _probed(candidate: str | Path) -> Interpreter | None:
    try:
        finished = subprocess.run(
            [str(candidate), "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if finished.returncode != 0:
        return None
    version, path = finished.stdout.splitlines()
    return Interpreter(version, Path(path))
