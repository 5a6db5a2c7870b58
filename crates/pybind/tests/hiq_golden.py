"""What Oracle HiQ 1.1.14 answered, from the core's golden files. `crates/testkit/oracle` tells how it was asked."""

from __future__ import annotations

import ast
import gzip
import json
from pathlib import Path
from typing import Any

from hiq import Tree

FOLDER = Path(__file__).parents[2] / "core" / "tests" / "golden" / "hiq"


def lines(name: str) -> list[Any]:
    with gzip.open(FOLDER / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def whole(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def trees() -> list[dict[str, Any]]:
    """Random trees, and trees with a name for what is special about them."""
    return lines("trees.jsonl.gz") + whole("named.json")["trees"]


def build(case: dict[str, Any]) -> Tree:
    """Does to a tree what was done to HiQ's."""
    tree = Tree(tid=case["tid"], extra=extra(case.get("extra", [])), monotonic=not case.get("non_monotonic"))
    tree.mode = case.get("mode", 0)
    names = []
    for step in case["ops"]:
        if isinstance(step, dict):
            name, start, end = step["add"]
            tree.add_node(node(name, start, end))
        elif isinstance(step, str):
            tree.end(names.pop(), float(step))
        elif step[0] is None:
            tree.end(names.pop(), float(step[1]), extra(step[2]))
        else:
            names.append(step[0])
            tree.start(step[0], float(step[1]), *map(extra, step[2:]))
    return tree


def node(name: str, start: str, end: str) -> Any:
    from hiq.node import Node

    return Node(name, float(start), float(end))


def extra(pairs: list[list[str]]) -> dict[Any, Any]:
    return {value_of(key): value_of(value) for key, value in pairs}


def value_of(text: str) -> Any:
    """The object that Python prints as `text`."""
    if text == "ValueError('an_exception')":
        return ValueError("an_exception")
    return ast.literal_eval(text)
