"""A trace file for viewers: open it at ui.perfetto.dev, with vizviewer, or at chrome://tracing.

python examples/chrome.py trace.json.gz
python -m hiq convert trace.json.gz trace.pftrace
"""

from __future__ import annotations

import sys
import threading

import hiq


def mix(color: str) -> str:
    with hiq.trace("mix", color=color):
        return color + "ish"


def paint(walls: int) -> None:
    with hiq.trace("paint", walls=walls):
        for wall in range(walls):
            mix(["red", "blue"][wall % 2])


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else "trace.json.gz"
    hiq.init("painter", exporters=[hiq.ChromeExporter(path)])
    helper = threading.Thread(target=paint, args=(3,), name="helper")
    helper.start()
    paint(5)
    helper.join()
    hiq.flush()
    spans = hiq.stats()["chrome"]["exported"]
    hiq.shutdown()
    print(f"{spans} spans in {path}: open it at https://ui.perfetto.dev")


if __name__ == "__main__":
    main()
