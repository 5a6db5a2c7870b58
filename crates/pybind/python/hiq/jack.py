"""HiQ's sending of trees: with `JACK=1`, what a driver no longer holds is written to a log file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import _hiq
from .tracing import say
from .utils import ensure_folder, get_env_bool, get_home

if TYPE_CHECKING:
    import logging

__all__ = ["Jack", "get_jack_log_file", "get_kafka", "log_jack_rotated"]

_MAX_BYTES = 500 * 1024 * 1024
_BACKUPS = 20


class Jack:
    """Sends the trees of keys that had to make room (`max_hiq_size`), and at exit those that are still held."""

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        self.invite_jack = get_env_bool("JACK")
        # HiQ's queue to its process; here a thread takes what is sent.
        self.queue_jack: Any = None
        if self.invite_jack:
            print(f"🅹 🅰 🅒 Ⓚ {os.getpid()} is started")
            get_kafka()
            from . import _handlers

            _handlers.start()

    def send_trees_to_jack(self, d: Mapping[str, Any], debug: bool = False) -> None:
        """Sends trees, given by metric."""
        if self.invite_jack:
            _hiq.tell(send, list(d.values()))
        elif debug:
            print("Jack is working")


def send(trees: list[Any]) -> None:
    """Writes a line for each tree: its metric and its string."""
    global _log, _has_log
    if not _has_log:
        _log, _has_log = log_jack_rotated(), True
    if _log is not None:
        for tree in trees:
            _log.info("%s,%s", tree.tid, tree.repr())


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


def get_kafka() -> None:
    """HiQ's client of OCI streaming, which is not in this build: says so where it is asked for."""
    if get_env_bool("HIQ_OCI_STREAMING"):
        say("HIQ_OCI_STREAMING: the sending to OCI streaming is not in this build yet, trees go to the log file")
