"""What the process occupies."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable


def bytes_a_span(work: Callable[[], object], spans: int) -> float:
    """How much of memory `work` makes the process occupy, for each of its spans."""
    gc.collect()
    before = _resident_bytes()
    kept = work()
    gc.collect()
    after = _resident_bytes()
    del kept
    return (after - before) / spans


def _resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
