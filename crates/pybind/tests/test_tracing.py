"""The modern face: init, spans by hand, executors, logging, ids in and out."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import json
import logging
import os
import secrets
import subprocess
import sys
import threading
from pathlib import Path

import hiq
import pytest
from conftest import PACKAGE_FOLDER, plain_environment, python
from hiq import executors
from hiq.testing import InMemoryExporter


@pytest.fixture
def spans():
    with InMemoryExporter() as exporter:
        yield exporter


def edges(spans) -> list[tuple[str, str | None]]:
    """(name, name of the parent) of each span, by start."""
    ordered = sorted(spans, key=lambda span: span["start_unix_nanos"])
    names = {span["span_id"]: span["name"] for span in ordered}
    return [(span["name"], names.get(span["parent_span_id"])) for span in ordered]


# --- init -----------------------------------------------------------------------------------------


def test_init_twice_with_the_same_settings_does_nothing_with_others_it_is_refused() -> None:
    hiq.init("shop", exporters=["memory"])
    hiq.init("shop", exporters=["memory"])
    with pytest.raises(hiq.ConfigError, match=r"shutdown\(\) first"):
        hiq.init("other", exporters=["memory"])
    assert hiq.shutdown(60)
    hiq.init("other", exporters=["memory"])


def test_init_takes_resource_and_service_and_tells_the_interpreter() -> None:
    exporter = InMemoryExporter()
    hiq.init("shop", exporters=[exporter], resource={"team": "billing", "process.runtime.name": "mine"})
    exporter.clear()
    with hiq.trace("work"):
        pass
    (span,) = exporter.spans()
    assert span["resource"]["service.name"] == "shop"
    assert span["resource"]["team"] == "billing"
    assert span["resource"]["process.runtime.name"] == "mine"
    assert span["resource"]["process.runtime.version"] == sys.version.split()[0]
    assert span["resource"]["process.pid"] == os.getpid()
    assert span["resource"]["telemetry.sdk.language"] == "python"


SAID_ALWAYS = {
    "service.name",
    "service.instance.id",
    "telemetry.sdk.name",
    "telemetry.sdk.language",
    "telemetry.sdk.version",
}


def resource_of_a_span(**settings) -> dict[str, object]:
    exporter = InMemoryExporter()
    hiq.init("shop", exporters=[exporter], **settings)
    exporter.clear()
    with hiq.trace("work"):
        pass
    (span,) = exporter.spans()
    hiq.shutdown(60)
    return span["resource"]


def test_only_what_the_chosen_detectors_find_out_is_told_beside_the_service() -> None:
    assert set(resource_of_a_span(resource_detectors=[])) == SAID_ALWAYS
    assert set(resource_of_a_span(resource_detectors="otel, os")) == SAID_ALWAYS | {"os.type"}
    of_process = set(resource_of_a_span(resource_detectors=["process"])) - SAID_ALWAYS
    assert {key.split(".")[0] for key in of_process} == {"process"}
    assert {"process.pid", "process.command", "process.runtime.name"} <= of_process
    everything = set(resource_of_a_span())
    assert everything == set(resource_of_a_span(resource_detectors=["*"]))
    assert of_process | {"host.name", "os.type"} <= everything
    own = resource_of_a_span(resource_detectors=[], resource={"process.runtime.name": "mine"})
    assert own["process.runtime.name"] == "mine", "what the program says itself stays"


def test_a_detector_that_nobody_has_is_refused_in_code_and_told_of_in_the_environment(tmp_path: Path) -> None:
    with pytest.raises(hiq.ConfigError, match=r"resource_detectors: `gcp` is not known; known are process, host, os"):
        hiq.init(resource_detectors=["gcp"])
    code = """
import hiq
from hiq.testing import InMemoryExporter
with InMemoryExporter() as spans:
    pass
hiq.init("shop", exporters=[spans])
with hiq.trace("work"):
    pass
(span,) = spans
print(*sorted(key for key in span["resource"] if key.startswith(("process", "host", "os", "container"))))
"""
    variable = "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS"
    run = python("-c", code, folder=tmp_path, **{variable: "gcp,os"})
    assert (run.stdout, run.returncode) == ("os.type\n", 0)
    (line,) = run.stderr.splitlines()
    assert f"{variable}: `gcp` is not known here and is left out; known: process, host, os, container" in line
    run = python("-c", code, folder=tmp_path, **{variable: "otel"})
    assert (run.stdout, run.stderr) == ("\n", "")


def test_init_declares_functions(program) -> None:
    module = program("def job():\n    log.append('job')\n")
    exporter = InMemoryExporter()
    hiq.init(exporters=[exporter], conf=[[module.__name__, "", "job", "job"]])
    exporter.clear()
    module.job()
    assert [span["name"] for span in exporter] == [f"__{name}" for name in module.log]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"exporters": ["pigeon"]}, "pigeon"),
        ({"sampler": "sometimes"}, "sometimes"),
        ({"traceparent": "00-zz"}, "traceparent"),
        ({"max_queue_spans": -1}, "max_queue_spans"),
        ({"exporters": ["memory"], "endpoint": "http://localhost:1"}, "OtlpExporter"),
        ({"exporters": [{"path": "x"}]}, "type"),
    ],
)
def test_wrong_settings_are_refused_by_init(arguments: dict, said: str) -> None:
    with pytest.raises(hiq.ConfigError) as caught:
        hiq.init(**arguments)
    assert said in str(caught.value)
    hiq.init(exporters=["memory"])


def test_a_traceparent_given_to_init_is_every_roots_parent() -> None:
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    exporter = InMemoryExporter()
    hiq.init(exporters=[exporter], traceparent=f"00-{trace_id}-{span_id}-01")
    exporter.clear()
    with hiq.trace("root"):
        headers = hiq.inject()
        own = hiq.current_span().span_id
    (span,) = exporter.spans()
    assert (span["trace_id"], span["parent_span_id"]) == (trace_id, span_id)
    assert headers["traceparent"] == f"00-{trace_id}-{own}-01"


def test_warnings_about_the_environment_go_to_the_log(tmp_path: Path) -> None:
    code = "import hiq; hiq.init(exporters=['memory'])"
    run = python("-c", code, folder=tmp_path, OTEL_BSP_SCHEDULE_DELAY="soon", OTEL_TRACES_SAMPLER="xray")
    assert run.returncode == 0
    assert "OTEL_BSP_SCHEDULE_DELAY" in run.stderr
    assert "OTEL_TRACES_SAMPLER" in run.stderr
    run = python("-c", code, folder=tmp_path, OTEL_BSP_SCHEDULE_DELAY="soon", OTEL_LOG_LEVEL="none")
    assert run.stderr == ""


def test_the_memory_exporter_leaves_nothing_running_and_its_spans_readable() -> None:
    with InMemoryExporter() as spans:
        with hiq.trace("inside"):
            pass
        assert hiq.stats()
    with hiq.trace("outside"):
        pass
    assert [span["name"] for span in spans] == ["inside"]
    assert len(spans.named("inside")) == len(spans) == 1
    assert hiq.stats() == {}
    hiq.init("shop", exporters=["memory"])
    with InMemoryExporter():
        pass
    assert list(hiq.stats()) == ["memory"]


def test_each_memory_exporter_that_is_entered_has_its_own_spans() -> None:
    @hiq.trace
    def work(x: int) -> int:
        return x

    with InMemoryExporter() as outer:
        work(1)
        with InMemoryExporter() as inner:
            work(2)
            inner.clear()
            work(3)
        work(4)
        assert len(outer) == 4
        assert inner.spans() == [outer.spans()[2]]
        assert inner.encoded("otlp-proto").count(b"test_tracing.py") == 1
    assert len(outer) == 4, "readable after the end"


def test_a_class_is_refused_by_name_instead_of_being_replaced() -> None:
    class Basket:
        pass

    with pytest.raises(TypeError, match=r"a name or a function, and Basket is a class; put it above the methods"):
        hiq.trace(Basket)


SUB_INTERPRETER = """
import _xxsubinterpreters as interpreters
code = "try: import hiq\\nexcept ImportError as error: print(error, flush=True)"
interpreters.run_string(interpreters.create(), code)
import hiq
print(hiq.trace(len)("four"))
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the interpreter itself refuses it")
def test_a_sub_interpreter_is_refused_where_it_would_wait_for_ever(tmp_path: Path) -> None:
    run = python("-c", SUB_INTERPRETER, folder=tmp_path)
    assert run.stdout.splitlines() == [
        "hiq works in the main interpreter only, before Python 3.12; under mod_wsgi set `WSGIApplicationGroup %{GLOBAL}`",
        "4",
    ], run.stderr


def test_a_driver_that_has_no_room_for_all_spans_says_how_many_have_gone(program, caplog) -> None:
    module = program("def work(): pass")
    calls = 1_000_250
    with hiq.HiQLatency([[module.__name__, "", "work", "work"]], max_hiq_size=2 * calls) as driver:
        for _ in range(calls):
            module.work()
        held = driver._native.spans
        # As `show` does, which would print a million lines.
        driver._say_outgrown()
    assert held <= 1_000_000
    assert f"{calls - held} older ones have gone for newer ones" in caplog.text


def test_the_ledger_balances() -> None:
    hiq.init(exporters=["memory"])
    for _ in range(100):
        with hiq.trace("outer"), hiq.trace("inner"):
            pass
    assert hiq.flush(60)
    (ledger,) = hiq.stats().values()
    assert ledger["offered"] == 200
    accounted = sum(
        ledger[key] for key in ("exported", "sent_unconfirmed", "rejected", "queued", "in_flight", "spooled")
    )
    assert ledger["offered"] + ledger["recovered"] == accounted + sum(ledger["dropped"].values())


# --- threads and executors --------------------------------------------------------------------------


def test_work_in_a_thread_pool_is_a_child_of_the_span_that_submitted_it(spans) -> None:
    def work(number: int) -> str:
        with hiq.trace(f"work {number}"):
            return threading.current_thread().name

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        outside = pool.submit(work, 0)
        with hiq.trace("first"):
            first = [pool.submit(work, 1), *pool.map(work, [2, 3])]
        with hiq.trace("second"):
            second = pool.submit(work, 4)
    assert outside.result() != threading.current_thread().name
    assert first[0].result()
    assert second.result()
    assert sorted(edges(spans)) == [
        ("first", None), ("second", None), ("work 0", None),
        ("work 1", "first"), ("work 2", "first"), ("work 3", "first"), ("work 4", "second"),
    ]  # fmt: skip


def test_run_in_executor_and_to_thread_carry_the_parent(spans) -> None:
    def work(name: str) -> None:
        with hiq.trace(name):
            pass

    @hiq.trace("task")
    async def task(number: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, work, f"executor {number}")
        await asyncio.to_thread(work, f"thread {number}")

    async def main() -> None:
        await asyncio.gather(*(task(number) for number in range(3)))

    asyncio.run(main())
    parents = dict(edges(spans))
    assert set(parents) == {"task", *(f"{kind} {n}" for kind in ("executor", "thread") for n in range(3))}
    by_name = {span["name"]: span for span in spans if span["name"] != "task"}
    for number in range(3):
        assert by_name[f"executor {number}"]["parent_span_id"] == by_name[f"thread {number}"]["parent_span_id"]
    assert len({by_name[f"thread {number}"]["parent_span_id"] for number in range(3)}) == 3


def test_results_and_exceptions_of_executors_are_untouched(spans) -> None:
    error = ValueError("mine")

    def fails() -> None:
        raise error

    with concurrent.futures.ThreadPoolExecutor(1) as pool, hiq.trace("outer"):
        future = pool.submit(fails)
        assert pool.submit(lambda *a, **k: (a, k), 1, fn=2, self=3).result() == ((1,), {"fn": 2, "self": 3})
        caught = future.exception()
    assert caught is error
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(Path(trace.tb_frame.f_code.co_filename).name)
        trace = trace.tb_next
    # The pool's own frames, one or two by version, then the function's: none of ours.
    assert [name for name, _ in itertools.groupby(frames)] == ["thread.py", Path(__file__).name]


def test_the_executors_original_comes_back() -> None:
    executors.remove()
    original = concurrent.futures.ThreadPoolExecutor.submit
    executors.install()
    executors.install()
    assert concurrent.futures.ThreadPoolExecutor.submit is not original
    executors.remove()
    assert concurrent.futures.ThreadPoolExecutor.submit is original


# --- logging ----------------------------------------------------------------------------------------


def test_log_records_carry_the_ids_of_the_current_span(spans, caplog) -> None:
    caplog.set_level("INFO")
    before = logging.getLogRecordFactory()
    hiq.install_log_ids()
    hiq.install_log_ids()
    try:
        logging.getLogger("shop").info("outside")
        with hiq.trace("outer"), hiq.trace("inner"):
            logging.getLogger("shop").info("inside")
        text = logging.Formatter("%(otelTraceID)s/%(otelSpanID)s %(message)s").format(caplog.records[1])
    finally:
        hiq.remove_log_ids()
    inner = next(span for span in spans if span["name"] == "inner")
    outside, inside = caplog.records
    assert (outside.otelTraceID, outside.otelSpanID, outside.otelTraceSampled) == ("0", "0", False)
    assert (inside.otelTraceID, inside.otelSpanID) == (inner["trace_id"], inner["span_id"])
    assert text == f"{inner['trace_id']}/{inner['span_id']} inside"
    assert logging.getLogRecordFactory() is before


def test_a_log_record_factory_set_after_ours_stays() -> None:
    before = logging.getLogRecordFactory()
    hiq.install_log_ids()
    theirs = logging.LogRecord
    logging.setLogRecordFactory(theirs)
    hiq.remove_log_ids()
    assert logging.getLogRecordFactory() is theirs
    logging.setLogRecordFactory(before)


# --- the process ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_children_of_a_program_that_calls_init_itself_flush_at_their_end(method: str, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        f"""
import multiprocessing, os, hiq

hiq.init(exporters=[hiq.FileExporter({str(tmp_path / "spans.jsonl")!r})])

@hiq.trace("job")
def job(number):
    with open(f"log-{{os.getpid()}}", "a") as log:
        log.write("job\\n")

if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    for number in range(3):
        process = context.Process(target=job, args=(number,))
        process.start()
        process.join()
        assert process.exitcode == 0
    with context.Pool(2) as pool:
        pool.map(job, range(4))
        pool.close()
        pool.join()
""",
        encoding="utf-8",
    )
    run = python("main.py", folder=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    logs = {log.name.removeprefix("log-"): log.read_text().split() for log in tmp_path.glob("log-*")}
    recorded: dict[str, list[str]] = {}
    for line in (tmp_path / "spans.jsonl").read_text(encoding="utf-8").splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            pids = [i["value"]["intValue"] for i in resource["resource"]["attributes"] if i["key"] == "process.pid"]
            for scope in resource["scopeSpans"]:
                recorded.setdefault(str(pids[0]), []).extend(span["name"] for span in scope["spans"])
    assert recorded == logs
    assert sum(map(len, logs.values())) == 7


def test_importing_starts_nothing_and_loads_little(tmp_path: Path) -> None:
    code = """
import sys, threading, os
before = set(os.listdir("/proc/self/fd"))
import hiq
heavy = {"asyncio", "multiprocessing", "concurrent.futures.thread", "inspect", "json", "subprocess", "importlib.metadata",
         "psutil", "numpy", "socket", "ssl", "dataclasses"}
print(threading.active_count(), len(os.listdir("/proc/self/task")), sorted(heavy & sys.modules.keys()))
print(set(os.listdir("/proc/self/fd")) - before)
"""
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env=plain_environment(PYTHONPATH=PACKAGE_FOLDER),
        capture_output=True,
        text=True,
    )
    assert run.stderr == ""
    assert run.stdout.splitlines() == ["1 1 []", "set()"]


def test_a_second_distribution_in_the_same_folder_is_told_of(tmp_path: Path) -> None:
    import shutil

    site = tmp_path / "site"
    shutil.copytree(Path(hiq.__file__).parent, site / "hiq", ignore=shutil.ignore_patterns("__pycache__"))
    run = subprocess.run([sys.executable, "-c", "import hiq"], env=plain_environment(PYTHONPATH=str(site)), text=True)
    assert run.returncode == 0
    (site / "hiq_python-1.1.14.dist-info").mkdir()
    run = subprocess.run(
        [sys.executable, "-c", "import hiq"],
        env=plain_environment(PYTHONPATH=str(site)),
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert last.startswith("ImportError: hiq-bridge and hiq-python are both installed in")
    assert "pip uninstall -y hiq-python hiq-bridge" in last


def test_all_names_are_there() -> None:
    for name in hiq.__all__:
        assert getattr(hiq, name) is not None
    assert json.dumps(hiq.TAU_TABLE_NIO_WRT) == '["requests", "", "post", "nio_wrt"]'
