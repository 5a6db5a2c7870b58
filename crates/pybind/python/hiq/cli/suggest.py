"""`hiq conf suggest`: rows for the public functions and methods of a package."""

from __future__ import annotations

import csv
import importlib
import inspect
import io
import json
import pkgutil
import re
import sys
import types
from collections import Counter
from collections.abc import Iterator
from typing import Any

from .. import _hiq
from .._resolve import Found, find
from .._rows import Row
from .check import raised_at
from .run import put_current_folder_first

__all__ = ["long_functions", "suggest"]

Place = tuple[str, str, str]


def suggest(package: str, form: str) -> int:
    """Prints a conf on stdout."""
    put_current_folder_first()
    try:
        root = importlib.import_module(package)
    except ImportError as error:
        raise _hiq.ConfigError(f"{package}: cannot be imported ({error}); run this where it can be") from error
    except (Exception, SystemExit) as error:  # A module may raise anything while it loads.
        reason = f"{type(error).__name__}: {error}"
        raise _hiq.ConfigError(f"{package}: cannot be imported: {reason}{raised_at(error)}") from error
    rows = named_rows([place for place in sorted(set(_places(root))) if _can_be_traced(place)])
    sys.stdout.write(_WRITERS[form](rows))
    return 0


def named_rows(places: list[Place]) -> list[list[str]]:
    """Rows with a name each: the function's, with as much of its home before it as makes it unique."""
    candidates = {place: _candidates(place) for place in places}
    chosen: dict[Place, str] = {}
    for depth in range(3):
        waiting = [place for place in places if place not in chosen]
        taken = set(chosen.values())
        uses = Counter(candidates[place][depth] for place in waiting)
        for place in waiting:
            name = candidates[place][depth]
            if (uses[name] == 1 or depth == 2) and name not in taken:
                chosen[place] = name
    return [[*place, chosen.get(place, candidates[place][2])] for place in places]


def long_functions(module_name: str, at_least_lines: int, at_most: int) -> list[list[str]] | None:
    """Rows for functions whose source has so many lines; None when the module cannot be imported."""
    try:
        module = importlib.import_module(module_name)
    except ImportError:
        return None
    places = [place for place in sorted(set(_places_of_module(module))) if _can_be_traced(place)]
    return [[*place, place[2]] for place in places if _source_lines(module, place) >= at_least_lines][:at_most]


def _places(root: types.ModuleType) -> Iterator[Place]:
    yield from _places_of_module(root)
    for found in pkgutil.walk_packages(getattr(root, "__path__", ()), f"{root.__name__}.", onerror=_say_failed):
        last = found.name.rpartition(".")[2]
        # A `__main__` runs the program; what begins with `_` is not offered to others.
        if last.startswith("_"):
            continue
        try:
            module = importlib.import_module(found.name)
        except (Exception, SystemExit) as error:  # A module may raise anything while it loads.
            _say_failed(found.name, error)
            continue
        yield from _places_of_module(module)


def _say_failed(name: str, error: BaseException | None = None) -> None:
    reason = error if error is not None else sys.exc_info()[1]
    sys.stderr.write(f"hiq: {name} is left out: {type(reason).__name__}: {reason}\n")


def _places_of_module(module: types.ModuleType) -> Iterator[Place]:
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if isinstance(value, type):
            yield from _places_of_class(module.__name__, value)
        elif inspect.isroutine(value):
            yield module.__name__, "", name


def _places_of_class(module: str, owner: type) -> Iterator[Place]:
    for name, value in vars(owner).items():
        inner = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
        offered = name == "__call__" or not name.startswith("_")
        if offered and inspect.isroutine(inner):
            yield module, owner.__qualname__, name


def _can_be_traced(place: Place) -> bool:
    row = Row({**dict(zip(_KEYS, place, strict=False)), "name": place[2]})
    return all(isinstance(found, Found) for found in find(row))


def _candidates(place: Place) -> tuple[str, str, str]:
    module, owner, function = (re.sub(r"\W+", "_", part).strip("_") for part in place)
    short = f"{owner}_{function}" if function == "call" else function
    last_home = owner or module.rpartition("_")[2]
    return short, f"{last_home}_{function}", "_".join(filter(None, (module, owner, function)))


def _source_lines(module: Any, place: Place) -> int:
    owner = module
    for part in filter(None, place[1].split(".")):
        owner = getattr(owner, part)
    try:
        return len(inspect.getsourcelines(getattr(owner, place[2]))[0])
    except (OSError, TypeError):
        return 0


_KEYS = ("module", "class", "function", "name")


def _as_yaml(rows: list[list[str]]) -> str:
    # Texts in double quotes mean the same in YAML as in JSON.
    lines = []
    for row in rows:
        for number, (key, cell) in enumerate(zip(_KEYS, row, strict=True)):
            lines.append(f"{'-' if number == 0 else ' '} {key}: {json.dumps(cell, ensure_ascii=False)}\n")
    return "".join(lines) or "[]\n"


def _as_json(rows: list[list[str]]) -> str:
    objects = (json.dumps(dict(zip(_KEYS, row, strict=True)), ensure_ascii=False) for row in rows)
    return "[\n" + ",\n".join(f"  {text}" for text in objects) + "\n]\n"


def _as_csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


_WRITERS = {"yaml": _as_yaml, "json": _as_json, "csv": _as_csv}
