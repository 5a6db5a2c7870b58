"""`hiq conf check`: does each row name something that can be traced here?"""

from __future__ import annotations

import difflib
import os
import sys
from typing import Any

from .. import _hiq
from .._resolve import NotTraceable, find
from .._rows import Row, read_rows
from .run import put_current_folder_first

__all__ = ["check"]


def check(conf: str) -> int:
    """Says what is wrong on stderr, a line each, and counts on stdout. 2 when something is wrong."""
    put_current_folder_first()
    if not os.path.exists(conf):
        raise _hiq.ConfigError(f"{conf}: there is no such conf file")
    rows, problems = read_rows(conf), []
    targets: dict[tuple[int, str], Row] = {}
    for row in rows:
        for found in find(row):
            if isinstance(found, NotTraceable):
                problems.append(f"{_place(row, conf)}{row.title}: {found}{_fix(row)}")
                continue
            earlier = targets.setdefault((id(found.owner), found.attribute), row)
            if earlier is not row and not (earlier.has_wildcard or row.has_wildcard):
                problems.append(
                    f"{_place(row, conf)}{row.title}: the same target as {earlier.name}; remove one of the rows"
                )
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    sys.stdout.write(f"{conf}: {len(rows)} rows, {len(targets)} targets, {len(problems)} problems\n")
    return 2 if problems else 0


def _place(row: Row, conf: str) -> str:
    return f"{row.place or conf}: "


def _fix(row: Row) -> str:
    """The name that was probably meant."""
    wanted, known = _names_near(row)
    close = difflib.get_close_matches(wanted, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _names_near(row: Row) -> tuple[str, list[str]]:
    owner: Any = sys.modules.get(row.module)
    if owner is None:
        return row.module, sorted(sys.modules)
    for part in filter(None, row.class_name.split(".")):
        if not hasattr(owner, part):
            return part, [name for name in dir(owner) if isinstance(getattr(owner, name, None), type)]
        owner = getattr(owner, part)
    if hasattr(owner, row.function):
        return "", []
    return row.function, [name for name in dir(owner) if callable(getattr(owner, name, None))]
