"""Waiting for a condition: asking again and again until a deadline, never a pause on suspicion."""

from __future__ import annotations

import time
from collections.abc import Iterator


def attempts_within(seconds: float) -> Iterator[None]:
    """Yields until the time is over, a little slower each time; the condition is the caller's."""
    deadline = time.monotonic() + seconds
    pause_seconds = 0.01
    while True:
        yield
        left_seconds = deadline - time.monotonic()
        if left_seconds <= 0:
            return
        time.sleep(min(pause_seconds, left_seconds))
        pause_seconds = min(pause_seconds * 1.5, 0.25)
