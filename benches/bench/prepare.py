"""Builds and installs what is measured: Rust programs, floors for each Python, environments."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.worker import Program
from house.environments import environment, install_wheel, make_environment
from house.interpreters import Interpreter, found_interpreters
from house.places import REPOSITORY, cargo_environment, clone_folder
from house.step import run_quietly, say

BENCHES = REPOSITORY / "benches"
WORKERS = BENCHES / "workers"
ORACLE_VERSION = "3.11"
# What resources tell beside the service and the SDK, by the variable that both sides read.
RESOURCES = {"": "otel", ", whole resource": "process,os,host"}


def wheels_in(place: Path) -> dict[Interpreter, Path]:
    """The newest wheel for each interpreter of this machine, that of the running one first."""
    files = sorted(place.glob("*.whl") if place.is_dir() else [place], key=_age)
    found = {
        interpreter: file
        for interpreter in found_interpreters()
        for file in files
        if f"-{interpreter.tag}-" in file.name
    }
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    return dict(sorted(found.items(), key=lambda item: item[0].minor != running))


def _age(file: Path) -> float:
    return file.stat().st_mtime


def native_programs() -> dict[str, Program]:
    """The Rust side: nothing of it depends on a Python."""
    _cargo("building the Rust benchmarks and their peers (minutes the first time)", "hiq-bench")
    programs = {
        name: Program(name, [_built("hiq-bench"), name])
        for name in (
            "encode",
            "compress",
            "jaeger",
            "zipkin",
            "record",
            "deliver",
            "metrics",
            "import",
            "kafka",
        )
    }
    programs["allocations"] = Program("allocations", [_built("hiq-bench-allocations")])
    return programs


def python_programs(
    wheels: dict[Interpreter, Path], endpoint: str, silent_endpoint: str
) -> dict[str, Program]:
    """For each interpreter that there is a wheel for: hiq, and OpenTelemetry."""
    programs: dict[str, Program] = {}

    def add(name: str, python: Path, script: str, **variables: str | Path) -> None:
        environment_ = {key: str(value) for key, value in variables.items()}
        environment_["PYTHONDONTWRITEBYTECODE"] = "1"
        programs[name] = Program(name, [python, WORKERS / script], environment_)

    for interpreter, wheel in wheels.items():
        version, python = interpreter.minor, _with_wheel(interpreter, wheel)
        floor = _floor(interpreter)
        ours = {"PYTHONPATH": floor, "HIQ_BENCH_ENDPOINT": endpoint}
        add(f"hiq {version}", python, "hiq_calls.py", **ours)
        by_monotonic = {**ours, "HIQ_CLOCK": "monotonic"}
        add(f"hiq {version} by CLOCK_MONOTONIC", python, "hiq_calls.py", **by_monotonic)
        without_answers = {**ours, "HIQ_BENCH_ENDPOINT": silent_endpoint}
        add(f"hiq {version}, silent server", python, "hiq_calls.py", **without_answers)
        add(f"hiq texts {version}", python, "hiq_texts.py")
        for resource, detectors in RESOURCES.items():
            name = f"hiq encodes {version}{resource}"
            add(name, python, "hiq_encodes.py", OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=detectors)
        silent = {"HIQ_BENCH_SILENT_ENDPOINT": silent_endpoint}
        add(f"hiq memory {version}", python, "hiq_memory.py", **silent)
        otel = environment("bench-otel", interpreter, BENCHES / "requirements-otel.txt")
        add(f"otel {version}", otel, "otel_calls.py")
        for resource, detectors in RESOURCES.items():
            name = f"otel encodes {version}{resource}"
            add(name, otel, "otel_encodes.py", OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=detectors)
    return programs


def bridge_program(
    wheels: dict[Interpreter, Path], endpoint: str, brokers: str
) -> dict[str, Program]:
    """`hiq bridge` under the main interpreter."""
    interpreter, wheel = next(iter(wheels.items()))
    name = f"hiq bridge {interpreter.minor}"
    environment_ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "HIQ_KAFKA_BROKERS": brokers}
    command = [_with_wheel(interpreter, wheel), WORKERS / "hiq_bridge.py"]
    return {name: Program(name, command, environment_)}


def oracle_programs() -> dict[str, Program]:
    """HiQ 1.1.14, which works on one version of Python only."""
    interpreters = [one for one in found_interpreters() if one.minor == ORACLE_VERSION]
    if not interpreters:
        say(f"HiQ 1.1.14 is left out: it needs CPython {ORACLE_VERSION}")
        return {}
    python = environment("bench-hiq", interpreters[0], BENCHES / "requirements-hiq.txt")
    return {
        f"oracle hiq{suffix}": Program(f"HiQ 1.1.14{suffix}", [python, WORKERS / script])
        for suffix, script in (
            ("", "oracle_hiq_calls.py"),
            (" texts", "oracle_hiq_texts.py"),
            (" memory", "oracle_hiq_memory.py"),
        )
    }


@contextmanager
def sink(*arguments: str) -> Iterator[str]:
    """A server that discards what it is sent, or, `silent`, takes it and never answers; its URL."""
    with _server(*arguments) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def broker() -> Iterator[str]:
    """librdkafka's mock of Kafka, with a topic that bridges read; its address."""
    with _server("kafka") as brokers:
        yield brokers


@contextmanager
def _server(*arguments: str) -> Iterator[str]:
    """What the server says about where it is."""
    with subprocess.Popen(
        [str(_built("hiq-bench")), "sink", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        place = server.stdout.readline().strip()
        try:
            yield place
        finally:
            server.stdin.close()


def _with_wheel(interpreter: Interpreter, wheel: Path) -> Path:
    folder = clone_folder(f"bench/venv-{interpreter.minor}")
    python = folder / "bin" / "python"
    if not python.exists():
        make_environment(folder, interpreter, with_pip=False)
    install_wheel(python, wheel)
    return python


def _floor(interpreter: Interpreter) -> Path:
    """A folder with the module `_floor` for this interpreter."""
    title = f"building the floor for Python {interpreter.version}"
    _cargo(title, "hiq-bench-hook", PYO3_PYTHON=str(interpreter.path))
    folder = clone_folder(f"bench/floor-{interpreter.minor}")
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "dylib" if sys.platform == "darwin" else "so"
    shutil.copy(_built(f"lib_floor.{suffix}"), folder / "_floor.so")
    return folder


def _cargo(title: str, package: str, **variables: str) -> None:
    manifest = BENCHES / "Cargo.toml"
    command = ["cargo", "build", "--release", "--package", package]
    run_quietly(
        title,
        [*command, "--manifest-path", manifest],
        env={**cargo_environment(), **variables},
    )


def _built(name: str) -> Path:
    return Path(cargo_environment()["CARGO_TARGET_DIR"], "release", name)
