"""What the tests share: traced programs that keep a log of their own, and runs of the command line."""

from __future__ import annotations

import importlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

# A switch of our own: the user's belongs to all of his processes, and another run may be turning it. Ours is a new
# folder's, named before hiq is loaded, which looks it up then.
_STATUS = tempfile.TemporaryDirectory(prefix="hiq-tests-")
os.environ["HIQ_STATUS_DIR"] = _STATUS.name
# A slow machine is no reason to lose spans at the end of a program: only tests of that end give it less time.
os.environ["HIQ_SHUTDOWN_TIMEOUT"] = "60000"
# A shell ignores interrupts on behalf of what it runs in the background, and all programs below would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import hiq  # noqa: E402
import pytest  # noqa: E402
from hiq import _hiq  # noqa: E402

SCENARIOS = Path(__file__).parent / "scenarios"
PACKAGE_FOLDER = str(Path(hiq.__file__).parent.parent)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Writes a module, imports it and gives it out; `log` in it is a list. Its name is new each time."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(source: str, name: str = "") -> ModuleType:
        name = name or f"program_{secrets.token_hex(6)}"
        (tmp_path / f"{name}.py").write_text("log = []\n" + textwrap.dedent(source), encoding="utf-8")
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("program_"):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def _no_pipeline_is_left() -> Iterator[None]:
    yield
    hiq.uninstrument()
    hiq.shutdown(1.0)


@pytest.fixture
def memory() -> Iterator[None]:
    """A pipeline of this process that keeps finished spans in memory."""
    _hiq.init({"exporters": ["memory"], "service_name": "tests"})
    _hiq.memory_spans(clear=True)
    yield
    _hiq.shutdown(60)
    _hiq.memory_spans(clear=True)


@pytest.fixture(params=["alone", "beside OpenTelemetry"])
def company(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, memory: None) -> str:
    """Whether the program has imported OpenTelemetry, next to which each piece of work has a fragment of its own."""
    if request.param == "alone":
        monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    else:
        importlib.import_module("opentelemetry.trace")
    # hiq looks when the number of modules has changed and a root begins.
    with hiq.trace("looks"):
        pass
    assert _hiq.flush(60)
    _hiq.memory_spans(clear=True)
    return request.param


def names(tree: Any) -> list[Any]:
    """A HiQ tree as nested lists: [name, children...] of each node, the virtual root left out."""
    return [branch(node) for node in tree.get_root().nodes]


def branch(node: Any) -> list[Any]:
    return [node.name, *(branch(child) for child in node.nodes)]


def plain_environment(**more: str) -> dict[str, str]:
    """Ours, without what would steer tracing, but with the tests' own switch."""
    foreign = ("OTEL_", "HIQ_", "TRACE", "PYTHONPATH", "WIDE_OUTPUT", "LMK", "JACK", "LOG_MONKEY")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    ours = {name: os.environ[name] for name in ("HIQ_STATUS_DIR", "HIQ_SHUTDOWN_TIMEOUT")}
    return {**kept, **ours, "PYTHONIOENCODING": "utf-8", **more}


def python(*arguments: str | Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with hiq importable; paths in `PYTHONPATH` come first."""
    paths = [environment.pop("PYTHONPATH", ""), PACKAGE_FOLDER]
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=plain_environment(PYTHONPATH=os.pathsep.join(filter(None, paths)), **environment),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
