"""`hiq doctor`: for each exporter where it sends, and what became of one span or sample."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from .. import _hiq

__all__ = ["doctor"]

_FINE, _CANNOT_DELIVER, _CANNOT_BE_SET_UP = range(3)
_INDENT = " " * 10
_FATES = (" waits", "s wait", " lost", "s lost", " lost at shutdown", "s lost at shutdown")
_COUNTS = {f"{item}{fate}" for item in ("span", "point") for fate in _FATES}


def doctor(exporters: Sequence[str], metrics: Sequence[str], timeout_s: float) -> int:
    """Prints a paragraph for each exporter: those that are named, else those of the environment. Returns 1 when one of
    them cannot deliver, 2 when one cannot even be set up."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        _say("warning: OTEL_SDK_DISABLED is true: programs record and send nothing until it is unset")
    if not exporters and not metrics:
        exporters = _listed("OTEL_TRACES_EXPORTER") or ["otlp"]
        metrics = _listed("OTEL_METRICS_EXPORTER")
    results = [_examine(patient, timeout_s) for patient in _patients(exporters, metrics)]
    if not results:
        _say("no exporter is configured: OTEL_TRACES_EXPORTER is none, and OTEL_METRICS_EXPORTER names none")
        return 0
    ill = sum(result != _FINE for result in results)
    _say(f"{ill} of {len(results)} exporters cannot deliver" if ill else "all exporters deliver, as far as can be seen")
    return max(results)


def _listed(variable: str) -> list[str]:
    return [name for name in (part.strip() for part in os.environ.get(variable, "").split(",")) if name]


def _patients(exporters: Sequence[str], metrics: Sequence[str]) -> Iterator[_hiq.Patient | tuple[str, str]]:
    """Those that can be set up, and the names of those that cannot, with the reason: each by itself, so that one of
    them does not hide the others."""
    warned: set[str] = set()
    for kind, names in (("exporters", exporters), ("metrics", metrics)):
        for name in names:
            if name == "none":
                continue
            settings = {"exporters": [], "metrics": [], kind: [name]}
            try:
                patients, warnings = _hiq.patients(settings)
            except _hiq.ConfigError as error:
                yield name, str(error)
                continue
            for warning in warnings:
                if warning not in warned:
                    warned.add(warning)
                    _say(f"warning: {warning}")
            yield from patients


def _examine(patient: _hiq.Patient | tuple[str, str], timeout_s: float) -> int:
    """Prints its paragraph. Returns what the exit code is when this is the worst of them."""
    if isinstance(patient, tuple):
        name, why = patient
        _say(f"{name:<9} FAILED: {why}")
        return _CANNOT_BE_SET_UP
    _say(f"{patient.name:<9} {patient.target}")
    is_well, words = _diagnosis(patient.name, patient.examine(timeout_s))
    _say(_INDENT + words)
    return _FINE if is_well else _CANNOT_DELIVER


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
