"""`make test`: Rust's tests, then the Python suites on every interpreter that is found.

HIQ_REQUIRE_PYTHONS="3.10 3.11" names versions that must be there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from house.environments import environment, install_wheel
from house.interpreters import SUPPORTED, Interpreter, found_interpreters, this_interpreter
from house.places import PYBIND, REPOSITORY, SCRIPTS, cargo_environment
from house.step import StepError, end_with, run_openly, run_quietly, say
from house.wheels import dev_wheels

BEHAVIOUR = PYBIND / "tests"
ON_ONE_VERSION = (REPOSITORY / "examples", REPOSITORY / "scripts")


def main() -> int:
    failures: list[str] = []
    interpreters = found_interpreters()
    failures += missing_versions(interpreters)
    attempt(failures, test_rust)
    try:
        pythons = ready_environments(interpreters)
    except StepError as error:
        return end_with("test", [*failures, str(error)])
    for interpreter, python in pythons.items():
        attempt(failures, run_pytest, interpreter, python, BEHAVIOUR)
    chosen = this_interpreter()
    attempt(failures, run_pytest, chosen, pythons[chosen], *ON_ONE_VERSION)
    return end_with("test", failures)


def missing_versions(found: list[Interpreter]) -> list[str]:
    """Says which versions are not tested; the failures are those that had to be there."""
    minors = {interpreter.minor for interpreter in found}
    required = os.environ.get("HIQ_REQUIRE_PYTHONS", "").split()
    say(f"Python found: {', '.join(interpreter.version for interpreter in found)}")
    if missing := [minor for minor in SUPPORTED if minor not in minors]:
        say(f"Python NOT found, so NOT tested: {', '.join(missing)} (HIQ_PYTHONS=path adds one)")
    return [
        f"Python {minor} is required and was not found" for minor in required if minor not in minors
    ]


def test_rust() -> None:
    env = cargo_environment()
    run_quietly(
        "building the Rust tests (minutes the first time)", ["cargo", "test", "--no-run"], env=env
    )
    run_openly("running the Rust tests", ["cargo", "test", "--quiet"], env=env)
    outside = str(REPOSITORY / "examples" / "logfmt_exporter" / "Cargo.toml")
    command = ["cargo", "test", "--quiet", "--manifest-path", outside]
    run_openly("running the tests of an exporter outside the workspace", command, env=env)


def ready_environments(interpreters: list[Interpreter]) -> dict[Interpreter, Path]:
    """For each interpreter an environment with pytest and a wheel of this very code."""
    pythons = {}
    for interpreter, wheel in dev_wheels(interpreters).items():
        requirements = SCRIPTS / "requirements-test.txt"
        pythons[interpreter] = environment("test", interpreter, requirements, owner=REPOSITORY)
        install_wheel(pythons[interpreter], wheel)
    return pythons


def run_pytest(interpreter: Interpreter, python: Path, *suites: Path) -> None:
    names = ", ".join(str(suite.relative_to(REPOSITORY)) for suite in suites)
    command: list[str | Path] = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *suites]
    run_openly(f"{names} on Python {interpreter.version}", command)


def attempt(failures: list[str], step: Callable[..., None], *arguments: object) -> None:
    """Goes on after a failure: the other suites have something to say as well."""
    try:
        step(*arguments)
    except StepError as error:
        say(f"FAILED {error}")
        failures.append(str(error))


if __name__ == "__main__":
    sys.exit(main())
