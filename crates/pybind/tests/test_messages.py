"""What is wrong in a call of `init` is told with its value, its place and what to write instead, before anything starts."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import hiq
import pytest
from conftest import PACKAGE_FOLDER, plain_environment, python
from hiq import _hiq

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"exporters": [3]}, "exporters[0]: int was given; give a name, an exporter, or a dict with its type"),
    (
        {"exporters": ["memory", hiq.OtlpExporter]},
        "exporters[1]: the class OtlpExporter was given; give a name, an exporter, or a dict with its type",
    ),
    ({"exporters": 3}, "exporters: int was given; give a list of exporters"),
    ({"exporters": {"type": "otlp"}}, "exporters: dict was given; give a list of exporters"),
    ({"exporters": [{"type": 3}]}, "exporters[type]: int was given; give a text"),
    ({"metrics": "otlp"}, "metrics: 'otlp' was given; give a list of exporters, ['otlp']"),
    ({"metrics": [None]}, "metrics[0]: NoneType was given; give a name, an exporter, or a dict with its type"),
    ({"headers": "api-key=geheim"}, "headers: str was given; give a dict of names and values"),
    ({"resource": {3: 4}}, "resource: int was given; give names of attributes as texts"),
    ({"resource": "a=b"}, "resource: str was given; give a dict of attributes"),
    ({"conf": "missing.yaml"}, "conf: there is no file 'missing.yaml'; give the path of one, or a list of rows"),
    ({"conf": Path("missing.yaml")}, "conf: there is no file 'missing.yaml'; give the path of one, or a list of rows"),
    ({"conf": 3}, "conf: int was given; give the path of a file, or a list of rows"),
    ({"conf": ["json.dumps"]}, "row 1: 'json.dumps' was given; give [module, class, function, name]"),
    ({"conf": [["json", "", "dumps", "d"], 3]}, "row 2: 3 was given; give [module, class, function, name]"),
    ({"sampler": "traceidratio", "sampler_arg": 7}, "sampler_arg: 7 is no share of the traces; give a number from 0 to 1"),
    ({"sampler_arg": 7}, "sampler_arg: 7 is no share of the traces; give a number from 0 to 1"),
    ({"sampler": "traceidratio", "sampler_arg": float("nan")}, "sampler_arg: NaN is no share of the traces"),
    ({"sampler_arg": 0.5}, 'sampler_arg: 0.5 was given, but no sampler; give sampler="parentbased_traceidratio" as well'),
    ({"sampler": "often"}, "sampler: `often` is not one of always_on, always_off, traceidratio"),
    ({"sampler": "xray"}, "sampler: this sampler asks a server and is not supported; give one that is"),
    ({"log_level": "loud"}, "log_level: `loud` is not one of none"),
    ({"max_queue_spans": -1}, "max_queue_spans: -1 was given; give a whole number of 1 or more"),
    ({"max_batch_spans": 10**30}, f"max_batch_spans: {10**30} was given; give a whole number of 1 or more"),
    ({"max_queue_spans": 1.5}, "max_queue_spans: float was given; give a whole number"),
    (
        {"service_name": "\ud800"},
        "service_name: the text holds half of a surrogate pair; give a text that can be written as UTF-8",
    ),
    ({"service_name": 3}, "service_name: int was given; give a text"),
    ({"schedule_delay_s": float("inf")}, "schedule_delay_s: inf is not a number of seconds; use a finite number, 0 or more"),
    ({"schedule_delay_s": -1}, "schedule_delay_s: -1 is not a number of seconds; use a finite number, 0 or more"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[message.partition(":")[0] for _, message in WRONG])
def test_what_is_wrong_is_a_config_error_with_value_place_and_fix(
    arguments: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # `headers` is short for an exporter, and stands alone.
    others: dict[str, Any] = {} if "headers" in arguments else {"exporters": []}
    with pytest.raises(hiq.ConfigError, match=re.escape(message)) as caught:
        hiq.init(**{**others, **arguments})
    assert "ignored" not in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert not _hiq.is_running()


def test_a_ratio_in_code_completes_the_sampler_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    hiq.init("shop", exporters=["memory"], sampler_arg=0.0)
    with hiq.trace("never"):
        pass
    assert hiq.flush(60)
    assert hiq.stats()["memory"]["sampled_out"] == 1


@pytest.mark.parametrize(
    ("variable", "place"),
    [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "exporters"),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "exporters"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "exporters"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "metrics"),
        ("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "metrics"),
    ],
)
def test_a_file_that_a_variable_names_is_refused_by_the_variable_s_name(
    variable: str, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, "/no/such/file.pem")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost")
    if variable.endswith("CLIENT_KEY"):
        certificate = tmp_path / "client.pem"
        certificate.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", encoding="utf-8")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(certificate))
    with pytest.raises(hiq.ConfigError, match=f"^{variable}: .*/no/such/file.pem"):
        hiq.init("shop", **{"exporters": [], place: ["otlp"]})
    with pytest.raises(hiq.ConfigError, match=r"^certificate: .*/none\.pem"):
        hiq.init("shop", exporters=[hiq.OtlpExporter("https://localhost", certificate="/none.pem")])


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("bogus", "OTEL_TRACES_EXPORTER: `bogus` is not known here, the default is used; known: otlp, "),
        ("bogus,memory", "OTEL_TRACES_EXPORTER: `bogus` is not known here, it is left out; known: otlp, "),
    ],
)
def test_what_is_used_in_the_place_of_an_unknown_exporter_is_said(named: str, said: str, tmp_path: Path) -> None:
    code = "import hiq; hiq.init('shop'); print(*hiq.stats())"
    run = python("-c", code, folder=tmp_path, OTEL_TRACES_EXPORTER=named)
    assert (run.returncode, run.stdout.split()) == (0, ["otlp" if named == "bogus" else "memory"])
    assert said in run.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /dev/full")
def test_why_a_file_cannot_be_written_is_said_and_not_guessed(tmp_path: Path) -> None:
    code = """
import hiq
hiq.init("shop", exporters=[hiq.FileExporter("/dev/full")])
with hiq.trace("order"): pass
"""
    run = python("-c", code, folder=tmp_path, HIQ_SHUTDOWN_TIMEOUT="200")
    (line,) = run.stderr.splitlines()
    assert "1 span lost at shutdown: /dev/full cannot be written: No space left on device" in line
    assert "?" not in line


def test_an_interrupt_during_the_end_of_the_program_ends_it(tmp_path: Path) -> None:
    code = """
import hiq
hiq.init("shop")
with hiq.trace("order"): pass
"""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "HIQ_SHUTDOWN_TIMEOUT": "600000"}
        program = subprocess.Popen(
            [sys.executable, "-c", code],
            env=plain_environment(PYTHONPATH=PACKAGE_FOLDER, **environment),
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        )
        # It sends nothing before its end: by then the program only waits.
        connection, _ = silent.accept()
        with connection:
            os.kill(program.pid, signal.SIGINT)
            _, said = program.communicate(timeout=60)
    assert program.returncode == 0
    assert said.splitlines()[-1].startswith("hiq: otlp exporter: 1 span lost at shutdown: ")
    assert "Traceback" not in said
