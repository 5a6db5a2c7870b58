"""Headers in and out, beside OpenTelemetry's own propagators."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import random
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hiq
import pytest
from conftest import python
from flask import Flask
from hiq.testing import InMemoryExporter
from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.jaeger import JaegerPropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

ORACLES: dict[str, TextMapPropagator] = {
    "tracecontext": TraceContextTextMapPropagator(),
    "b3": B3SingleFormat(),
    "b3multi": B3MultiFormat(),
    "jaeger": JaegerPropagator(),
}
TRACE, SPAN, PARENT = "80f198ee56343ba864fe8b2a57d3eff7", "e457b5a2e4d86bd1", "05e3ac9a4f6e3b90"


def oracles_place(name: str, headers: dict[str, str]) -> tuple[str, str, bool] | None:
    context = trace.get_current_span(ORACLES[name].extract(headers)).get_span_context()
    if not context.is_valid:
        return None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}", context.trace_flags.sampled


def our_place(name: str, headers: Any) -> tuple[str, str, bool] | None:
    context = hiq.extract(headers, [name])
    # Where there are no ids, OpenTelemetry hears no decision.
    if not context:
        return None
    return (context.trace_id, context.span_id, context.trace_flags == 1)


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("tracecontext", {"traceparent": f"00-{TRACE}-{SPAN}-01"}),
        ("tracecontext", {"traceparent": f"00-{TRACE}-{SPAN}-00"}),
        ("tracecontext", {"traceparent": f"ff-{TRACE}-{SPAN}-01"}),
        ("tracecontext", {"traceparent": f"00-{TRACE}-{'0' * 16}-01"}),
        ("b3", {"b3": f"{TRACE}-{SPAN}-1-{PARENT}"}),
        ("b3", {"b3": f"{TRACE}-{SPAN}-0"}),
        ("b3", {"b3": f"{TRACE}-{SPAN}-d"}),
        ("b3", {"b3": f"{TRACE}-{SPAN}"}),
        ("b3", {"b3": f"{TRACE[16:]}-{SPAN}-1"}),
        ("b3", {"b3": "0"}),
        ("b3", {"b3": TRACE}),
        ("b3", {"b3": f"{TRACE}-{SPAN[1:]}-1"}),
        ("b3", {"b3": f"{'0' * 32}-{SPAN}-1"}),
        ("b3multi", {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-sampled": "1"}),
        ("b3multi", {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-sampled": "0"}),
        ("b3multi", {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN, "x-b3-flags": "1"}),
        ("b3multi", {"x-b3-traceid": TRACE[16:], "x-b3-spanid": SPAN, "x-b3-sampled": "true"}),
        ("b3multi", {"x-b3-traceid": TRACE, "x-b3-sampled": "1"}),
        ("b3multi", {"x-b3-spanid": SPAN, "x-b3-sampled": "1"}),
        ("b3multi", {"b3": f"{TRACE}-{SPAN}-0", "x-b3-traceid": "1" * 32, "x-b3-spanid": "2" * 16}),
        ("jaeger", {"uber-trace-id": f"{TRACE}:{SPAN}:{PARENT}:1"}),
        ("jaeger", {"uber-trace-id": f"{TRACE}:{SPAN}:0:0"}),
        ("jaeger", {"uber-trace-id": f"{TRACE}:{SPAN}:0:03"}),
        ("jaeger", {"uber-trace-id": f"{TRACE[20:]}:{SPAN[4:]}:0:1"}),
        ("jaeger", {"uber-trace-id": f"{TRACE}:{SPAN}:1"}),
        ("jaeger", {"uber-trace-id": f"{TRACE}:{SPAN}:0:what"}),
        ("jaeger", {"uber-trace-id": f"0:{SPAN}:0:1"}),
    ],
)
def test_headers_are_read_as_opentelemetry_reads_them(name: str, headers: dict[str, str]) -> None:
    assert our_place(name, headers) == oracles_place(name, headers)


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize("name", ORACLES)
def test_opentelemetry_reads_what_is_written(name: str, sampled: bool) -> None:
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    context = hiq.extract({"traceparent": f"00-{trace_id}-{span_id}-0{int(sampled)}"}, "tracecontext")
    assert context is not None
    headers = context.run(hiq.inject, None, [name])
    assert oracles_place(name, headers) == (trace_id, span_id, sampled)
    assert our_place(name, headers) == (trace_id, span_id, sampled)


def test_the_headers_of_a_span_are_its_own() -> None:
    with InMemoryExporter() as spans:
        with hiq.trace("root"):
            headers = {name: hiq.inject(propagators=[name]) for name in ORACLES}
    (root,) = spans
    expected = (root["trace_id"], root["span_id"], True)
    assert {name: oracles_place(name, found) for name, found in headers.items()} == dict.fromkeys(ORACLES, expected)


def test_baggage_goes_between_jaeger_and_w3c() -> None:
    given = {"user": "Amélie", "shop": "a=b,c;d"}
    context = None
    for key, value in given.items():
        context = baggage.set_baggage(key, value, context)
    headers: dict[str, str] = {}
    W3CBaggagePropagator().inject(headers, context)
    ours = hiq.extract(headers)
    assert ours is not None
    assert ours.baggage == given
    place = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    both = hiq.extract({**headers, **place})
    assert both is not None
    out = both.run(hiq.inject, None, "jaeger")
    assert baggage.get_all(JaegerPropagator().extract(out)) == given
    again = hiq.extract(out, "jaeger")
    assert again is not None
    assert again.baggage == given


def test_whatever_a_header_holds_nothing_is_raised() -> None:
    dice = random.Random(20_261_121)
    names = [
        "traceparent", "tracestate", "baggage", "b3", "X-B3-TraceId", "x-b3-spanid", "x-b3-sampled", "x-b3-flags",
        "uber-trace-id", "uberctx-x", "jaeger-baggage",
    ]  # fmt: skip
    pieces = [
        TRACE,
        SPAN,
        "-",
        ":",
        "%3A",
        "%",
        "=",
        ",",
        ";",
        "1",
        "0",
        "é",
        "\ud800",
        "\0",
        "\n",
        "ff",
        " ",
        "x" * 9000,
    ]
    odd: list[Any] = [None, 7, b"\xff\xfe", b"0", [], object()]
    for _ in range(3000):
        headers: list[tuple[Any, Any]] = []
        for _ in range(dice.randrange(5)):
            text = "".join(dice.choices(pieces, k=dice.randrange(9)))
            value = dice.choice(odd) if dice.random() < 0.1 else text
            name = dice.choice(odd) if dice.random() < 0.05 else dice.choice(names)
            headers.append(
                (name, value.encode("utf-8", "surrogatepass") if dice.random() < 0.1 and value is text else value)
            )
        for propagators in (None, *ORACLES, "tracecontext,baggage,b3,b3multi,jaeger"):
            context = hiq.extract(headers, propagators)
            assert context is None or isinstance(context, hiq.Context)


def test_the_environment_names_the_propagators_and_is_warned_of_once(tmp_path: Path) -> None:
    code = (
        "import hiq\n"
        "hiq.init(exporters=['memory'])\n"
        "with hiq.trace('root'):\n"
        "    print(*sorted(hiq.inject()))\n"
        f"print(hiq.extract({{'traceparent': '00-{TRACE}-{SPAN}-01'}}))\n"
    )
    for names, expected in {
        "b3": ["b3"],
        "b3multi": ["x-b3-sampled", "x-b3-spanid", "x-b3-traceid"],
        "jaeger,b3": ["b3", "uber-trace-id"],
        "none": [],
    }.items():
        run = python("-c", code, folder=tmp_path, OTEL_PROPAGATORS=names)
        assert (run.stdout.split("\n")[0].split(), run.stderr) == (expected, ""), names
        assert run.stdout.split("\n")[1] == "None"
    run = python("-c", code, folder=tmp_path, OTEL_PROPAGATORS="xray,tracecontext,ottrace")
    assert run.stdout.split("\n")[0] == "traceparent"
    assert run.stdout.split("\n")[1] == f"Context(00-{TRACE}-{SPAN}-01)"
    lines = [line for line in run.stderr.splitlines() if "OTEL_PROPAGATORS" in line]
    assert len(lines) == 1
    assert "xray" in lines[0] and "ottrace" in lines[0] and "b3multi" in lines[0]


def test_init_takes_propagators_by_name() -> None:
    hiq.init(exporters=["memory"], propagators=["b3", "baggage"])
    with hiq.trace("root"):
        assert set(hiq.inject()) == {"b3"}
    hiq.shutdown(60)
    for wrong in ("w3c", ["tracecontext", "x"]):
        with pytest.raises(hiq.ConfigError, match="known are tracecontext, baggage, b3, b3multi, jaeger"):
            hiq.init(exporters=["memory"], propagators=wrong)
    with pytest.raises(hiq.ConfigError, match="w3c"):
        hiq.inject(propagators="w3c")


@pytest.mark.parametrize("name", ["b3", "b3multi", "jaeger"])
def test_a_flask_request_goes_on_the_callers_trace_in_each_form(name: str) -> None:
    app = Flask("shop")
    app.add_url_rule("/", "index", lambda: "here")
    caller = hiq.extract({"traceparent": f"00-{TRACE}-{SPAN}-01"}, "tracecontext")
    assert caller is not None
    headers = caller.run(hiq.inject, None, name)
    exporter = InMemoryExporter()
    hiq.init(exporters=[exporter], propagators=name)
    exporter.clear()
    with hiq.HiQFlaskLatencyOtel([], endpoints={"index"}):
        assert app.test_client().get("/", headers=headers).text == "here"
    (server,) = exporter.spans()
    assert (server["trace_id"], server["parent_span_id"]) == (TRACE, SPAN)


def test_spawned_children_hang_under_their_parent_whatever_is_spoken_outside(tmp_path: Path) -> None:
    (tmp_path / "conf.csv").write_text("nothing_here,,nothing,nothing\n")
    (tmp_path / "program.py").write_text(
        "import multiprocessing, hiq\n"
        "def child():\n"
        "    with hiq.trace('child'):\n"
        "        print('child', hiq.capture().trace_id, flush=True)\n"
        "if __name__ == '__main__':\n"
        "    with hiq.trace('root'):\n"
        "        print('root', hiq.capture().trace_id, flush=True)\n"
        "        process = multiprocessing.get_context('spawn').Process(target=child)\n"
        "        process.start()\n"
        "        process.join()\n"
    )
    command = ("-m", "hiq", "run", "--conf", "conf.csv", "--file", "out.jsonl", "program.py")
    run = python(*command, folder=tmp_path, OTEL_PROPAGATORS="none")
    found = dict(line.split() for line in run.stdout.splitlines())
    assert set(found) == {"root", "child"}, run.stderr
    assert found["root"] == found["child"]


def words_of_b3(context: hiq.Context) -> dict[str, str]:
    """What goes on from there: the decision in each form."""
    headers = {name: context.run(hiq.inject, None, name) for name in ("b3", "b3multi", "jaeger", "tracecontext")}
    many = {name: value for name, value in headers["b3multi"].items() if name in ("x-b3-sampled", "x-b3-flags")}
    return {
        "b3": headers["b3"]["b3"].split("-")[-1],
        **many,
        "jaeger": headers["jaeger"]["uber-trace-id"].split(":")[-1],
        "tracecontext": headers["tracecontext"]["traceparent"].split("-")[-1],
    }


@contextlib.contextmanager
def recording(sampler: str) -> Iterator[InMemoryExporter]:
    exporter = InMemoryExporter()
    hiq.init(exporters=[exporter], sampler=sampler)
    exporter.clear()
    try:
        yield exporter
        assert hiq.flush(60.0)
        ledger = hiq.stats()["memory"]
        assert ledger["offered"] == ledger["exported"] == len(exporter.spans())
    finally:
        hiq.shutdown(60)


WATCHED = {"b3": "d", "x-b3-flags": "1", "jaeger": "3", "tracecontext": "01"}


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("b3", {"b3": f"{TRACE}-{SPAN}-d-{PARENT}"}),
        ("b3multi", {"X-B3-TraceId": TRACE, "X-B3-SpanId": SPAN, "X-B3-Flags": "1"}),
        ("jaeger", {"uber-trace-id": f"{TRACE}:{SPAN}:{PARENT}:3"}),
    ],
)
def test_a_trace_that_somebody_watches_is_recorded_and_goes_on_as_that(name: str, headers: dict[str, str]) -> None:
    caller = hiq.extract(headers, name)
    assert caller is not None
    assert caller.is_debug
    assert pickle.loads(pickle.dumps(caller)).is_debug
    places: list[hiq.Context] = [caller]

    async def task() -> None:
        with hiq.trace("in a task"):
            places.append(hiq.capture())

    async def tasks() -> None:
        with hiq.trace("around tasks"):
            await asyncio.gather(task(), task())

    def thread() -> None:
        with hiq.trace("in a thread"):
            places.append(hiq.capture())

    with recording("parentbased_always_off") as exporter:
        with hiq.attach(caller), hiq.trace("root"):
            places.append(hiq.capture())
            with ThreadPoolExecutor(1) as pool:
                pool.submit(hiq.capture().run, thread).result()
            asyncio.run(tasks())
        with hiq.trace("another"):
            pass
    assert len(places) == 5
    assert [words_of_b3(place) for place in places] == [WATCHED] * 5
    assert {place.trace_id for place in places} == {TRACE}
    names = sorted(span["name"] for span in exporter.spans())
    assert names == ["around tasks", "in a task", "in a task", "in a thread", "root"]


@pytest.mark.parametrize(
    ("headers", "sampler", "expected"),
    [
        ({"b3": "0"}, "parentbased_always_on", {"b3": "0", "x-b3-sampled": "0", "jaeger": "0", "tracecontext": "00"}),
        (
            {"X-B3-Sampled": "0"},
            "parentbased_always_on",
            {"b3": "0", "x-b3-sampled": "0", "jaeger": "0", "tracecontext": "00"},
        ),
        ({"b3": "1"}, "parentbased_always_off", {"b3": "1", "x-b3-sampled": "1", "jaeger": "1", "tracecontext": "01"}),
        ({"b3": "d"}, "parentbased_always_off", WATCHED),
        ({"x-b3-flags": "1"}, "parentbased_always_off", WATCHED),
        # Who asks nobody does what he does.
        ({"b3": "0"}, "always_on", {"b3": "1", "x-b3-sampled": "1", "jaeger": "1", "tracecontext": "01"}),
    ],
)
def test_a_decision_without_ids_is_about_the_traces_that_begin_there(
    headers: dict[str, str], sampler: str, expected: dict[str, str]
) -> None:
    decision = hiq.extract(headers, "b3")
    assert decision is not None
    assert not decision
    (word,) = decision.run(hiq.inject, None, "b3").values()
    assert word == {"X-B3-Sampled": "0", "x-b3-flags": "d"}.get(next(iter(headers)), headers.get("b3"))
    assert decision.run(hiq.inject, None, "tracecontext,jaeger") == {}
    again = pickle.loads(pickle.dumps(decision))
    places = []
    with recording(sampler) as exporter:
        for each in (decision, again):
            with hiq.attach(each):
                for _ in range(2):
                    with hiq.trace("root"), hiq.trace("inside"):
                        places.append(hiq.capture())
            with hiq.attach(each), ThreadPoolExecutor(1) as pool:
                captured = hiq.capture()
                assert not captured
                with_root = pool.submit(captured.run, hiq.inject, None, "b3").result()
                assert with_root == {"b3": word}
    assert [words_of_b3(place) for place in places] == [expected] * 4
    assert len({place.trace_id for place in places}) == 4, "each is a trace of its own"
    kept = [span for span in exporter.spans() if span["name"] == "root"]
    assert len(kept) == (0 if expected["b3"] == "0" else 4)
    assert all(span["parent_span_id"] in (None, "") for span in kept)


def test_opentelemetry_takes_what_is_written_of_a_watched_trace_for_sampled() -> None:
    caller = hiq.extract({"b3": f"{TRACE}-{SPAN}-d"}, "b3")
    assert caller is not None
    for name in ("b3", "b3multi", "jaeger"):
        assert oracles_place(name, caller.run(hiq.inject, None, name)) == (TRACE, SPAN, True), name


def test_a_flask_request_that_is_not_to_be_sampled_is_not() -> None:
    app = Flask("shop")
    inside: list[dict[str, str]] = []
    app.add_url_rule("/", "index", lambda: inside.append(hiq.inject()) or "here")
    exporter = InMemoryExporter()
    hiq.init(exporters=[exporter], propagators="b3")
    exporter.clear()
    with hiq.HiQFlaskLatencyOtel([], endpoints={"index"}):
        for decision in ("0", "d"):
            assert app.test_client().get("/", headers={"b3": decision}).text == "here"
    assert [headers["b3"].split("-")[-1] for headers in inside] == ["0", "d"]
    assert len(exporter.spans()) == 1
