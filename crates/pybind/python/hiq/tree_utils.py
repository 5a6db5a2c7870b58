"""HiQ's old text format: the extra of a tree before the tree itself."""

from __future__ import annotations

__all__ = ["split_extra"]


def split_extra(s: str) -> tuple[str | None, str]:
    """(extra, tree) of `v<version>,<characters of extra>,<extra><tree>`; (None, s) of another text."""
    if not s.startswith("v"):
        return None, s
    _, length, rest = s.split(",", 2)
    return rest[: int(length)], rest[int(length) :]
