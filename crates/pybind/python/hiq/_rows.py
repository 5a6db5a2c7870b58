"""Rows of a conf, read and checked by the native module."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from typing import Any

from . import _hiq
from .hiq_utils import get_hiq_table

__all__ = ["Row", "read_rows", "rows_of_table"]


class Row:
    """One conf row: what is traced, and as what."""

    __slots__ = (
        "attributes", "class_name", "dotted", "function", "min_duration_ns", "module", "name", "place", "title",
    )  # fmt: skip

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.module: str = row["module"]
        self.class_name: str = row["class"]
        self.function: str = row["function"]
        self.name: str = row["name"]
        self.min_duration_ns: int = row.get("min_duration_ns") or 0
        self.attributes: dict[str, Any] = dict(row.get("attributes") or {})
        self.place: str = row.get("place") or ""
        # As HiQ's messages write it.
        self.title = f"{self.module}.{self.class_name}.{self.function}"
        # As Python writes it.
        self.dotted = ".".join(filter(None, (self.module, self.class_name, self.function)))

    @property
    def has_wildcard(self) -> bool:
        return "*" in self.class_name or "*" in self.function

    def name_of(self, function: str) -> str:
        """The span name of one of the functions that a wildcard stands for."""
        return self.name.replace("*", function)

    def of_main(self) -> Row:
        """The same row for the module that runs as `__main__`."""
        row = copy.copy(self)
        row.module = "__main__"
        return row

    def as_list(self) -> list[str]:
        return [self.module, self.class_name, self.function, self.name]


def read_rows(conf: str | os.PathLike[str] | list[Any]) -> list[Row]:
    """The rows of a conf file or of a list. ConfigError names file, row, column and fix."""
    if isinstance(conf, os.PathLike):
        conf = os.fspath(conf)
    if isinstance(conf, str) and os.path.exists(conf):
        return [Row(row) for row in _hiq.load_conf(conf)]
    return rows_of_table(get_hiq_table(conf))


def rows_of_table(table: list[Any]) -> list[Row]:
    """The rows of HiQ's list of lists; mappings are taken as well."""
    rows = _hiq.parse_conf([_cells(row, index) for index, row in enumerate(table, 1)])
    # Who wrote the list knows where; only places in files are told.
    return [Row({**row, "place": ""}) for row in rows]


def _cells(row: Any, number: int) -> list[Any]:
    if isinstance(row, Mapping):
        known = ("module", "class", "function", "name", "min_duration", "attributes")
        cells = [row.get(key, "" if key == "class" else None) for key in known]
        while len(cells) > 4 and cells[-1] is None:
            cells.pop()
        return cells
    if isinstance(row, str) or not isinstance(row, Iterable):
        raise _hiq.ConfigError(f"row {number}: {row!r} was given; give [module, class, function, name]")
    return list(row)
