"""A program that makes up more names than the process-wide table holds: every name is told all the same."""

from __future__ import annotations

import json
from pathlib import Path

from conftest import python

PROGRAM = """
import json
import hiq
from hiq.testing import InMemoryExporter

def fail():
    raise KeyError("gone")

log = []
told = []
with InMemoryExporter() as spans:
    def tell():
        told.extend(span["name"] for span in spans)
        spans.clear()

    for number in range(66_000):
        name = f"GET /users/{number}"
        with hiq.trace(name) as span:
            span.set_attribute(f"key {number}", number)
        log.append(name)
        if number % 1_000 == 0:
            tell()
    tell()

    @hiq.trace
    def declared():
        with hiq.trace("checkout", basket=1):
            hiq.record("an instant", late=2)
        fail()

    named = hiq.trace("given a name")(lambda: None)
    try:
        declared()
    except KeyError:
        named()
    hiq.record("alone")
    rest = spans.spans()
print(json.dumps([told == log, [span["name"] for span in rest], rest]))
"""


def test_blocks_functions_attributes_and_exceptions_keep_their_names(tmp_path: Path) -> None:
    run = python("-c", PROGRAM, folder=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    are_told, names, rest = json.loads(run.stdout)
    assert are_told, "blocks whose names no table has room for"
    assert names == ["declared", "checkout", "an instant", "given a name", "alone"]
    declared, checkout, instant, *_ = rest
    assert checkout["attributes"] == {"basket": 1}
    assert instant["attributes"] == {"late": 2}
    (event,) = declared["events"]
    assert event["name"] == "exception"
    assert event["attributes"]["exception.type"] == "KeyError"
    assert set(event["attributes"]) == {"exception.type", "exception.message", "exception.stacktrace"}
    assert declared["attributes"]["error.type"] == "KeyError"
    assert declared["attributes"]["code.function.name"].endswith("declared")
