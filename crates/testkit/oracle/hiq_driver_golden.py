"""Writes what Oracle HiQ 1.1.14 itself prints for the scenarios of `crates/pybind/tests/scenarios`.

    python hiq_driver_golden.py <folder of the scenarios> <golden file>

See README.md beside this file for the environment it needs. Each scenario runs in a process and a folder of its own; its
output is kept as it is, but for what no two runs share: the overhead and the folder.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile


def main(scenarios, golden):
    scenarios = pathlib.Path(scenarios).resolve()
    programs = [path for path in sorted(scenarios.glob("*.py")) if path.stem not in ("shop", "clock")]
    outputs = {path.stem: output_of(path) for path in programs}
    text = json.dumps(outputs, ensure_ascii=False, indent=1) + "\n"
    pathlib.Path(golden).write_text(text, encoding="utf-8")


def output_of(program):
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "HOME": folder,
            "PATH": os.environ["PATH"],
            "PYTHONIOENCODING": "utf-8",
            "PYTHONPATH": str(program.parent),
            "TZ": "UTC",
        }
        run = subprocess.run([sys.executable, program], cwd=folder, env=environment, stdout=subprocess.PIPE, check=True)
        return comparable(run.stdout.decode("utf-8"), program.parent)


def comparable(text, folder):
    text = re.sub(r"\[OH:\d+us\]", "[OH:?us]", text)
    return text.replace(str(folder), "SCENARIOS")


if __name__ == "__main__":
    main(*sys.argv[1:])
