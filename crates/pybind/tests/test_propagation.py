"""Headers in and out, beside OpenTelemetry's own propagators."""

from __future__ import annotations

import random
import secrets
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
    return context and (context.trace_id, context.span_id, context.trace_flags == 1)


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
