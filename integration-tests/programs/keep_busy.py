"""Makes a span every millisecond until the file STOP is there, then says what became of them.

python keep_busy.py STOP [NAMES]

Every span has a name of its own, or, where a number is given, one of so many.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import hiq

FLUSH_SECONDS = 30.0


def main() -> None:
    stop = Path(sys.argv[1])
    names = int(sys.argv[2]) if len(sys.argv) > 2 else sys.maxsize
    hiq.init()
    made = 0
    while not stop.exists():
        with hiq.trace(f"work {made % names}"):
            made += 1
        time.sleep(0.001)
    delivered = hiq.flush(FLUSH_SECONDS)
    (stats,) = hiq.stats().values()
    report = {"made": made, "delivered": delivered, "stats": stats}
    print(f"report {json.dumps(report)}", flush=True)


main()
