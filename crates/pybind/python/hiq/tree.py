"""HiQ's trees: the class, and reading them from text."""

from __future__ import annotations

from typing import Any

from ._hiq import Tree
from .constants import FORMAT_TIMESTAMP

__all__ = ["Tree", "get_duration_from_hiq_string", "get_graph_from_string", "is_virtual_node"]


def get_graph_from_string(
    s: str,
    time_format: str = FORMAT_TIMESTAMP,
    whole_node_name: str = "__predict",
    with_ordered_node: bool = True,
) -> str:
    """The drawing of a serialized tree, and a line of what its leaves took by name, longest first.

    `whole_node_name` is accepted and has no effect, as in HiQ, whose drawing removes what it was used for.
    """
    tree = Tree(s)
    graph = str(tree.get_graph(time_format))
    if not with_ordered_node:
        return graph
    return f"{graph}ordered lowest level calls:{tree.leaf_duration_by_name_s(ordered=3)}\n"


def is_virtual_node(node: Any) -> bool:
    """True for a tree's root before it is consolidated: its values are infinite."""
    return bool(node.start == node.end == float("inf"))


def get_duration_from_hiq_string(s: str, key: str) -> float:
    """What all spans named `key` took together in a serialized tree. ValueError when there is none."""
    tree = Tree(s)
    names = tree.get_distinct_node_names()
    if key not in names:
        raise ValueError(f"😬 could not find {key} in hiq tree. hiq_str: {s}, valid nodes: {names}")
    return float(tree.get_duration_by_node_name(key))
