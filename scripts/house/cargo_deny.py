"""cargo-deny, built once into the cache."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from house.places import cache_folder, cargo_environment
from house.step import run_quietly

VERSION = "0.20.2"


def cargo_deny() -> Path:
    """The program, in the version that `deny.toml` is written for."""
    folder = cache_folder() / "tools" / f"cargo-deny-{VERSION}"
    program = folder / "bin" / "cargo-deny"
    if not program.exists():
        _install(folder)
    return program


def _install(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Built beside its final place and renamed: an interrupted build never looks finished.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="cargo-deny-") as scratch:
        finished = Path(scratch, "finished")
        run_quietly(
            f"building cargo-deny {VERSION} (minutes, once)",
            ["cargo", "install", "--locked", "--root", finished, f"cargo-deny@{VERSION}"],
            env={**cargo_environment(), "CARGO_TARGET_DIR": f"{scratch}/target"},
        )
        shutil.rmtree(folder, ignore_errors=True)
        finished.rename(folder)
