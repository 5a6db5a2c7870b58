"""Where things are: the repository, and the cache that all its clones share."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from house.target import take_over

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "scripts"
PYBIND = REPOSITORY / "crates" / "pybind"
PACKAGE = PYBIND / "python" / "hiq"


def cache_folder() -> Path:
    """`$HIQ_CACHE`, else `hiq` in the user's cache folder. It can be deleted at any time."""
    if given := os.environ.get("HIQ_CACHE"):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "hiq"


def clone_folder(name: str) -> Path:
    """A folder in the cache for this clone alone."""
    digest = hashlib.sha256(str(REPOSITORY).encode()).hexdigest()[:12]
    return cache_folder() / "clones" / digest / name


def cargo_environment() -> dict[str, str]:
    """The environment for cargo: one target folder serves all clones, one after the other."""
    target = os.environ.get("CARGO_TARGET_DIR") or str(cache_folder() / "target")
    take_over(Path(target), REPOSITORY)
    return {**os.environ, "CARGO_TARGET_DIR": target}
