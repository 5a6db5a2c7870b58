"""`hiq bridge`: spans and metrics from topics of Kafka to any exporter, until told to stop."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .. import _hiq

__all__ = ["bridge"]

_KNOWN = ("group", "encoding", "signal", "offset")
_FAILED = ("lost", "skipped", "left_out", "points_lost", "points_left_out")
_DEFAULT_GROUP = "hiq-bridge"


def bridge(
    source: str,
    to: list[str],
    *,
    encoding: str | None,
    signal_name: str | None,
    group: str | None,
    until_end: bool,
) -> int:
    """Forwards until SIGTERM or SIGINT, says what became of it, and returns 1 when something was lost or left out."""
    brokers, topics, options = _parts(source)
    offset = options.get("offset", "earliest")
    if offset not in ("earliest", "latest"):
        raise _hiq.ConfigError(f"--from: offset `{offset}` is not known; give earliest or latest")
    stop = threading.Event()
    before = _stop_on_signals(stop)
    _say(f"from {source} to {', '.join(to)}")
    try:
        counts = _hiq.bridge(
            topics,
            group or options.get("group", _DEFAULT_GROUP),
            to,
            stop,
            brokers=brokers or None,
            encoding=encoding or options.get("encoding"),
            signal=signal_name or options.get("signal"),
            from_start=offset == "earliest",
            until_end=until_end,
        )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    _say(_words(counts))
    return 1 if any(counts[name] for name in _FAILED) else 0


def _parts(source: str) -> tuple[str, list[str], dict[str, str]]:
    """Brokers, topics and options of kafka://host:port,host:port/topic,topic?group=name."""
    parts = urlsplit(source)
    if parts.scheme != "kafka":
        raise _hiq.ConfigError(f"--from: `{parts.scheme}` is not known; write kafka://host:port/topic?group=name")
    if "@" in parts.netloc:
        # Not repeated: it holds a password.
        raise _hiq.ConfigError(
            "--from: user and password do not belong there; set HIQ_KAFKA_USERNAME, HIQ_KAFKA_PASSWORD"
        )
    topics = [topic for topic in parts.path.strip("/").split(",") if topic]
    options = dict(parse_qsl(parts.query))
    for name in options:
        if name not in _KNOWN:
            raise _hiq.ConfigError(f"--from: `{name}` is not a setting; known are {', '.join(_KNOWN)}")
    return parts.netloc, topics, options


def _stop_on_signals(stop: threading.Event) -> dict[int, Any]:
    def handle(number: int, _frame: FrameType | None) -> None:
        stop.set()
        # Whoever asks twice does not want to wait.
        signal.signal(number, signal.SIG_DFL)

    return {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}


def _words(counts: dict[str, int]) -> str:
    """Of spans always, of points where there were some."""
    words = [f"{counts['read']} spans read in {counts['messages']} messages, {counts['delivered']} delivered"]
    words += _fates(counts, "")
    if counts["skipped"]:
        words.append(f"{counts['skipped']} messages left out")
    if not counts["points_read"]:
        return ", ".join(words)
    of_points = [f"{counts['points_read']} points read, {counts['points_delivered']} delivered"]
    return f"{', '.join(words)}; {', '.join(of_points + _fates(counts, 'points_'))}"


def _fates(counts: dict[str, int], prefix: str) -> list[str]:
    words = {
        "left": "not delivered and not committed: they stay in the topic",
        "lost": "lost; the lines above say why",
        "left_out": "left out; the lines above say why",
        "possible_repeats": "may have arrived twice",
    }
    return [f"{counts[prefix + name]} {fate}" for name, fate in words.items() if counts[prefix + name]]


def _say(words: str) -> None:
    sys.stdout.write(f"hiq: bridge: {words}\n")
    sys.stdout.flush()
