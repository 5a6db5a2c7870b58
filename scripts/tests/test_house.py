"""What `make` says when something is missing or fails."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SCRIPTS))

from house import interpreters, step, target  # noqa: E402
from suites import missing_versions  # noqa: E402
from third_party_notices import chosen_licence  # noqa: E402

# The minor number of the oldest Rust that the workspace says it builds with.
OLDEST = int(
    re.findall(r'rust-version = "1\.(\d+)"', (SCRIPTS.parent / "Cargo.toml").read_text())[0]
)
USED_BY_PREFLIGHT = ("cut", "dirname", "head", "sed", "sh", "sort")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A PATH with what every system has, this Python and a compiler."""
    for name in USED_BY_PREFLIGHT:
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    program(tmp_path / "cc", "")
    (tmp_path / "python3").symlink_to(sys.executable)
    return tmp_path


def program(path: Path, output: str, code: int = 0) -> None:
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\necho '{output}'\nexit {code}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def preflight(path: Path, *topics: str, python: str = "python3") -> tuple[int, list[str]]:
    finished = subprocess.run(
        [SCRIPTS / "preflight.sh", *topics],
        env={"PATH": str(path), "PYTHON": python},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.stdout == ""
    return finished.returncode, finished.stderr.splitlines()


def test_a_machine_without_rust_is_told_where_to_get_it(path: Path) -> None:
    code, lines = preflight(path, "rust")
    assert code == 1
    assert lines == [
        f"missing: cargo is not on PATH. To get it: Rust 1.{OLDEST} or newer: https://rustup.rs"
    ]


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        (f"1.{OLDEST - 1}.0", False),
        (f"1.{OLDEST}.0", True),
        (f"1.{OLDEST + 10}.1", True),
        ("1.9.9", False),
        ("2.0.0", True),
    ],
)
def test_an_old_rust_is_named_and_a_newer_one_is_taken(
    path: Path, version: str, fits: bool
) -> None:
    program(path / "cargo", "")
    program(path / "rustc", f"rustc {version} (0123456789 2025-01-01)")
    code, lines = preflight(path, "rust")
    assert code == (0 if fits else 1)
    assert [version in line for line in lines] == ([] if fits else [True])


def test_components_that_do_not_run_are_missing_even_if_their_programs_are_there(
    path: Path,
) -> None:
    program(path / "cargo", "error: the component is not installed", code=1)
    program(path / "rustc", "rustc 1.95.0 (0123456789 2025-01-01)")
    code, lines = preflight(path, "rust", "lint")
    assert code == 1
    assert [line.rpartition(": ")[2] for line in lines] == [
        "rustup component add rustfmt",
        "rustup component add clippy",
    ]


def test_a_missing_python_and_compiler_are_both_said_at_once(path: Path) -> None:
    (path / "cc").unlink()
    code, lines = preflight(path, python="python9")
    assert code == 1
    assert len(lines) == 2
    assert "python9 is not on PATH" in lines[0]
    assert "no C compiler" in lines[1]


def test_a_quiet_step_that_fails_shows_what_it_printed(capfd: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", "print('the cause'); raise SystemExit(3)"]
    with pytest.raises(step.StepError, match="trying: failed with code 3"):
        step.run_quietly("trying (it takes no time)", command)
    assert "the cause" in capfd.readouterr().out


def test_a_quiet_step_that_works_prints_its_title_alone(capfd: pytest.CaptureFixture[str]) -> None:
    step.run_quietly("trying", [sys.executable, "-c", "print('noise')"])
    printed = capfd.readouterr().out
    assert printed.endswith("trying\n")
    assert "noise" not in printed


def test_this_python_is_found_once_and_without_its_shims() -> None:
    found = interpreters.found_interpreters()
    minors = [interpreter.minor for interpreter in found]
    assert minors == sorted(set(minors), key=lambda minor: int(minor.partition(".")[2]))
    this = interpreters.this_interpreter()
    assert this in found
    assert os.path.samefile(this.path, sys.executable)


def test_a_required_version_that_is_not_there_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    only = interpreters.this_interpreter()
    others = [minor for minor in interpreters.SUPPORTED if minor != only.minor]
    monkeypatch.setenv("HIQ_REQUIRE_PYTHONS", f"{only.minor} {others[0]}")
    assert missing_versions([only]) == [f"Python {others[0]} is required and was not found"]
    assert f"NOT tested: {', '.join(others)}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("MIT OR Apache-2.0", "MIT"),
        ("Apache-2.0 OR BSL-1.0", "Apache-2.0"),
        ("Unlicense/MIT", "MIT"),
        ("ISC", "ISC"),
        ("(Apache-2.0 OR MIT) AND BSD-3-Clause", "(Apache-2.0 OR MIT) AND BSD-3-Clause"),
    ],
)
def test_a_choice_of_licences_is_made_and_a_sum_is_kept(offered: str, chosen: str) -> None:
    assert chosen_licence({"license": offered}) == chosen


CRATE = """
[package]
name = "shop"
edition = "2021"
version = "0.1.0"
[dependencies]
bolts = {path = "../../../bolts"}
"""
TELLS_WHERE = 'fn main() { print!("{} {}", env!("CARGO_MANIFEST_DIR"), bolts::NUMBER); }'


def test_a_clone_does_not_run_what_another_has_built_in_the_same_folder(tmp_path: Path) -> None:
    bolts = tmp_path / "bolts"
    (bolts / "src").mkdir(parents=True)
    (bolts / "Cargo.toml").write_text(CRATE.partition("[dep")[0].replace("shop", "bolts"))
    (bolts / "src" / "lib.rs").write_text("pub const NUMBER: u8 = 7;")
    target_folder = tmp_path / "target"
    built = []
    for clone in ("one", "two", "one"):
        crate = tmp_path / clone / "crates" / "shop"
        (crate / "src").mkdir(parents=True, exist_ok=True)
        for name, text in (("Cargo.toml", CRATE), ("src/main.rs", TELLS_WHERE)):
            (crate / name).write_text(text)
            # As old as each other, like the files of clones that nobody touches.
            os.utime(crate / name, (1_000_000_000, 1_000_000_000))
        target.take_over(target_folder, crate.parents[1])
        command: list[str | Path] = ["cargo", "run", "--offline"]
        command += ["--manifest-path", crate / "Cargo.toml"]
        environment = {**os.environ, "CARGO_TARGET_DIR": str(target_folder)}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert run.stdout == f"{crate} 7"
        built.append([line.split()[1] for line in run.stderr.splitlines() if "Compiling" in line])
    assert built == [["bolts", "shop"], ["shop"], ["shop"]]
