"""Builds hiq's wheels with maturin."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from house.environments import tools
from house.interpreters import Interpreter
from house.places import PYBIND, REPOSITORY, cargo_environment, clone_folder
from house.step import StepError, run_quietly, say

DIST = REPOSITORY / "dist"


def release_wheel(interpreter: Interpreter) -> Path:
    """The wheel that is given away: optimized, in `dist/`."""
    wheel = _build([interpreter], "release", DIST)[interpreter]
    say(f"{wheel.relative_to(REPOSITORY)}, {wheel.stat().st_size / 1e6:.1f} MB")
    return wheel


def dev_wheels(interpreters: Sequence[Interpreter]) -> dict[Interpreter, Path]:
    """Wheels to test with: the same code, quickly built."""
    return _build(interpreters, "dev", clone_folder("wheels"))


def _build(
    interpreters: Sequence[Interpreter], profile: Literal["dev", "release"], folder: Path
) -> dict[Interpreter, Path]:
    versions = ", ".join(interpreter.version for interpreter in interpreters)
    for interpreter in interpreters:
        for older in folder.glob(_pattern(interpreter)):
            older.unlink()
    run_quietly(
        f"building {profile} wheels for Python {versions} (minutes the first time)",
        [
            *(tools(), "-m", "maturin", "build", "--profile", profile, "--out", folder),
            *("--manifest-path", PYBIND / "Cargo.toml", "--interpreter"),
            *(interpreter.path for interpreter in interpreters),
        ],
        env=cargo_environment(),
    )
    return {interpreter: _one(folder, interpreter) for interpreter in interpreters}


def _one(folder: Path, interpreter: Interpreter) -> Path:
    wheels = list(folder.glob(_pattern(interpreter)))
    if len(wheels) != 1:
        raise StepError(
            f"maturin made {len(wheels)} wheels like {_pattern(interpreter)} in {folder}, not 1"
        )
    return wheels[0]


def _pattern(interpreter: Interpreter) -> str:
    return f"hiq_bridge-*-{interpreter.tag}-*.whl"
