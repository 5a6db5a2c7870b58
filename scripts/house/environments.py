"""Virtual environments in the cache, one for each interpreter and set of pinned requirements."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from house.interpreters import Interpreter, this_interpreter
from house.places import SCRIPTS, cache_folder
from house.step import StepError, run_quietly

_TOOLS = "tools"
_TIMEOUT_SECONDS = 600


def tools() -> Path:
    """The Python of the environment of maturin, and of the pip that fills the others."""
    return environment(_TOOLS, this_interpreter(), SCRIPTS / "requirements-build.txt")


def environment(
    name: str, interpreter: Interpreter, requirements: Path, *, owner: Path | None = None
) -> Path:
    """The Python of an environment with these requirements, made unless it is there.

    One that is going to hold a wheel has an owner: the clone whose wheel it is.
    """
    key = f"{requirements.read_text()}{interpreter}{owner}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    folder = cache_folder() / "venvs" / f"{name}-{interpreter.minor}-{digest}"
    python = folder / "bin" / "python"
    with _locked(folder):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            is_tools = name == _TOOLS
            make_environment(folder, interpreter, with_pip=is_tools)
            run_quietly(
                f"installing {requirements.name} for Python {interpreter.version}",
                [*_pip(python, own=is_tools), "install", "--require-hashes", "-r", requirements],
            )
            (folder / "complete").touch()
    return python


def make_environment(folder: Path, interpreter: Interpreter, *, with_pip: bool) -> None:
    command = [str(interpreter.path), "-m", "venv", str(folder)]
    if not with_pip:
        command.append("--without-pip")
    finished = subprocess.run(
        command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False
    )
    if finished.returncode != 0:
        raise StepError(f"{' '.join(command)} failed: {finished.stdout}{finished.stderr}")


def install_wheel(python: Path, wheel: Path) -> None:
    """Puts a wheel into an environment, unless the very same is there."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    marker = python.parents[1] / "hiq-wheel"
    if marker.exists() and marker.read_text() == digest:
        return
    marker.unlink(missing_ok=True)
    run_quietly(
        f"installing {wheel.name}",
        [*_pip(python), "install", "--no-index", "--no-deps", "--force-reinstall", wheel],
    )
    marker.write_text(digest)


def _pip(python: Path, *, own: bool = False) -> list[str | Path]:
    """A pip that installs for `python`: its own, else that of the tools."""
    pip: list[str | Path] = [python, "-m", "pip"]
    if not own:
        pip = [tools(), "-m", "pip", "--python", python]
    return [*pip, "--disable-pip-version-check", "--quiet"]


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two runs at once must not fill the same environment."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
