"""A driver's trees: what the recorder holds, with what the program adds by hand."""

from __future__ import annotations

from typing import Any

from . import _hiq
from .constants import KEY_LATENCY

__all__ = ["DriverTrees"]

Place = tuple[Any, str]


class DriverTrees:
    """Projections of the recorder's fragments by key (k0) and metric (k1).

    Each is made when it is asked for. Programs may also write spans into a tree (`get_tree`) or give it extras; both
    are kept here and joined to what the recorder has.
    """

    def __init__(self, driver: _hiq.Driver) -> None:
        self._driver = driver
        self._extras: dict[Place, dict[str, Any]] = {}
        self._written: dict[Place, list[Any]] = {}
        # Trees given out to be written into, and how many nodes they had under their root.
        self._open: dict[Place, tuple[_hiq.Tree, int]] = {}

    def k0s(self) -> list[Any]:
        """The keys, oldest first."""
        by_hand = [key for key, _ in (*self._open, *self._written, *self._extras)]
        return list(dict.fromkeys([*self._driver.keys(), *by_hand]))

    def metrics(self, key: Any) -> list[str]:
        """Names of the metrics that have a tree under `key`."""
        known_keys = self._driver.keys()
        recorded = self._driver.metrics() if key in known_keys else []
        by_hand = [name for known, name in (*self._open, *self._written) if known == key]
        return list(dict.fromkeys([*recorded, *by_hand]))

    def tree(self, key: Any, metric: str) -> _hiq.Tree:
        """A new tree. KeyError when there is none."""
        if key not in self.k0s() or metric not in self.metrics(key):
            raise KeyError(metric)
        self._take_in((key, metric))
        return self._projection((key, metric))

    def writable(self, key: Any, metric: str, extra: dict[str, Any] | None) -> _hiq.Tree:
        """The tree that the program may write into, as it is now."""
        place = (key, metric)
        if extra:
            self.add_extra(place, extra)
        given_out, _ = self._open.get(place, (None, 0))
        if given_out is not None and _is_in_use(given_out):
            return given_out
        self._take_in(place)
        tree = self._projection(place)
        self._open[place] = (tree, len(tree.get_root().nodes))
        return tree

    def add_extra(self, place: Place, extra: dict[str, Any]) -> None:
        """Shown on the tree's root line."""
        self._extras.setdefault(place, {}).update(extra)

    def reset(self) -> None:
        self._driver.reset()
        self._extras.clear()
        self._written.clear()
        self._open.clear()

    def _projection(self, place: Place) -> _hiq.Tree:
        key, metric = place
        recorded = self._driver.tree(key, metric) if metric in self._driver.metrics() else None
        tree = recorded if recorded is not None else _hiq.Tree(tid=metric, monotonic=metric == KEY_LATENCY)
        if recorded is None and metric == KEY_LATENCY:
            tree.extra["overhead"] = self._driver.overhead_ns() // 1000
        tree.extra.update(self._extras.get(place, {}))
        for node in self._written.get(place, ()):
            tree.get_root().append(node)
        return tree

    def _take_in(self, place: Place) -> None:
        """Takes what was written into the open tree."""
        tree, known = self._open.get(place, (None, 0))
        if tree is None:
            return
        nodes = tree.get_root().nodes
        if len(nodes) > known:
            self._written.setdefault(place, []).extend(nodes[known:])
            self._open[place] = (tree, len(nodes))


def _is_in_use(tree: _hiq.Tree) -> bool:
    """Whether a span is open in it."""
    return len(tree.stk) > 1
