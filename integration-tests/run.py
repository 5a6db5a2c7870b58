"""Builds the servers, makes the environment, installs hiq's wheel and runs the integration tests.

    python integration-tests/run.py --wheel dist/          (or HIQ_WHEEL=dist/)
    python integration-tests/run.py --servers-only         the harness alone, without hiq
    python integration-tests/run.py --wheel dist/ --runs 3  three times in a row, until one fails

`--wheel` takes a wheel, or a folder to find the one for this Python in. Further arguments go to
pytest. Servers and the environment are kept in `$HIQ_CACHE` (default: `hiq` in the user's cache
folder), so only the first run takes minutes. A test that is skipped here has failed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path

from servers.build import BuildError, cache_folder, recipe_names, server_binary

HERE = Path(__file__).parent
OLDEST_PYTHON = (3, 10)
WITHOUT_HIQ = ["test_harness.py", "test_servers.py", "test_prometheus_servers.py"]
INSTALL_TIMEOUT_SECONDS = 600
TESTS_TIMEOUT_SECONDS = 1800


class SetUpError(Exception):
    """The tests cannot be started; the text says what to do about it."""


def main() -> int:
    options, for_pytest = parsed_arguments()
    try:
        wheel = None if options.servers_only else find_wheel(options.wheel)
        build_servers()
        with locked_environment() as python:
            prepare(python)
            if wheel is not None:
                install_wheel(python, wheel)
            files = WITHOUT_HIQ if wheel is None else []
            for number in range(1, options.runs + 1):
                if options.runs > 1:
                    say(f"run {number} of {options.runs}")
                if code := run_tests(python, files, for_pytest):
                    return code
            return 0
    except (BuildError, SetUpError) as error:
        print(f"integration: {error}", file=sys.stderr)
        return 1


def parsed_arguments() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--wheel", type=Path, default=os.environ.get("HIQ_WHEEL"))
    parser.add_argument("--servers-only", action="store_true")
    parser.add_argument("--runs", type=int, default=1, help="how often, one after the other")
    return parser.parse_known_args()


def find_wheel(given: str | Path | None) -> Path:
    if sys.version_info < OLDEST_PYTHON:
        raise SetUpError(f"Python 3.10 or newer is needed, this is {sys.version.split()[0]}")
    if given is None:
        raise SetUpError(
            "which wheel? give --wheel or HIQ_WHEEL (`make wheel` builds one), "
            "or --servers-only to try the servers without hiq"
        )
    path = Path(given).resolve()
    tag = f"-cp{sys.version_info.major}{sys.version_info.minor}-"
    wheels = [path] if path.is_file() else list(path.glob("hiq_bridge-*.whl"))
    fitting = [wheel for wheel in wheels if tag in wheel.name]
    if not fitting:
        found = ", ".join(wheel.name for wheel in wheels) or "no wheel of hiq at all"
        raise SetUpError(f"no wheel for {tag.strip('-')} in {path}: found {found}")
    return max(fitting, key=lambda wheel: wheel.stat().st_mtime)


def build_servers() -> None:
    for name in recipe_names():
        say(f"{name} is {server_binary(name)}")


@contextlib.contextmanager
def locked_environment() -> Iterator[Path]:
    """The environment's Python. One run at a time has it, as each installs its own wheel."""
    digest = hashlib.sha256((HERE / "requirements.txt").read_bytes() + sys.version.encode())
    folder = cache_folder() / "integration" / f"venv-{digest.hexdigest()[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another run to end ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder / "bin" / "python"


def prepare(python: Path) -> None:
    """Installs the pinned requirements, unless an earlier run did so to the end."""
    folder = python.parents[1]
    complete = folder / "complete"
    if complete.exists():
        return
    say("installing the pinned requirements ...")
    started = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    pip_install(python, "--require-hashes", "-r", str(HERE / "requirements.txt"))
    complete.touch()
    say(f"requirements installed in {time.monotonic() - started:.0f} s")


def install_wheel(python: Path, wheel: Path) -> None:
    say(f"installing {wheel.name}")
    pip_install(python, "--no-index", "--no-deps", "--force-reinstall", str(wheel))


def pip_install(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    finished = subprocess.run(
        [*command, *arguments], check=False, timeout=INSTALL_TIMEOUT_SECONDS, cwd=HERE
    )
    if finished.returncode != 0:
        raise SetUpError(f"pip could not install {' '.join(arguments)}")


def run_tests(python: Path, files: list[str], for_pytest: list[str]) -> int:
    say(f"running the tests on Python {sys.version.split()[0]}")
    finished = subprocess.run(
        [str(python), "-m", "pytest", "-p", "no:cacheprovider", *files, *for_pytest],
        cwd=HERE,
        env={**os.environ, "HIQ_INTEGRATION_STRICT": "1"},
        check=False,
        timeout=TESTS_TIMEOUT_SECONDS,
    )
    return finished.returncode


def say(text: str) -> None:
    print(f"integration: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
