"""`hiq conf check`: does each row name something that can be traced here?"""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from typing import Any

from .. import _hiq
from .._imports import missing_part
from .._resolve import Found, NotTraceable, find
from .._rows import Row
from .run import put_current_folder_first

__all__ = ["check", "raised_at"]


def check(conf: str) -> int:
    """Says what is wrong on stderr, a line each, and counts on stdout. 2 when something is wrong."""
    put_current_folder_first()
    if not os.path.exists(conf):
        raise _hiq.ConfigError(f"{conf}: there is no such conf file")
    rows, problems = _hiq.check_conf(conf)
    targets: dict[tuple[int, str], Row] = {}
    for row in map(Row, rows):
        for found in find(row):
            problem = _problem(row, found, targets)
            if problem:
                problems.append(f"{row.place}:{problem}")
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    sys.stdout.write(f"{conf}: {len(rows)} rows, {len(targets)} targets, {len(problems)} problems\n")
    return 2 if problems else 0


def _problem(row: Row, found: Found | NotTraceable, targets: dict[tuple[int, str], Row]) -> str:
    """`column: what is wrong; what to do`, or nothing."""
    if isinstance(found, NotTraceable):
        column, wanted, known = _first_missing(row)
        if column == 0:
            return f"3: {row.dotted} cannot be traced: {found}"
        if column == 1 and missing_part(row.module) is None:
            return f"1: {row.module} cannot be imported: {found}{raised_at(found.__cause__)}"
        close = difflib.get_close_matches(wanted, known, n=1)
        return f"{column}: {row.dotted} is not there: {found}" + (f"; did you mean {close[0]}?" if close else "")
    earlier = targets.setdefault((id(found.owner), found.attribute), row)
    if earlier is row or earlier.has_wildcard or row.has_wildcard:
        return ""
    line = earlier.place.rpartition(":")[2]
    return f"3: {row.dotted} is the target of line {line} as well; remove one of the rows"


def raised_at(error: BaseException | None) -> str:
    """Where the program's own code raised it, in brackets; nothing when that is not known."""
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    own = [frame for frame in frames if not frame.filename.startswith("<frozen ")]
    return f" ({own[-1].filename}:{own[-1].lineno})" if len(own) > 2 else ""


def _first_missing(row: Row) -> tuple[int, str, list[str]]:
    """The column that names what is not there, the name, and the names that are; column 0 when all are there."""
    owner: Any = sys.modules.get(row.module)
    if owner is None:
        return 1, row.module, _modules_beside(row.module)
    if row.has_wildcard:
        return 3, row.function, []
    for part in filter(None, row.class_name.split(".")):
        if not hasattr(owner, part):
            return 2, part, [name for name in dir(owner) if isinstance(getattr(owner, name, None), type)]
        owner = getattr(owner, part)
    if not hasattr(owner, row.function):
        return 3, row.function, [name for name in dir(owner) if callable(getattr(owner, name, None))]
    return 0, "", []


def _modules_beside(name: str) -> list[str]:
    import pkgutil

    package, dot, _ = name.rpartition(".")
    parent = sys.modules.get(package)
    paths = getattr(parent, "__path__", None) if package else None
    found = {f"{package}{dot}{module.name}" for module in pkgutil.iter_modules(paths)}
    return sorted(found | sys.modules.keys())
