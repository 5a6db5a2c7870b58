"""HiQ's drivers for web frameworks, with the real Flask and FastAPI, and HiQ's pages served by uvicorn."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastapi
import flask
import hiq
import httpx
import pytest
from conftest import PACKAGE_FOLDER, names, plain_environment, python
from hiq.framework.fastapi import add_pages, get_corr_id, is_valid_uuid4
from hiq.testing import InMemoryExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

PROGRAM = """
    def predict(x):
        log.append(("predict", x))
        return price(x) + 1

    def price(x):
        log.append(("price", x))
        return x * 2

    async def predict_later(x):
        log.append(("predict_later", x))
        return price(x)
"""
REMOTE = {"traceparent": f"00-{0xABC:032x}-{0xDEF:016x}-01"}
COMMON = [
    "hiq_table_or_path", "metric_funcs", "func_args_handler", "target_path", "max_hiq_size", "verbose", "fast_fail", "tpl",
    "extra_hiq_table", "attach_timestamp", "extra_metrics", "lmk_path", "lmk_handler", "lmk_logger",
]  # fmt: skip


def rows(module: Any) -> list[list[str]]:
    functions = ("predict", "price", "predict_later")
    return [[module.__name__, "", function, function] for function in functions]


@pytest.mark.parametrize(
    ("driver", "parent"),
    [
        (hiq.HiQFlaskLatency, hiq.HiQLatency),
        (hiq.HiQFlaskMemory, hiq.HiQMemory),
        (hiq.HiQFastAPILatency, hiq.HiQLatency),
        (hiq.HiQFastAPIMemory, hiq.HiQMemory),
    ],
)
def test_drivers_by_request_take_hiqs_arguments_but_the_id_function(driver: Any, parent: Any) -> None:
    with driver([], extra_metrics=[hiq.ExtraMetrics.ARGS], max_hiq_size=3) as made:
        assert isinstance(made, parent)
        assert made.max_hiq_size == 3
        assert made.extra_metrics == {hiq.ExtraMetrics.ARGS}
        memory = ["time", "get_memory_mb"] if parent is hiq.HiQMemory else ["time"]
        assert [func.__name__ for func in made.metric_funcs] == memory
    if driver in (hiq.HiQFlaskLatency, hiq.HiQFastAPILatency):
        assert list(inspect.signature(driver).parameters) == COMMON


# --- Flask ----------------------------------------------------------------------------------------


def flask_app(module: Any) -> flask.Flask:
    app = flask.Flask("shop")

    @app.get("/predict/<int:x>")
    def predict(x: int) -> Any:
        return {"price": module.predict(x)}

    @app.get("/other")
    def other() -> str:
        return "other"

    return app


def test_each_flask_request_has_a_tree_of_its_own(program) -> None:
    module = program(PROGRAM)
    client = flask_app(module).test_client()
    with hiq.HiQFlaskLatency(rows(module)) as driver:
        for request_id in ("one", "two", "one"):
            answer = client.get("/predict/3", headers={"X-Request-ID": request_id})
            assert answer.json == {"price": 7}
        module.price(1)
    assert module.log == [("predict", 3), ("price", 3)] * 3 + [("price", 1)]
    trees = {key: names(driver.get_metrics_by_k0(key)) for key in driver.get_k0s()}
    request = ["__predict", ["__price"]]
    assert trees == {"one": [request, request], "two": [request], "flask-req": [["__price"]]}


def test_listed_flask_endpoints_become_server_spans_on_the_callers_trace(program) -> None:
    module = program(PROGRAM)
    client = flask_app(module).test_client()
    original = flask.Flask.dispatch_request
    with InMemoryExporter() as exporter, hiq.HiQFlaskLatencyOtel(rows(module), endpoints={"predict"}) as driver:
        assert client.get("/predict/3?a=b", headers=REMOTE).json == {"price": 7}
        assert client.get("/other", headers=REMOTE).text == "other"
        spans = {span["name"]: span for span in exporter.spans()}
    assert flask.Flask.dispatch_request is original
    assert set(spans) == {"predict", "__predict", "__price"}
    server = spans["predict"]
    assert (server["trace_id"], server["parent_span_id"]) == (f"{0xABC:032x}", f"{0xDEF:016x}")
    assert server["kind"] == "server"
    assert spans["__predict"]["parent_span_id"] == server["span_id"]
    expected = {
        "http.method": "GET",
        "http.scheme": "http",
        "http.host": "localhost",
        "http.target": "/predict/3?a=b",
        "net.host.port": 80,
        "net.peer.ip": "127.0.0.1",
        "http.flavor": "1.1",
    }
    assert {key: server["attributes"].get(key) for key in expected} == expected
    assert names(driver.get_metrics()[0]) == [["__predict", ["__price"]]]


def test_opentelemetrys_own_sdk_makes_the_server_span_where_it_is_given(program) -> None:
    module = program(PROGRAM)
    client = flask_app(module).test_client()
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    settings: dict[str, Any] = {"span_processor": SimpleSpanProcessor(exporter), "trace_provider": provider}
    with hiq.HiQFlaskLatencyOtel(rows(module), endpoints={"predict"}, tracer_name="mine", **settings):
        client.get("/predict/3", headers=REMOTE)
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind.name, span.instrumentation_scope.name) == ("predict", "SERVER", "mine")
    assert (span.context.trace_id, span.parent.span_id) == (0xABC, 0xDEF)
    assert span.attributes["http.target"] == "/predict/3"


# --- FastAPI --------------------------------------------------------------------------------------


def fastapi_app(module: Any) -> fastapi.FastAPI:
    app = fastapi.FastAPI()

    @app.get("/predict")
    def predict(x: int) -> Any:
        return {"price": module.predict(x), "id": get_corr_id()}

    @app.get("/later")
    async def later(x: int) -> Any:
        await asyncio.sleep(0)
        return {"price": await module.predict_later(x), "id": get_corr_id()}

    @app.get("/other")
    def other() -> Any:
        return {"id": get_corr_id()}

    return app


def asked(app: fastapi.FastAPI, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
    """The answers to requests that are under way together."""

    async def main() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return await asyncio.gather(*(client.request(method, path, **more) for method, path, more in requests))

    return asyncio.run(main())


def get(path: str, **headers: str) -> tuple[str, str, dict[str, Any]]:
    return "GET", path, {"headers": {name.replace("_", "-"): value for name, value in headers.items()}}


def test_each_fastapi_request_has_a_tree_of_its_own(program) -> None:
    module = program(PROGRAM)
    with hiq.HiQFastAPILatency(rows(module)) as driver:
        app = fastapi_app(module)
        add_pages(driver, app, endpoints={"/predict", "/later"})
        answers = asked(
            app,
            *(get(f"/predict?x={n}", x_request_id=f"sync {n}") for n in range(5)),
            *(get(f"/later?x={n}", x_request_id=f"async {n}") for n in range(5)),
        )
    assert [answer.json()["price"] for answer in answers] == [2 * n + 1 for n in range(5)] + [2 * n for n in range(5)]
    trees = {key: names(driver.get_metrics_by_k0(key)) for key in driver.get_k0s()}
    expected = {f"sync {n}": [["__predict", ["__price"]]] for n in range(5)}
    assert trees == expected | {f"async {n}": [["__predict_later", ["__price"]]] for n in range(5)}


def test_the_mixin_gives_any_driver_the_requests_id(program) -> None:
    class Mine(hiq.HiQFastAPILatencyMixin, hiq.HiQMemory):
        pass

    module = program(PROGRAM)
    with Mine(rows(module)) as driver:
        app = fastapi_app(module)
        add_pages(driver, app)
        asked(app, get("/predict?x=1", x_request_id="mine"))
    assert list(driver.get_k0s()) == ["mine"]


def test_listed_endpoints_answer_with_their_id_and_latency(program) -> None:
    app = fastapi_app(program(PROGRAM))
    add_pages(None, app, header_name="X-Corr", custom={"/custom": ("get", None), "/own": ("post", lambda: "own")})
    given, made, other, custom, own = asked(
        app,
        get("/predict?x=1", x_corr="given"),
        get("/predict?x=1"),
        get("/other"),
        get("/custom"),
        ("POST", "/own", {}),
    )
    assert given.headers["x-corr"] == given.json()["id"] == "given"
    assert given.headers["access-control-expose-headers"] == "X-Corr"
    assert float(given.headers["x-latency"]) > 0
    assert re.fullmatch("[0-9a-f]{32}", made.headers["x-corr"])
    assert other.json() == {"id": None}
    assert not {"x-corr", "x-latency"} & set(other.headers)
    assert (custom.json(), own.json()) == ("NOT_IMPLEMENTED", "own")
    assert asked(app, get("/hiq"))[0].text == ""
    assert is_valid_uuid4("a" * 32) and not is_valid_uuid4("a")


def test_the_pages_show_requests_and_their_trees_and_no_markup_of_strangers(program) -> None:
    module = program(PROGRAM)
    with hiq.HiQFastAPILatency(rows(module)) as driver:
        app = fastapi_app(module)
        add_pages(driver, app)
        asked(app, get("/predict?x=1", x_request_id="<b>one</b>"), get("/predict?x=2", x_request_id="two"))
        page, tree, unknown, hostile = asked(
            app, get("/hiq"), get("/latency/two"), get("/latency/3"), get("/latency/%3Cb%3Eone%3C%2Fb%3E")
        )
    assert page.headers["content-type"].startswith("text/html")
    assert "🟢 Enabled" in page.text
    assert "<b>one</b>" not in page.text and "&lt;b&gt;one&lt;/b&gt;" in page.text
    assert 'href="latency/%3Cb%3Eone%3C%2Fb%3E"' in page.text
    assert not re.search("https?://", page.text), "the page loads something from elsewhere"
    expected = driver.get_metrics_by_k0("two").get_graph(hiq.FORMAT_DATETIME)
    # Its overhead is an estimate that goes on.
    lines = [line for line in expected.splitlines() if "[OH:" not in line]
    assert all(line in tree.text for line in lines) and len(lines) == 3
    assert (unknown.status_code, "Error: The reqeust id(3) is invalid!" in unknown.text) == (200, True)
    assert "<b>" not in hostile.text.split("<body>")[1]


def switched(app: fastapi.FastAPI, method: str, path: str, **more: Any) -> tuple[int, str | None]:
    (answer,) = asked(app, (method, path, more))
    return answer.status_code, answer.headers.get("location")


def test_switching_takes_a_post_with_the_pages_token(program, monkeypatch) -> None:
    module = program(PROGRAM)
    driver = hiq.HiQFastAPILatency(rows(module))
    app = fastapi_app(module)
    add_pages(driver, app)
    (page,) = asked(app, get("/hiq"))
    token = re.search('name=token value="([^"]+)"', page.text).group(1)
    assert switched(app, "GET", "/hiq_disable") == (405, None)
    assert switched(app, "POST", "/hiq_disable") == (403, None)
    assert switched(app, "POST", "/hiq_disable", data={"token": token[:-1]}) == (403, None)
    assert switched(app, "POST", "/hiq_disable", content=b"token=" + b"x" * 10_000) == (403, None)
    assert driver.enabled
    assert switched(app, "POST", "/hiq_disable", data={"token": token}) == (303, "/hiq")
    assert not driver.enabled
    assert "🔴 Disabled" in asked(app, get("/hiq"))[0].text
    assert switched(app, "POST", "/hiq_enable", headers={"X-HiQ-Token": token}) == (303, "/hiq")
    assert driver.enabled
    monkeypatch.setenv("HIQ_UI_ALLOW_GET", "1")
    assert switched(app, "GET", "/hiq_disable") == (307, "/hiq")
    assert not driver.enabled


def test_run_fastapi_serves_on_this_machine_alone(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text(
        """
import anyio.to_thread, fastapi, hiq, json
app = fastapi.FastAPI()

@app.get("/predict")
async def predict():
    limit = anyio.to_thread.current_default_thread_limiter().total_tokens
    return {"limit": limit, "price": json.dumps(1)}

with hiq.HiQFastAPILatency([["json", "", "dumps", "dumps"]]) as driver:
    hiq.run_fastapi(driver, app, thread_limit=3, port=1, app_title="Shop")
        """,
        encoding="utf-8",
    )
    server = subprocess.Popen(
        [sys.executable, "server.py"],
        cwd=tmp_path,
        env=plain_environment(PYTHONPATH=PACKAGE_FOLDER, HIQ_FLASK_PORT="0", PYTHONUNBUFFERED="1"),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        url = next(filter(None, (re.search(r"http://\S+:\d+", line) for line in server.stderr))).group()
        assert url.startswith("http://127.0.0.1:")
        answer = httpx.get(f"{url}/predict", headers={"X-Request-ID": "one"}, timeout=60)
        assert answer.json() == {"limit": 3, "price": "1"}
        assert answer.headers["x-request-id"] == "one"
        assert "__dumps" in httpx.get(f"{url}/latency/one", timeout=60).text
        assert httpx.get(f"{url}/openapi.json", timeout=60).json()["info"]["title"] == "Shop"
    finally:
        server.terminate()
        server.wait(30)
        server.stderr.close()


# --- transformers, and what is loaded when --------------------------------------------------------


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Model:
    @decorated
    def forward(self, ids: int, mask: int = 0) -> None:
        pass


def test_transformer_drivers_make_signature_see_through_decorators() -> None:
    original, method = inspect.signature, Model().forward
    assert "mask" not in inspect.signature(method).parameters
    for driver in (hiq.HiQTransformerLatency, hiq.HiQTransformerMemory):
        with driver([]):
            assert list(inspect.signature(method).parameters) == ["self", "ids", "mask"]
            # What else others ask of it is answered as before.
            assert inspect.signature(json.dumps, eval_str=True, globals={}) == original(json.dumps)
        assert inspect.signature is original


def test_transformer_drivers_have_hiqs_metrics() -> None:
    metrics = {
        hiq.HiQTransformerLatency: ["time"],
        hiq.HiQTransformerMemory: ["time", "get_memory_mb"],
        hiq.HiQTransformerGPUMemory: ["time", "total_gpu_memory_mb"],
        hiq.HiQTransformerFullMemory: ["time", "get_memory_mb", "total_gpu_memory_mb"],
    }
    for driver, expected in metrics.items():
        with driver([]) as made:
            assert [func.__name__ for func in made.metric_funcs] == expected


def test_frameworks_are_loaded_when_they_are_asked_for(tmp_path: Path) -> None:
    code = """
import sys, hiq
assert "run_fastapi" in dir(hiq)
loaded = ["hiq.framework.fastapi", "hiq.server_flask", "logging", "hiq._handlers"]
print([name for name in loaded if name in sys.modules])
print(hiq.run_fastapi, hiq.HiQFlaskLatency.__name__, hiq.HiQTransformerLatency.__name__)
print([name for name in sys.modules if name.partition(".")[0] in ("flask", "fastapi", "starlette", "uvicorn", "anyio")])
"""
    run = python("-c", code, folder=tmp_path)
    first, second, third = run.stdout.splitlines()
    assert (first, third, run.stderr) == ("[]", "[]", "")
    assert second.startswith("<function run_fastapi")


# --- ONNX Runtime and Paddle ----------------------------------------------------------------------

# `paddle.fluid`, which HiQ's drivers know, left Paddle with 2.5, and ONNX Runtime is as large as all else that is tested:
# modules with the classes and signatures that the drivers name stand in their places.
STAND_INS = {
    "onnxruntime/__init__.py": "class SessionOptions:\n    intra_op_num_threads = 0\n    enable_profiling = False\n",
    "onnxruntime/capi/__init__.py": "",
    "onnxruntime/capi/onnxruntime_inference_collection.py": """
class Session:
    def __init__(self, enable_fallback=True): self._enable_fallback = enable_fallback
    def run(self, output_names, input_feed, run_options=None): return [input_feed]
    def run_with_ort_values(self, *args): pass
    def run_with_iobinding(self, *args): pass

class InferenceSession(Session):
    def __init__(self, path_or_bytes, sess_options=None, providers=None, provider_options=None, **kwargs):
        super().__init__()
        self.made = path_or_bytes, sess_options, providers, provider_options, kwargs
        self._create_inference_session(providers)
    def _create_inference_session(self, providers, disabled_optimizers=None): pass
    def _reset_session(self, *args): pass
""",
    "paddle/__init__.py": "",
    "paddle/fluid/__init__.py": "",
    "paddle/fluid/core_avx.py": "class PaddleInferPredictor:\n    def run(self): return True\n",
    "paddleocr.py": """
from paddle.fluid.core_avx import PaddleInferPredictor
class PaddleOCR:
    def __init__(self, lang="en"): self.predictor = PaddleInferPredictor()
    def ocr(self, image): return self(image)
    def __call__(self, image): return self.predictor.run()
""",
    "tools/__init__.py": "",
    "tools/infer/__init__.py": "",
    "tools/infer/predict_det.py": "class TextDetector:\n    def __call__(self): pass\n",
    "tools/infer/predict_rec.py": "class TextRecognizer:\n    def __call__(self): pass\n",
    "tools/infer/predict_cls.py": "class TextClassifier:\n    def __call__(self): pass\n",
    "tools/infer/utility.py": "def create_predictor(): pass\n",
}


@pytest.fixture
def stand_ins(tmp_path: Path) -> Path:
    for name, source in STAND_INS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source, encoding="utf-8")
    return tmp_path


def test_the_drivers_of_onnx_runtime_trace_sessions_and_set_their_options(stand_ins: Path) -> None:
    (stand_ins / "program.py").write_text(
        """
import hiq
from hiq.framework.onnxruntime import OrtHiQLatency, OrtHiQMemory, TAU_ORT
module = hiq.mod(TAU_ORT)
before = {(c, n): v for c in (module.Session, module.InferenceSession) for n, v in vars(c).items() if callable(v)}
for kind in (OrtHiQLatency, OrtHiQMemory):
    with kind([["json", "", "dumps", "dumps"]]) as driver:
        session = module.InferenceSession("model.onnx", providers=["CPU"], extra=1)
        path, options, *rest = session.made
        print(path, options.intra_op_num_threads, options.enable_profiling, options.profile_file_prefix, rest)
        print(session.run(None, {"x": 1}))
    print(sorted({*driver.get_metrics()[0].get_distinct_node_names()} - {"None"}), list(driver.tau[None]))
    after = {(c, n): v for c in (module.Session, module.InferenceSession) for n, v in vars(c).items() if callable(v)}
    print(after == before)
        """,
        encoding="utf-8",
    )
    variables = {
        "HIQ_ORT_INTRA_OPS_THREAD": "3",
        "HIQ_PROFILE": "1",
        "HIQ_PROFILE_PREFIX": "mine",
        "ZIN_THRESHOLD": "0",
    }
    run = python("program.py", folder=stand_ins, PYTHONPATH=str(stand_ins), **variables)
    assert run.stderr == ""
    lines = run.stdout.splitlines()
    made = "model.onnx 3 True mine [['CPU'], None, {'extra': 1}]"
    nodes = ["__create_inference_session", "__ort_run", "__sess_init", "ort_session"]
    assert lines[:4] == [made, "[{'x': 1}]", f"{nodes} ['time']", "True"]
    assert lines[4:] == [made, "[{'x': 1}]", f"{nodes} ['time', 'get_memory_mb']", "True"]


def test_the_drivers_of_paddle_trace_predictions_and_readings(stand_ins: Path) -> None:
    (stand_ins / "program.py").write_text(
        """
import paddleocr
from hiq.framework.paddle import PaddleHiQLatency, PaddleHiQMemory
from hiq.framework.paddleocr import PaddleOcrHiQLatency, PaddleOcrHiQMemory
original = paddleocr.PaddleInferPredictor.run
for kind in (PaddleHiQLatency, PaddleHiQMemory, PaddleOcrHiQLatency, PaddleOcrHiQMemory):
    with kind() as driver:
        print(paddleocr.PaddleOCR().ocr("image"))
    print(kind.__name__, sorted({*driver.get_metrics()[0].get_distinct_node_names()} - {"None"}), list(driver.tau[None]))
    assert paddleocr.PaddleInferPredictor.run is original
        """,
        encoding="utf-8",
    )
    run = python("program.py", folder=stand_ins, PYTHONPATH=str(stand_ins), ZIN_THRESHOLD="0")
    assert run.stderr == ""
    run_only, reading = ["paddle_run"], ["__init", "__ocr", "__txt_model", "paddle_run"]
    latency, memory = ["time"], ["time", "get_memory_mb"]
    assert [line for line in run.stdout.splitlines() if line != "True"] == [
        f"PaddleHiQLatency {run_only} {latency}",
        f"PaddleHiQMemory {run_only} {memory}",
        f"PaddleOcrHiQLatency {reading} {latency}",
        f"PaddleOcrHiQMemory {reading} {memory}",
    ]
