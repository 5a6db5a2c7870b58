"""`make demo`: a local environment with hiq in it, and the shop traced in it.

Where OTEL_EXPORTER_OTLP_ENDPOINT is set, the spans go there as well as into the file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from house.environments import install_wheel, make_environment
from house.interpreters import Interpreter, this_interpreter
from house.places import REPOSITORY
from house.step import StepError, end_with, run_openly, say
from house.wheels import release_wheel

FOLDER = REPOSITORY / ".venv"
OUTPUT = Path("demo-out", "trace.otlp.jsonl")


def main() -> int:
    interpreter = this_interpreter()
    try:
        wheel = release_wheel(interpreter)
        python = local_environment(interpreter)
        install_wheel(python, wheel)
        command = traced_shop(python.relative_to(REPOSITORY))
        run_openly(f"running {' '.join(command)}", command)
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
            f"{FOLDER} is not of Python {interpreter.version}: delete it, or give make PYTHON=..."
        )
    return python


def traced_shop(python: Path) -> list[str]:
    """The command that anybody could type."""
    file = REPOSITORY / OUTPUT
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)
    endpoint = os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return [
        *(f"./{python}", "-m", "hiq", "run", "--service-name", "shop"),
        *("--conf", "examples/shop/shop.yaml", "--file", str(OUTPUT)),
        *(("--endpoint", endpoint) if endpoint else ()),
        "examples/demo.py",
    ]


if __name__ == "__main__":
    sys.exit(main())
