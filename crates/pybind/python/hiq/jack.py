"""HiQ's sending of trees: with `JACK=1`, what a driver no longer holds is written to a log file, and with
`HIQ_OCI_STREAMING=1` put into a stream of OCI Streaming."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import _hiq
from .tracing import say
from .utils import ensure_folder, get_env_bool, get_home

if TYPE_CHECKING:
    import logging

    from .vendor_oci_streaming import OciStreamingClient

__all__ = ["Jack", "get_jack_log_file", "get_kafka", "log_jack_rotated"]

_MAX_BYTES = 500 * 1024 * 1024
_BACKUPS = 20
_ATTEMPTS = 4
_PAUSE_S = 0.2


class Jack:
    """Sends the trees of keys that had to make room (`max_hiq_size`), and at exit those that are still held."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        self.invite_jack = get_env_bool("JACK")
        # HiQ's queue to its process; here a thread takes what is sent.
        self.queue_jack: Any = None
        if self.invite_jack:
            print(f"🅹 🅰 🅒 Ⓚ {os.getpid()} is started")
            self.kafka = get_kafka()
            from . import _handlers

            _handlers.start()

    def send_trees_to_jack(self, d: Mapping[str, Any], debug: bool = False) -> None:
        """Sends trees, given by metric."""
        if self.invite_jack:
            _hiq.tell(send, list(d.values()))
        elif debug:
            print("Jack is working")


def send(trees: list[Any]) -> None:
    """Writes a line for each tree, its metric and its string, and puts the same into the stream where there is one."""
    global _log, _has_log
    if not _has_log:
        _log, _has_log = log_jack_rotated(), True
    messages = [(str(tree.tid), str(tree.repr())) for tree in trees]
    if _log is not None:
        for metric, tree in messages:
            _log.info("%s,%s", metric, tree)
    if _stream is not None:
        _put(_stream, messages)


def _put(stream: OciStreamingClient, messages: list[tuple[str, str]]) -> None:
    """Those that the service does not take are sent again, and no others."""
    problem = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_S * attempt)
        try:
            entries = stream.put(messages)
        except _hiq.ExportError as error:
            problem = str(error)
            continue
        failed = [(message, entry) for message, entry in zip(messages, entries, strict=True) if entry["error"]]
        if not failed:
            return
        problem = f"{failed[0][1]['error']}: {failed[0][1]['error_message']}"
        messages = [message for message, _ in failed]
    say(f"HIQ_OCI_STREAMING: {len(messages)} trees were not taken by the stream: {problem}")


_stream: OciStreamingClient | None = None
_log: logging.Logger | None = None
_has_log = False


def get_jack_log_file() -> str:
    """`~/.hiq/log_jack.log`, or that of the current folder where the home folder cannot be written to."""
    for folder in (get_home(), os.getcwd()):
        file = f"{folder}/.hiq/log_jack.log"
        try:
            ensure_folder(file)
        except OSError:
            continue
        return file
    return ".hiq/log_jack.log"


def log_jack_rotated(
    log_file: str | None = None, max_bytes: int = _MAX_BYTES, backup_count: int = _BACKUPS
) -> logging.Logger | None:
    """The log that trees are written to, a file that is rotated; None with `NO_JACK_LOG`.

    It stands apart from the program's logging.
    """
    if get_env_bool("NO_JACK_LOG"):
        return None
    import logging
    from logging.handlers import RotatingFileHandler

    file = log_file or get_jack_log_file()
    logger = logging.Logger("hiq.jack", logging.INFO)
    logger.addHandler(
        RotatingFileHandler(file, maxBytes=max_bytes, backupCount=backup_count, encoding="utf-8", delay=True)
    )
    return logger


def get_kafka() -> OciStreamingClient | None:
    """The client that trees go to as well, with `HIQ_OCI_STREAMING`; else, or without its settings, None."""
    global _stream
    if not get_env_bool("HIQ_OCI_STREAMING"):
        return None
    from .vendor_oci_streaming import OciStreamingClient

    try:
        _stream = OciStreamingClient()
    except ValueError as error:
        say(f"HIQ_OCI_STREAMING: {error}; trees go to the log file only")
    return _stream
