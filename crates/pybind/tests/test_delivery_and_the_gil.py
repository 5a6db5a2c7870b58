"""Delivery is native: it goes on while a call into C holds the interpreter's lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import PACKAGE_FOLDER, plain_environment
from receiver import receiver

PROGRAM = """
import ctypes, sys, threading, hiq

hiq.init("shop", schedule_delay_s=0.01)
with hiq.trace("before"):
    pass
assert hiq.flush(60)
read, buffer = ctypes.PyDLL(None).read, ctypes.create_string_buffer(1)
turns = 0
gate = threading.Lock()
gate.acquire()

def count():
    global turns
    gate.acquire()
    while True:
        turns += 1

threading.Thread(target=count, daemon=True).start()
# From here on nobody takes the lock from the main thread: only giving it up would let the other one count.
sys.setswitchinterval(1000)
with hiq.trace("order"):
    pass
gate.release()
count = read(0, buffer, 1)
was_held = turns == 0
sys.setswitchinterval(0.005)
print(count, was_held)
"""


def test_spans_arrive_while_a_c_call_holds_the_lock(tmp_path: Path) -> None:
    with receiver() as backend:
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=plain_environment(PYTHONPATH=PACKAGE_FOLDER, OTEL_EXPORTER_OTLP_ENDPOINT=backend.url),
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as program:
            try:
                assert b"before" in backend.next().body
                # It reads what has not been written: it is in C, and stays there until the span has arrived.
                assert b"order" in backend.next().body
                said, _ = program.communicate("x", timeout=60)
            finally:
                program.kill()
    assert (program.returncode, said.split()) == (0, ["1", "True"])
