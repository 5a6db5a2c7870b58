"""`make fuzz`: each parser reads what libFuzzer thinks of, in bounded time and memory.

SECONDS=60 is the time of each target, ONLY=conf,spool names some. Findings go to fuzz/findings/.
A nightly toolchain, where there is one, adds AddressSanitizer.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from house.places import REPOSITORY, cargo_environment, clone_folder
from house.step import StepError, end_with, run_openly, run_quietly, say

FUZZ = REPOSITORY / "fuzz"
SECONDS = int(os.environ.get("SECONDS") or 60)
MEMORY_MB = 512
LONGEST_INPUT_BYTES = 65_536
COVERAGE = (
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
)


def main() -> int:
    failures: list[str] = []
    try:
        targets = chosen_targets()
        programs = build()
    except StepError as error:
        return end_with("fuzz", [str(error)])
    for target in targets:
        try:
            run(target, programs / target)
        except StepError as error:
            say(f"FAILED {error}")
            failures.append(str(error))
    return end_with("fuzz", failures)


def chosen_targets() -> list[str]:
    known = re.findall(r'path = "targets/(.+)\.rs"', (FUZZ / "Cargo.toml").read_text())
    only = [name for name in os.environ.get("ONLY", "").split(",") if name]
    for name in only:
        if name not in known:
            raise StepError(f"ONLY: there is no target {name}, there are {', '.join(known)}")
    return only or known


def build() -> Path:
    """The folder of the programs."""
    with_sanitizer = (
        subprocess.run(["rustc", "+nightly", "-V"], capture_output=True).returncode == 0
    )
    say("with AddressSanitizer" if with_sanitizer else "without AddressSanitizer: no nightly Rust")
    host = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    triple = host.partition("host: ")[2].partition("\n")[0]
    flags = [*COVERAGE, *(["-Zsanitizer=address"] if with_sanitizer else [])]
    target = Path(cargo_environment()["CARGO_TARGET_DIR"], "fuzz")
    # A target is named so that build scripts are spared the flags.
    cargo = ["cargo", *(["+nightly"] if with_sanitizer else []), "build", "--release"]
    run_quietly(
        "building the fuzz targets (minutes the first time)",
        [*cargo, "--manifest-path", FUZZ / "Cargo.toml", "--target", triple],
        env={
            **cargo_environment(),
            "CARGO_TARGET_DIR": str(target),
            "RUSTFLAGS": " ".join(flags),
        },
    )
    return target / triple / "release"


def run(target: str, program: Path) -> None:
    corpus, findings = clone_folder("fuzz") / target, FUZZ / "findings"
    corpus.mkdir(parents=True, exist_ok=True)
    findings.mkdir(exist_ok=True)
    seeds = FUZZ / "seeds" / target
    limits = [f"-max_total_time={SECONDS}", f"-rss_limit_mb={MEMORY_MB}", "-timeout=10"]
    inputs = [f"-max_len={LONGEST_INPUT_BYTES}", f"-artifact_prefix={findings}/{target}-"]
    output = ["-verbosity=0", "-print_final_stats=1", "-print_funcs=0"]
    folders = [corpus, *([seeds] if seeds.is_dir() else [])]
    run_openly(
        f"{target}: {SECONDS} s",
        [program, *folders, *limits, *inputs, *output],
        # What is interned is kept for ever, on purpose: memory is bounded by the limit instead.
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
    )


if __name__ == "__main__":
    sys.exit(main())
