"""`python -m hiq convert`: every format in, every format out, by what a traced program noted itself."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any

import hiq
import pytest
from conftest import PACKAGE_FOLDER
from hiq import _hiq

Spans = list[tuple[str, str, dict[str, Any]]]


def convert(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hiq", "convert", *map(str, arguments)]
    environment = {"PYTHONPATH": PACKAGE_FOLDER, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


@pytest.fixture
def traced(tmp_path: Path) -> tuple[Path, Spans]:
    """OTLP JSON lines of a traced program, and what it noted: name, parent's name, attributes."""
    file = tmp_path / "spans.jsonl"
    noted: Spans = []
    hiq.init("shop", exporters=[hiq.FileExporter(file)])
    for order in range(50):
        with hiq.trace("order", number=order):
            noted.append(("order", "", {"number": order}))
            for item in ['Ä "quoted"\n', "b"]:
                with hiq.trace("item", label=item, price=order / 3, sold=True):
                    noted.append(("item", "order", {"label": item, "price": order / 3, "sold": True}))
    hiq.shutdown(60)
    return file, noted


def found(path: Path) -> Spans:
    """The same of a file of OTLP JSON lines."""
    spans: dict[str, Any] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        for group in json.loads(line)["resourceSpans"]:
            names = [
                a["value"].get("stringValue") for a in group["resource"]["attributes"] if a["key"] == "service.name"
            ]
            assert names == ["shop"]
            for scope in group["scopeSpans"]:
                spans.update({span["spanId"]: span for span in scope["spans"]})
    return [
        (span["name"], spans[span["parentSpanId"]]["name"] if "parentSpanId" in span else "", attributes(span))
        for span in sorted(spans.values(), key=lambda span: (int(span["startTimeUnixNano"]), span["name"] == "item"))
    ]


def attributes(span: Any) -> dict[str, Any]:
    return {each["key"]: plain(each["value"]) for each in span.get("attributes", [])}


def plain(value: dict[str, Any]) -> Any:
    [(kind, inner)] = value.items()
    return int(inner) if kind == "intValue" else inner


@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a.binpb", "a.binpb.gz", "a.pftrace", "a.jsonl"])
def test_there_and_back_again_nothing_is_lost(tmp_path: Path, traced: tuple[Path, Spans], name: str) -> None:
    file, noted = traced
    there = convert(file, tmp_path / name)
    assert (there.returncode, there.stderr) == (0, "")
    assert there.stdout.startswith(f"{len(noted)} spans in ")
    back = tmp_path / "back.otlp.json"
    done = convert(tmp_path / name, back)
    assert (done.returncode, done.stderr) == (0, "")
    assert found(back) == noted
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"spans.jsonl", name, "back.otlp.json"})


@dataclass(frozen=True)
class Planned:
    """A span as the test thinks of it; times in microseconds, as Zipkin and Jaeger have them."""

    trace_id: str
    id: str
    parent_id: str
    name: str
    start: int
    duration: int
    note: str


def planned(traces: int) -> Iterator[list[Planned]]:
    """Traces of a parent and two children."""
    random = Random(7)
    for number in range(traces):
        trace_id = f"{random.getrandbits(127) + 1:032x}"
        ids = [f"{random.getrandbits(63) + 1:016x}" for _ in range(3)]
        start = 1_700_000_000_000_000 + number * 1_000
        yield [
            Planned(
                trace_id, id_, "" if place == 0 else ids[0], f"step {place}", start + place, 900 // (place + 1), note
            )
            for place, (id_, note) in enumerate(zip(ids, ["a ] in \\ text", "}, {", "Ä" * 20], strict=True))
        ]


def zipkin(span: Planned, **own: Any) -> dict[str, Any]:
    parent = {"parentId": span.parent_id} if span.parent_id else {}
    common = {
        "traceId": span.trace_id,
        "id": span.id,
        "name": span.name,
        "timestamp": span.start,
        "duration": span.duration,
    }
    return parent | common | own


def zipkin_v2(span: Planned) -> dict[str, Any]:
    return zipkin(span, localEndpoint={"serviceName": "shop"}, tags={"note": span.note})


def zipkin_v1(span: Planned) -> dict[str, Any]:
    pairs = [("lc", ""), ("note", span.note)]
    endpoint = {"serviceName": "shop"}
    return zipkin(span, binaryAnnotations=[{"key": key, "value": value, "endpoint": endpoint} for key, value in pairs])


def jaeger(span: Planned) -> dict[str, Any]:
    parent = {"refType": "CHILD_OF", "traceID": span.trace_id, "spanID": span.parent_id}
    return {
        "traceID": span.trace_id,
        "spanID": span.id,
        "operationName": span.name,
        "references": [parent] if span.parent_id else [],
        "startTime": span.start,
        "duration": span.duration,
        "tags": [{"key": "note", "type": "string", "value": span.note}],
        "logs": [],
        "processID": "p1",
    }


def document(format_: str, planned_traces: Iterable[list[Planned]]) -> str:
    traces = list(planned_traces)
    if format_ == "zipkin-json":
        return json.dumps([zipkin_v2(span) for trace in traces for span in trace], indent=1)
    if format_ == "zipkin-json-v1":
        return json.dumps([zipkin_v1(span) for trace in traces for span in trace])
    if format_ == "zipkin answer":
        return json.dumps([[zipkin_v2(span) for span in trace] for trace in traces])
    data = [
        {
            "traceID": trace[0].trace_id,
            "spans": [jaeger(span) for span in trace],
            "processes": {"p1": {"serviceName": "shop", "tags": []}},
        }
        for trace in traces
    ]
    return json.dumps({"data": data, "total": 0, "limit": 0, "offset": 0, "errors": None}, ensure_ascii=False)


@pytest.mark.parametrize(
    ("format_", "megabytes"),
    [
        ("zipkin-json", 0),
        ("zipkin-json", 18),
        ("zipkin-json-v1", 0),
        ("zipkin answer", 0),
        ("jaeger-json", 0),
        ("jaeger-json", 18),
    ],
)
def test_documents_of_zipkin_and_jaeger_of_any_length_are_read_to_the_last_span(
    tmp_path: Path, format_: str, megabytes: int
) -> None:
    few = len(document(format_, planned(100)))
    traces = list(planned(100 + 105 * megabytes * 1_000_000 // few))
    (tmp_path / "in.json").write_text(document(format_, traces), encoding="utf-8")
    assert (tmp_path / "in.json").stat().st_size >= megabytes * 1_000_000
    done = convert(tmp_path / "in.json", tmp_path / "out.jsonl")
    expected = {span.id: span for trace in traces for span in trace}
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{len(expected)} spans in ")
    arrived = set()
    for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines():
        for group in json.loads(line)["resourceSpans"]:
            for span in (span for scope in group["scopeSpans"] for span in scope["spans"]):
                want = expected[span["spanId"]]
                arrived.add(span["spanId"])
                assert (span["traceId"], span.get("parentSpanId", "")) == (want.trace_id, want.parent_id)
                assert (span["name"], attributes(span)["note"]) == (want.name, want.note)
                assert int(span["startTimeUnixNano"]) == want.start * 1_000
                assert int(span["endTimeUnixNano"]) == (want.start + want.duration) * 1_000
    assert arrived == expected.keys()


def test_several_files_become_one(tmp_path: Path, traced: tuple[Path, Spans]) -> None:
    file, noted = traced
    half = tmp_path / "half.jsonl"
    half.write_text(file.read_text())
    assert convert(file, half, tmp_path / "both.json").stdout.startswith(f"{2 * len(noted)} spans")
    events = json.loads((tmp_path / "both.json").read_text())["traceEvents"]
    assert sum(event["ph"] == "X" for event in events) == 2 * len(noted)


def rows(path: Path) -> dict[str, int]:
    """Slices by row, and that every flow has both its ends."""
    events = json.loads(path.read_text())["traceEvents"]
    ends = {ph: sorted(event["id"] for event in events if event["ph"] == ph) for ph in "sf"}
    assert ends["s"] == ends["f"]
    named = {(event["pid"], event["tid"]): event["args"]["name"] for event in events if event["name"] == "thread_name"}
    return Counter(named[event["pid"], event["tid"]] for event in events if event["ph"] == "X")


def test_a_thread_has_one_row_however_many_spans_it_has_and_whichever_way_they_came(tmp_path: Path) -> None:
    live = tmp_path / "live.json"

    def leaves() -> None:
        for _ in range(9_000):
            with hiq.trace("leaf"):
                pass

    def branches(levels: int) -> None:
        with hiq.trace("branch"):
            for _ in range(levels and 2):
                branches(levels - 1)

    hiq.init("shop", exporters=[hiq.ChromeExporter(live), hiq.FileExporter(tmp_path / "live.jsonl")])
    may_work = Event()
    with ThreadPoolExecutor(1, "worker") as pool:
        with hiq.trace("order"):
            # What hangs under a span goes by its clock, whereas roots look at the wall clock again, which may be set back.
            pool.submit(lambda: may_work.wait(60) and leaves())
            leaves()
            branches(11)
        may_work.set()
    hiq.shutdown(60)
    expected = {"MainThread": 1 + 9_000 + 2**12 - 1, "worker_0": 9_000}
    assert rows(live) == expected
    for source, name in [(live, "a.pftrace"), (tmp_path / "a.pftrace", "b.json")]:
        assert convert(source, tmp_path / name).returncode == 0
    assert rows(tmp_path / "b.json") == expected
    # OTLP does not say which threads there were: these two were not at work at once.
    assert convert(tmp_path / "live.jsonl", tmp_path / "c.json").returncode == 0
    assert rows(tmp_path / "c.json") == {"track": sum(expected.values())}


def test_a_tree_of_hiq_becomes_spans(tmp_path: Path) -> None:
    tree = hiq.Tree()
    for name, value in [("outer", 1_700_000_000.25), ("inner", 1_700_000_000.5)]:
        tree.start(name, value)
    for name, value in [("inner", 1_700_000_000.75), ("outer", 1_700_000_001.0)]:
        tree.end(name, value)
    (tmp_path / "tree.txt").write_text(tree.repr())
    assert convert(tmp_path / "tree.txt", tmp_path / "a.jsonl").returncode == 0
    [line] = (tmp_path / "a.jsonl").read_text().splitlines()
    spans = json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    by_name = {span["name"]: span for span in spans}
    assert by_name["inner"]["parentSpanId"] == by_name["outer"]["spanId"]
    assert by_name["outer"]["startTimeUnixNano"] == "1700000000250000000"
    assert by_name["inner"]["endTimeUnixNano"] == "1700000000750000000"


def test_a_file_that_was_cut_gives_what_is_whole_and_says_where_and_what_to_do(
    tmp_path: Path, traced: tuple[Path, Spans]
) -> None:
    file, _ = traced
    for name in ["a.json", "a.binpb"]:
        assert convert(file, tmp_path / name).returncode == 0
        whole = (tmp_path / name).read_bytes()
        cut = tmp_path / f"cut.{name}"
        cut.write_bytes(whole[:-100])
        done = convert(cut, tmp_path / "out.jsonl")
        assert done.returncode == 1
        assert f"{cut}: " in done.stderr
        assert ", byte " in done.stderr
        assert "what was read before is kept; get the whole file" in done.stderr
        assert (tmp_path / "out.jsonl").exists()
    assert "49 spans" not in done.stdout


def test_what_is_no_trace_is_said_by_name(tmp_path: Path) -> None:
    diary = tmp_path / "diary.txt"
    diary.write_text("dear diary")
    done = convert(diary, tmp_path / "missing.json", tmp_path / "out.json")
    assert done.returncode == 1
    assert f"{diary}: byte 0: this is none of the formats that hiq reads" in done.stderr
    assert "missing.json: cannot be read: No such file" in done.stderr
    assert json.loads((tmp_path / "out.json").read_text())["traceEvents"] == []


def test_usage_is_checked(tmp_path: Path) -> None:
    for arguments, words in [
        (["one.json"], "a file to read and one to write are needed"),
        (["a.json", "a.json"], "cannot be read and written at once"),
        (["--from", "diary", "a", "b"], "invalid choice: 'diary'"),
        (["--to", "pigeon", "a"], "`pigeon` is not an exporter"),
    ]:
        done = convert(*arguments)
        assert done.returncode == 2
        assert words in done.stderr
    help_text = convert("--help").stdout
    for name in [*_hiq.convert_formats()[0], *_hiq.convert_formats()[1]]:
        assert name in help_text


class Backend(BaseHTTPRequestHandler):
    bodies: list[bytes] = []  # noqa: RUF012 (one test uses it)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def backend() -> Iterator[str]:
    Backend.bodies.clear()
    with HTTPServer(("127.0.0.1", 0), Backend) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_backend_gets_what_the_file_holds(traced: tuple[Path, Spans], backend: str) -> None:
    file, noted = traced
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}
    done = convert("--to", "otlp", file, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    received = file.with_name("received.jsonl")
    received.write_bytes(b"\n".join(Backend.bodies))
    assert found(received) == noted


@pytest.fixture
def large(tmp_path: Path) -> Path:
    event = '{"ph":"X","name":"f","pid":1,"tid":1,"ts":%d,"dur":1},\n'
    file = tmp_path / "large.json"
    file.write_text("[" + "".join(event % time for time in range(0, 1_200_000, 2)) + "{}]")
    return file


def test_an_interrupt_ends_it(tmp_path: Path, large: Path) -> None:
    def interrupt(read: int, size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _hiq.convert([large, large], tmp_path / "out.json", progress=interrupt)
    assert list(tmp_path.iterdir()) == [large]


@pytest.mark.parametrize("when", ["at once", "later", "while nothing comes"])
def test_ctrl_c_ends_it_at_any_time_and_nothing_is_left_behind(tmp_path: Path, large: Path, when: str) -> None:
    out, standing = tmp_path / "out.json", tmp_path / "standing.json"
    standing.write_text("here already")
    names = [str(large)] * 40 if when != "while nothing comes" else [str(large), "-"]
    (tmp_path / "tmp").mkdir()
    for path in [out, standing]:
        process = subprocess.Popen(
            [sys.executable, "-m", "hiq", "convert", *names, str(path)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": PACKAGE_FOLDER, "TMPDIR": str(tmp_path / "tmp")},
        )
        with process:
            # Whether it writes shows in the folder.
            while when != "at once" and not list(tmp_path.glob(f".{process.pid}-*")):
                assert process.poll() is None
            if when == "at once":
                # Then it reads what it was given.
                wait_until_open(process.pid, large)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (130, f"hiq: interrupted; nothing was written to {path}\n")
    assert sorted(tmp_path.iterdir()) == sorted([large, standing, tmp_path / "tmp"])
    assert list((tmp_path / "tmp").iterdir()) == []
    assert standing.read_text() == "here already"


def wait_until_open(pid: int, path: Path) -> None:
    def opened() -> Iterator[str]:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield os.readlink(link)

    while str(path) not in opened():
        assert Path(f"/proc/{pid}").exists()


def test_what_is_there_gives_way_only_to_all_that_was_to_be_read(tmp_path: Path, traced: tuple[Path, Spans]) -> None:
    file, noted = traced
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(file.read_bytes()[:-100])
    for name in ["standing.jsonl", "standing.json", "standing.pftrace.gz"]:
        standing = tmp_path / name
        standing.write_text("here already")
        standing.chmod(0o640)
        for bad in [tmp_path / "missing", cut]:
            done = convert(bad, standing)
            assert (done.returncode, done.stdout) == (1, "")
            assert f"{standing} stays as it was, since not all could be read; name another file" in done.stderr
            assert standing.read_text() == "here already"
        assert convert(file, standing).returncode == 0
        assert standing.stat().st_mode & 0o777 == 0o640
        assert convert(standing, tmp_path / "back.otlp.json").returncode == 0
        assert found(tmp_path / "back.otlp.json") == noted
        (tmp_path / "back.otlp.json").unlink()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_behind_a_link_the_file_is_replaced_and_the_link_stays(tmp_path: Path, traced: tuple[Path, Spans]) -> None:
    file, noted = traced
    (tmp_path / "elsewhere").mkdir()
    for name, content in [("there.jsonl", "here already"), ("not there.jsonl", None)]:
        target, link = tmp_path / "elsewhere" / name, tmp_path / name
        if content is not None:
            target.write_text(content)
        link.symlink_to(Path("elsewhere") / name)
        assert convert(file, link).returncode == 0
        assert link.is_symlink()
        assert found(target) == noted
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["spans.jsonl", "elsewhere", "there.jsonl", "not there.jsonl"]
    )


@pytest.mark.parametrize("out", ["folder", "no folder/out.json", "nameless/.."])
def test_where_no_file_can_be_is_said_before_anything_is_read(tmp_path: Path, out: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "never written")
    done = convert(tmp_path / "never written", tmp_path / out)
    assert done.returncode == 2
    assert "cannot be written: " in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "never written"]


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_pipes_and_sockets_are_written_to(tmp_path: Path, traced: tuple[Path, Spans], kind: str) -> None:
    file, noted = traced
    out, received = tmp_path / "out.jsonl", tmp_path / "received"
    if kind == "pipe":
        os.mkfifo(out)
        reader = Thread(target=lambda: received.write_bytes(out.read_bytes()))
    else:
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(out))
        server.listen()

        def serve() -> None:
            with server, server.accept()[0] as peer, peer.makefile("rb") as stream:
                received.write_bytes(stream.read())

        reader = Thread(target=serve)
    reader.start()
    before = out.lstat()
    done = convert(file, out, TMPDIR=str(tmp_path))
    reader.join()
    assert (done.returncode, done.stderr) == (0, "")
    assert found(received) == noted
    assert (out.lstat().st_ino, out.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "received", "spans.jsonl"]


def test_a_device_that_is_full_is_told_and_stays(tmp_path: Path, traced: tuple[Path, Spans]) -> None:
    # A link: should the device be replaced after all, it is only this.
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    done = convert(traced[0], full)
    assert done.returncode == 1
    assert f"{full} cannot be written: No space left on device" in done.stderr
    assert stat.S_ISCHR(full.stat().st_mode)


def test_a_dash_is_standard_input_and_output(tmp_path: Path, traced: tuple[Path, Spans]) -> None:
    file, noted = traced
    command = [sys.executable, "-m", "hiq", "convert"]
    environment = {"PYTHONPATH": PACKAGE_FOLDER, "TMPDIR": str(tmp_path)}

    def run(*arguments: str, given: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*command, *arguments], input=given, capture_output=True, env=environment, cwd=tmp_path, check=False
        )

    there = run("--to-format", "perfetto", "-", "-", given=file.read_bytes())
    assert (there.returncode, there.stderr) == (0, f"{len(noted)} spans in 50 trees to -\n".encode())
    back = run("--from", "perfetto", "-", "back.jsonl", given=gzip.compress(there.stdout))
    assert (back.returncode, back.stderr) == (0, b"")
    assert found(tmp_path / "back.jsonl") == noted
    refused = run("-", "-", given=b"")
    assert refused.returncode == 2
    assert b"`-` does not say a format; add --to-format with one of chrome, " in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.jsonl", "spans.jsonl"]


def test_a_bad_line_costs_no_other_and_is_told_with_its_number(tmp_path: Path, traced: tuple[Path, Spans]) -> None:
    file, noted = traced
    request = json.loads(file.read_text())
    [scope] = request["resourceSpans"][0]["scopeSpans"]
    lines = []
    for number in range(0, len(scope["spans"]), 3):
        resource = request["resourceSpans"][0]["resource"]
        some = [{"resource": resource, "scopeSpans": [scope | {"spans": scope["spans"][number : number + 3]}]}]
        lines.append(json.dumps({"resourceSpans": some}))
    assert len(lines) == 50
    whole = file.with_name("whole.jsonl")
    whole.write_text("\n".join(lines))
    assert convert(whole, tmp_path / "whole.out.jsonl").returncode == 0
    assert found(tmp_path / "whole.out.jsonl") == noted
    for bad in [[1], [3, 7, 50], [2, 4, 6, 8, 10, 12, 14]]:
        damaged = [line[: len(line) // 2] if number in bad else line for number, line in enumerate(lines, start=1)]
        whole.write_text("\n".join(damaged) + "\n")
        out = tmp_path / f"{len(bad)}.jsonl"
        done = convert(whole, out)
        assert done.returncode == 1
        assert done.stdout.startswith(f"{len(noted) - 3 * len(bad)} spans in ")
        left = [
            span
            for number, order in enumerate(zip(*[iter(noted)] * 3, strict=True), 1)
            for span in order
            if number not in bad
        ]
        assert found(out) == left
        for number in bad[:5]:
            assert f"hiq: {whole}: line {number} is left out: OTLP JSON, byte " in done.stderr
        assert ("2 more lines are left out" in done.stderr) == (len(bad) == 7)


def test_text_for_the_eye_is_told_from_the_text_that_can_be_read(tmp_path: Path) -> None:
    tree = hiq.Tree()
    tree.start("outer", 1_700_000_000.25)
    tree.end("outer", 1_700_000_001.0)
    program = "import hiq; tree = hiq.Tree(); tree.start('a', 1.5); tree.end('a', 2.5); tree.show()"
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, env={"PYTHONPATH": PACKAGE_FOLDER}, check=True
    )
    (tmp_path / "shown.txt").write_bytes(shown.stdout)
    done = convert(tmp_path / "shown.txt", tmp_path / "a.jsonl")
    assert done.returncode == 1
    assert (
        "this is what `show()` prints, which cannot be read back; keep the text that begins with `t1^`" in done.stderr
    )
    bad = f"{tree.repr()}\nt1^nothing\n{tree.repr()}\n"
    (tmp_path / "lines.txt").write_text(bad)
    done = convert(tmp_path / "lines.txt", tmp_path / "b.jsonl")
    assert "lines.txt: line 2 is left out: " in done.stderr
    assert done.stdout.startswith("2 spans in 2 trees")


@pytest.mark.parametrize("time", ["nan", "-5", "1e300", "inf", "soon"])
def test_a_base_time_that_is_no_time_is_a_matter_of_usage(tmp_path: Path, time: str) -> None:
    done = convert(f"--base-time={time}", "a.json", "b.json")
    assert done.returncode == 2
    assert "argument --base-time: " in done.stderr
    assert time in done.stderr
    assert "Traceback" not in done.stderr


def test_a_large_file_tells_how_far_it_is(tmp_path: Path, large: Path) -> None:
    told: list[tuple[int, int]] = []
    result = _hiq.convert([large], tmp_path / "out.pftrace", progress=lambda read, size: told.append((read, size)))
    assert (result["spans"], result["problems"], result["is_written"]) == (600_000, [], True)
    assert told == sorted(told)
    assert {size for _, size in told} == {large.stat().st_size}
