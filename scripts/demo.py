"""`make demo`: a local environment with hiq in it, then examples/demo.py."""

from __future__ import annotations

import sys
from pathlib import Path

from house.environments import install_wheel, make_environment
from house.interpreters import Interpreter, this_interpreter
from house.places import REPOSITORY
from house.step import StepError, end_with, run_openly, say
from house.wheels import release_wheel

FOLDER = REPOSITORY / ".venv"


def main() -> int:
    interpreter = this_interpreter()
    try:
        wheel = release_wheel(interpreter)
        python = local_environment(interpreter)
        install_wheel(python, wheel)
        run_openly("tracing the shop", [python, REPOSITORY / "examples" / "demo.py"])
    except StepError as error:
        return end_with("demo", [str(error)])
    return 0


def local_environment(interpreter: Interpreter) -> Path:
    """The Python of `.venv`, made when it is not there for this version."""
    python = FOLDER / "bin" / "python"
    config = FOLDER / "pyvenv.cfg"
    if not config.exists():
        say(f"making {FOLDER.name}")
        make_environment(FOLDER, interpreter, with_pip=True)
    elif f"= {interpreter.version}" not in config.read_text():
        raise StepError(
            f"{FOLDER} is not of Python {interpreter.version}: delete it, or choose with make PYTHON=..."
        )
    return python


if __name__ == "__main__":
    sys.exit(main())
