"""`make lint`: formatting, lints, licences, types, the stub. All run, then failures are named."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from house.cargo_deny import cargo_deny
from house.environments import environment, install_wheel
from house.interpreters import this_interpreter
from house.places import PYBIND, REPOSITORY, SCRIPTS, cargo_environment
from house.step import StepError, end_with, run_openly, run_quietly
from house.wheels import dev_wheels

INTEGRATION = REPOSITORY / "integration-tests"
# The settings at the root leave out the package, which has its own.
PYTHON = (".", PYBIND)
OUTSIDE_THE_WORKSPACE = (
    REPOSITORY / "examples" / "logfmt_exporter" / "Cargo.toml",
    REPOSITORY / "fuzz" / "Cargo.toml",
)
CLIPPY = ("cargo", "clippy", "--workspace", "--all-targets", "--keep-going")


@dataclass(frozen=True)
class Check:
    """A command that ends with 0 when all is well."""

    title: str
    command: tuple[str | Path, ...]
    env: Mapping[str, str] = field(default_factory=cargo_environment)
    cwd: Path = REPOSITORY
    # Output is shown only if it fails; meanwhile its progress is told.
    quietly: bool = False


def main() -> int:
    failures: list[str] = []
    for group in (style_checks, cargo_checks, type_checks):
        try:
            for check in group():
                run(check, failures)
        except StepError as error:
            failures.append(str(error))
    return end_with("lint", failures)


def style_checks() -> Iterator[Check]:
    python = lint_environment()
    yield Check("ruff", (python, "-m", "ruff", "check", "--output-format=concise", *PYTHON))
    yield Check("ruff format", (python, "-m", "ruff", "format", "--check", "--quiet", *PYTHON))
    yield Check("rustfmt", ("cargo", "fmt", "--all", "--check", "--", "-l"))
    for manifest in OUTSIDE_THE_WORKSPACE:
        where = manifest.parent.relative_to(REPOSITORY)
        command = ("cargo", "fmt", "--manifest-path", manifest, "--check", "--", "-l")
        yield Check(f"rustfmt of {where}", command)


def cargo_checks() -> Iterator[Check]:
    env = {**cargo_environment(), "PYO3_PYTHON": str(this_interpreter().path)}
    metadata = ("cargo", "metadata", "--locked", "--format-version=1")
    yield Check("Cargo.lock fits the manifests", metadata, quietly=True)
    notices = (sys.executable, SCRIPTS / "third_party_notices.py", "--check")
    yield Check("third-party notices are complete", notices)
    deny = (cargo_deny(), "--workspace", "check", "bans", "licenses", "sources")
    yield Check("cargo deny", deny, quietly=True)
    clippy = (*CLIPPY, "--", "-D", "warnings")
    yield Check("clippy (minutes the first time)", clippy, env, quietly=True)
    doc = ("cargo", "doc", "--workspace", "--no-deps")
    yield Check("rustdoc", doc, {**env, "RUSTDOCFLAGS": "-D warnings"}, quietly=True)


def type_checks() -> Iterator[Check]:
    python, interpreter = lint_environment(), this_interpreter()
    yield Check("mypy of the package", (python, "-m", "mypy"), cwd=PYBIND)
    # What the tests import has to be there to be looked into.
    imported = environment("imported", interpreter, INTEGRATION / "requirements.txt")
    command = (python, "-m", "mypy", "--python-executable", imported)
    yield Check("mypy of examples, scripts and integration tests", command)
    install_wheel(python, dev_wheels([interpreter])[interpreter])
    stubtest = (python, "-m", "mypy.stubtest", "hiq._hiq", "--mypy-config-file", "pyproject.toml")
    yield Check("stubtest", stubtest, cwd=PYBIND)


def lint_environment() -> Path:
    requirements = SCRIPTS / "requirements-lint.txt"
    return environment("lint", this_interpreter(), requirements, owner=REPOSITORY)


def run(check: Check, failures: list[str]) -> None:
    command = run_quietly if check.quietly else run_openly
    try:
        command(check.title, check.command, env=check.env, cwd=check.cwd)
    except StepError as error:
        failures.append(str(error))


if __name__ == "__main__":
    sys.exit(main())
