"""Runs the shop under the interpreter's own profiler and writes down who called what.

``python profiled_shop.py EDGES.json CONF.json [arguments of the shop]`` writes a list of pairs
``[function, nearest function of the conf below it on the same stack, or null]``. It looks at
frames only and knows nothing of the journal, so the two can be held against each other.
"""

from __future__ import annotations

import importlib
import inspect
import json
import runpy
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType, FrameType

Edge = tuple[str, "str | None"]


class Profiler:
    """Collects the calls of the functions that a conf names."""

    def __init__(self, rows: list[dict[str, str]]) -> None:
        self.edges: list[Edge] = []
        self._python: dict[CodeType, str] = {}
        self._native: dict[tuple[object, str], str] = {}
        # A generator's frame is entered once per step; keeping the frames keeps their ids apart.
        self._entered: dict[int, FrameType] = {}
        for row in rows:
            self._watch(row)

    def start(self) -> None:
        """Watch this thread and those to come."""
        threading.setprofile(self._on_event)
        sys.setprofile(self._on_event)

    def stop(self) -> None:
        """Watch no longer."""
        sys.setprofile(None)

    def _watch(self, row: dict[str, str]) -> None:
        path = [row["module"], *filter(None, [row["class"]]), row["function"]]
        owner: Any = importlib.import_module(row["module"])
        if row["class"]:
            owner = getattr(owner, row["class"])
        code = getattr(inspect.getattr_static(owner, row["function"]), "__code__", None)
        code = code or getattr(getattr(owner, row["function"]), "__code__", None)
        if code is None:
            self._native[owner, row["function"]] = ".".join(path)
        else:
            self._python[code] = ".".join(path)

    def _on_event(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "call" and frame.f_code in self._python and self._is_new(frame):
            self.edges.append((self._python[frame.f_code], self._nearest(frame.f_back)))
        elif event == "c_call":
            owner = called.__self__
            owner = owner if inspect.ismodule(owner) else type(owner)
            function = self._native.get((owner, called.__name__))
            if function is not None:
                self.edges.append((function, self._nearest(frame)))

    def _is_new(self, frame: FrameType) -> bool:
        entered = id(frame) in self._entered
        self._entered[id(frame)] = frame
        return not entered

    def _nearest(self, frame: FrameType | None) -> str | None:
        while frame is not None:
            if frame.f_code in self._python:
                return self._python[frame.f_code]
            frame = frame.f_back
        return None


def main(edges_path: str, conf_path: str, arguments: list[str]) -> None:
    """Run the shop as ``python -m shop`` does, and write the edges."""
    profiler = Profiler(json.loads(Path(conf_path).read_text(encoding="utf-8")))
    sys.argv = ["shop", *arguments]
    profiler.start()
    try:
        runpy.run_module("shop", run_name="__main__", alter_sys=True)
    finally:
        profiler.stop()
        Path(edges_path).write_text(json.dumps(profiler.edges), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
