"""At its end a program is told how many spans were lost and why, and can still ask what became of them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiq
import pytest
from conftest import python


@pytest.fixture
def deserted() -> Iterator[str]:
    """An address that nobody listens at, and nobody else can come to meanwhile."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{unused.getsockname()[1]}"


def balances(ledger: dict[str, Any]) -> bool:
    settled = ("exported", "sent_unconfirmed", "rejected", "queued", "in_flight", "spooled")
    in_all = sum(ledger[name] for name in settled) + sum(ledger["dropped"].values())
    return ledger["offered"] + ledger["recovered"] == in_all


PROGRAM = """
import hiq
hiq.init("shop", max_queue_spans=1000, max_batch_spans=100)
for _ in range(3000):
    with hiq.trace("order"):
        pass
"""


def test_the_last_line_says_how_many_were_lost_in_all(deserted: str, tmp_path: Path) -> None:
    run = python("-c", PROGRAM, folder=tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=deserted, HIQ_SHUTDOWN_TIMEOUT="300")
    assert run.returncode == 0
    last = run.stderr.splitlines()[-1]
    assert last.startswith("hiq: otlp exporter: 3000 spans lost at shutdown: ")
    assert "is a collector listening there?" in last
    # What waits is not said once nothing waits any more.
    assert run.stderr.count("wait: ") <= 1


def test_an_end_that_loses_nothing_says_nothing(tmp_path: Path) -> None:
    run = python("-c", PROGRAM, folder=tmp_path, OTEL_TRACES_EXPORTER="chrome")
    assert (run.returncode, run.stderr) == (0, "")


def test_the_ledger_can_be_read_after_the_shutdown(deserted: str) -> None:
    hiq.init("shop", endpoint=deserted)
    for _ in range(5):
        with hiq.trace("order"):
            pass
    assert hiq.shutdown(0.2) is False
    (ledger,) = hiq.stats().values()
    assert balances(ledger)
    assert (ledger["offered"], ledger["dropped"]) == (5, {"shutdown": 5})
    hiq.init("shop", exporters=["memory"])
    assert [ledger["offered"] for ledger in hiq.stats().values()] == [0]


def test_a_forked_child_does_not_take_its_parent_s_ledger_for_its_own() -> None:
    hiq.init("shop", exporters=["memory"])
    with hiq.trace("order"):
        pass
    assert hiq.shutdown(60)
    assert hiq.stats()["memory"]["exported"] == 1
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, repr(hiq.stats()).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as said:
        assert said.read() == "{}"
    assert os.waitpid(child, 0)[1] == 0
