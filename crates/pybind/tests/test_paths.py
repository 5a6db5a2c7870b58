"""Relative paths are those of the folder that the program was in when it named them, wherever it goes afterwards."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from conftest import python


@pytest.mark.parametrize(
    ("exporter", "file", "environment"),
    [
        ("hiq.FileExporter('spans.jsonl')", "spans.jsonl", {}),
        ("{'type': 'file', 'path': 'spans.jsonl'}", "spans.jsonl", {}),
        ("hiq.ChromeExporter('trace.json')", "trace.json", {}),
        ("{'type': 'chrome', 'path': 'trace.json'}", "trace.json", {}),
        ("'chrome'", "hiq-trace.json.gz", {}),
        ("'chrome'", "named.json", {"HIQ_CHROME_FILE": "named.json"}),
    ],
)
def test_a_program_that_changes_its_folder_writes_where_it_meant_to(
    exporter: str, file: str, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "main.py").write_text(
        f"""
import os, hiq
hiq.init("shop", exporters=[{exporter}])
os.chdir("elsewhere")
with hiq.trace("order"):
    pass
assert hiq.flush(60)
(ledger,) = hiq.stats().values()
assert (ledger["offered"], ledger["exported"]) == (1, 1), ledger
""",
        encoding="utf-8",
    )
    run = python("main.py", folder=tmp_path, **environment)
    assert (run.returncode, run.stderr) == (0, "")
    assert (tmp_path / file).stat().st_size > 0
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_an_exporter_means_the_folder_that_it_was_made_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hiq

    monkeypatch.chdir(tmp_path)
    exporter = hiq.FileExporter("spans.jsonl")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    hiq.init("shop", exporters=[exporter])
    with hiq.trace("order"):
        pass
    assert hiq.shutdown(60)
    assert (tmp_path / "spans.jsonl").stat().st_size > 0


def test_the_spool_stays_where_it_was_meant_to_be(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "main.py").write_text(
        """
import os, hiq
hiq.init("shop")
os.chdir("elsewhere")
with hiq.trace("order"):
    pass
hiq.shutdown(1)
""",
        encoding="utf-8",
    )
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        run = python("main.py", folder=tmp_path, HIQ_SPOOL_DIR="spool", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert run.returncode == 0
    assert "1 span waits" in run.stderr
    assert any(path.is_file() for path in (tmp_path / "spool").rglob("*"))
    assert list((tmp_path / "elsewhere").iterdir()) == []
