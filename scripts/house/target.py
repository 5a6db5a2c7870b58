"""Cargo's target folder, where clones take turns: what is ours is built anew for each.

Cargo knows a workspace's crates by their place in it and by their files' times, so that it takes
what another clone has built from other files, or with paths into a folder that is gone, for
built from these.
"""

from __future__ import annotations

import fcntl
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

STAMP = "built-for"


def take_over(target: Path, repository: Path) -> None:
    """Has cargo build the crates of `repository` anew if `target` was another clone's so far."""
    stamp = target / STAMP
    if stamp.is_file() and stamp.read_text() == str(repository):
        return
    ours = crates(repository)
    for fingerprints in fingerprint_folders(target):
        with locked(fingerprints.parent):
            for folder in fingerprints.iterdir():
                if folder.name.rpartition("-")[0] in ours:
                    shutil.rmtree(folder)
    target.mkdir(parents=True, exist_ok=True)
    stamp.write_text(str(repository))


def crates(repository: Path) -> set[str]:
    """The crates' names, and those of their programs, which do no harm here."""
    names: set[str] = set()
    for place in ("benches", "crates", "examples", "fuzz"):
        for manifest in (repository / place).rglob("Cargo.toml"):
            names.update(re.findall(r'^name = "([^"]+)"', manifest.read_text(), re.MULTILINE))
    return names


def fingerprint_folders(target: Path) -> Iterator[Path]:
    """Of each profile, also below a folder for the platform, and below the fuzzer's."""
    for depth in ("*", "*/*", "*/*/*"):
        yield from target.glob(f"{depth}/.fingerprint")


@contextmanager
def locked(profile: Path) -> Iterator[None]:
    """Waits for whoever builds there, by cargo's own locks."""
    with ExitStack() as files:
        for lock in sorted(profile.glob(".cargo*lock")):
            fcntl.flock(files.enter_context(lock.open("r+")), fcntl.LOCK_EX)
        yield
