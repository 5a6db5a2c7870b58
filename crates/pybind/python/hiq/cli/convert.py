"""`hiq convert`: files of spans into one file, or to a backend."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .. import _hiq

__all__ = ["convert"]

_BAR_WIDTH = 30
_LARGE_BYTES = 8 << 20
_STANDARD_OUTPUT = ("-", "/dev/stdout")
_INTERRUPTED = 130


def convert(
    inputs: Sequence[str],
    output: str | None,
    *,
    from_format: str | None,
    to_format: str | None,
    send: str | None,
    base_unix_nanos: int | None,
) -> int:
    """Converts, says what became of it, and returns the exit code: 1 when something could not be read or written, 130
    when it was interrupted."""
    progress = _Progress(inputs) if sys.stderr.isatty() else None
    target = send if output is None else output
    try:
        result = _hiq.convert(
            list(inputs),
            output,
            from_format=from_format,
            to_format=to_format,
            send=send,
            progress=None if progress is None else progress.show,
            base_unix_nanos=base_unix_nanos,
        )
    except KeyboardInterrupt:
        result = None
    if progress is not None:
        progress.clear()
    if result is None:
        sys.stderr.write(f"hiq: interrupted; {_left(output, send)}\n")
        return _INTERRUPTED
    for problem in result["problems"]:
        sys.stderr.write(f"hiq: {problem}\n")
    if result["is_written"]:
        # Standard output may be where the spans are.
        said = sys.stderr if output in _STANDARD_OUTPUT else sys.stdout
        said.write(f"{result['spans']} spans in {result['trees']} trees to {target}\n")
    return 1 if result["problems"] else 0


def _left(output: str | None, send: str | None) -> str:
    return f"nothing was written to {output}" if send is None else f"some spans may have reached {send}"


class _Progress:
    """A bar for large files. The bytes of one file are told from 0 again, so the sum of those before is kept."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self._total = sum(os.path.getsize(path) for path in inputs if os.path.exists(path))
        self._before = 0
        self._last = 0
        self._is_shown = False

    def show(self, read: int, size: int) -> None:
        if self._total < _LARGE_BYTES:
            return
        if read < self._last:
            self._before += self._last
        self._last = read
        part = min(1.0, (self._before + read) / self._total)
        done = int(part * _BAR_WIDTH)
        self._is_shown = True
        sys.stderr.write(f"\r[{'#' * done}{'.' * (_BAR_WIDTH - done)}] {part:4.0%} of {self._total / 1e6:.0f} MB")
        sys.stderr.flush()

    def clear(self) -> None:
        if self._is_shown:
            sys.stderr.write("\r" + " " * (_BAR_WIDTH + 30) + "\r")
            sys.stderr.flush()
