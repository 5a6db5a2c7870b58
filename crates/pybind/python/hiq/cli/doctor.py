"""`hiq doctor`: for each exporter where it sends, and what became of one span."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from .. import _hiq

__all__ = ["doctor"]

_INDENT = " " * 10


def doctor(exporters: Sequence[str], timeout_s: float) -> int:
    """Prints a paragraph for each exporter. Returns 1 when one of them cannot deliver."""
    patients, warnings = _hiq.patients({"exporters": list(exporters)} if exporters else {})
    for warning in warnings:
        _say(f"warning: {warning}")
    if not patients:
        _say("no exporter is configured: OTEL_TRACES_EXPORTER is none")
        return 0
    ill = 0
    for patient in patients:
        _say(f"{patient.name:<9} {patient.target}")
        is_well, words = _diagnosis(patient.name, patient.examine(timeout_s))
        ill += not is_well
        _say(_INDENT + words)
    _say(
        f"{ill} of {len(patients)} exporters cannot deliver" if ill else "all exporters deliver, as far as can be seen"
    )
    return 1 if ill else 0


def _diagnosis(name: str, finding: dict[str, Any]) -> tuple[bool, str]:
    words = _without_prefix(name, finding["words"] or "")
    span = f"the span `hiq doctor` of trace {finding['trace_id']}"
    if finding["lost"] or finding["waiting"]:
        return False, f"FAILED: {words or 'no answer in time'}"
    if finding["sent_unconfirmed"]:
        return True, f"sent: {span}; this wire never answers, look for it in the backend"
    remark = f" ({words})" if words else ""
    return True, f"ok: {span} was taken in {finding['seconds'] * 1_000:.0f} ms{remark}"


def _without_prefix(name: str, words: str) -> str:
    """The exporter's status line without what stands above it, and without the count of our own spans."""
    words = words.removeprefix(f"hiq: {name} exporter: ")
    head, colon, rest = words.partition(": ")
    return (
        rest if colon and head.split(" ", 1)[-1] in {"span waits", "spans wait", "span lost", "spans lost"} else words
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
