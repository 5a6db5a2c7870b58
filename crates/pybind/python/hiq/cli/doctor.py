"""`hiq doctor`: for each exporter where it sends, and what became of one span or sample."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from .. import _hiq

__all__ = ["doctor"]

_INDENT = " " * 10
_COUNTS = {f"{item}{fate}" for item in ("span", "point") for fate in (" waits", "s wait", " lost", "s lost")}


def doctor(exporters: Sequence[str], metrics: Sequence[str], timeout_s: float) -> int:
    """Prints a paragraph for each exporter: those that are named, else those of the environment. Returns 1 when one of
    them cannot deliver."""
    named = {"exporters": list(exporters), "metrics": list(metrics)}
    patients, warnings = _hiq.patients(named if exporters or metrics else {})
    for warning in warnings:
        _say(f"warning: {warning}")
    if not patients:
        _say("no exporter is configured: OTEL_TRACES_EXPORTER is none, and OTEL_METRICS_EXPORTER names none")
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
    sent = finding["sent"]
    if finding["lost"] or finding["waiting"]:
        return False, f"FAILED: {words or 'no answer in time'}"
    if finding["sent_unconfirmed"]:
        return True, f"sent: {sent}; this wire never answers, look for it in the backend"
    remark = f" ({words})" if words else ""
    return True, f"ok: {sent} was taken in {finding['seconds'] * 1_000:.0f} ms{remark}"


def _without_prefix(name: str, words: str) -> str:
    """The exporter's status line without what stands above it, and without the count of what we have sent."""
    words = words.removeprefix(f"hiq: {name} exporter: ")
    head, colon, rest = words.partition(": ")
    return rest if colon and head.split(" ", 1)[-1] in _COUNTS else words


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
