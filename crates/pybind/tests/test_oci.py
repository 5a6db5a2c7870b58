"""Oracle Cloud from Python: exporters, HiQ's contexts and clients, against what HiQ 1.1.14 itself sent."""

from __future__ import annotations

import json
import os
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hiq
import pytest
from conftest import names, python
from hiq import HiQOpenTelemetryContext, OtmExporterType
from hiq.http_metric_client import HttpMetricsClient
from hiq.utils import SingletonMeta
from hiq.vendor_oci_apm import HiQOciApmContext, OciApmHttpTransport, get_oci_apm_endpoint
from hiq.vendor_oci_streaming import OciStreamingClient
from hiq.vendor_oci_t2 import OciT2Client
from oracle_cloud import FINGERPRINT, STREAM, TENANCY, USER, Oracle, Received, home, messages, metrics

HIQ = json.loads((Path(__file__).parent / "golden" / "hiq_oci.json").read_text(encoding="utf-8"))
KEY = "SECRETDATAKEY1"
FOREIGN = ("OTEL_", "APM_", "OCI_", "TRACE", "OTM_", "SERVICE_NAME", "T2_")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(FOREIGN) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    yield
    SingletonMeta._instances.pop(OciStreamingClient, None)


@pytest.fixture
def oracle() -> Iterator[Oracle]:
    oracle = Oracle.start()
    yield oracle
    oracle.close()


@pytest.fixture
def apm(oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> Oracle:
    monkeypatch.setenv("APM_BASE_URL", oracle.url)
    monkeypatch.setenv("APM_PUB_KEY", KEY)
    return oracle


@pytest.fixture
def user(oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Oracle:
    for name, value in home(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OCI_STM_END", oracle.url)
    return oracle


def balances(ledger: dict[str, Any]) -> bool:
    settled = ("exported", "sent_unconfirmed", "rejected", "queued", "in_flight", "spooled")
    dropped = sum(ledger["dropped"].values())
    return ledger["offered"] + ledger["recovered"] == sum(ledger[name] for name in settled) + dropped


# --- APM ------------------------------------------------------------------------------------------

PROGRAM = """
    def work():
        step("one")
        step("two")

    def step(_name):
        pass

    def fail():
        raise ValueError("bad")
"""


@pytest.fixture
def module(program: Callable[..., ModuleType]) -> ModuleType:
    return program(PROGRAM)


def rows(module: ModuleType) -> list[list[str]]:
    return [[module.__name__, "", name, name] for name in ("work", "step", "fail")]


def sent(apm: Oracle) -> list[dict[str, Any]]:
    """All spans that were sent, in the order of their starts."""
    spans = [span for request in apm.requests for span in request.json()]
    return sorted(spans, key=lambda span: (span["timestamp"], "parentId" in span))


def shape(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As `hiq_oci_golden.py` has it. hiq's own tags, and the order of spans of one microsecond, are left out."""
    by_id = {span["id"]: span for span in spans}
    assert len({span["traceId"] for span in spans}) <= 1
    ours = ("code.", "hiq.", "otel.status_", "span.kind", "error.type")
    shapes = [
        {
            "name": span["name"],
            "kind": span.get("kind"),
            "tags": {key: value for key, value in span.get("tags", {}).items() if not key.startswith(ours)},
            "service": span["localEndpoint"]["serviceName"],
            "parent": by_id[span["parentId"]]["name"] if "parentId" in span else None,
        }
        for span in spans
    ]
    return sorted(shapes, key=str)


def golden(name: str) -> list[dict[str, Any]]:
    spans = [span for request in HIQ["contexts"][name] for span in request["spans"]]
    return sorted(
        (
            {
                **{key: span[key] for key in ("name", "kind", "tags", "service")},
                "parent": None if span["parent"] is None else spans[span["parent"]]["name"],
            }
            for span in spans
        ),
        key=str,
    )


def check_requests(apm: Oracle) -> None:
    (wanted,) = HIQ["contexts"]["plain"]
    for request in apm.requests:
        assert (request.method, request.path) == (wanted["method"], wanted["path"].replace("KEY", KEY))
        assert request.headers["content-type"] == wanted["type"]


def test_the_endpoint_is_hiqs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_oci_apm_endpoint("URL", "KEY") == HIQ["endpoint"]
    monkeypatch.setenv("APM_BASE_URL", "https://other")
    monkeypatch.setenv("APM_API_VER", "20300101")
    assert get_oci_apm_endpoint("URL", "KEY").startswith("https://other/20300101/observations/")
    with pytest.raises(ValueError, match="🦉 Please setup environment variable `APM_PUB_KEY`"):
        get_oci_apm_endpoint()


@pytest.mark.parametrize("case", ["plain", "tags"])
def test_a_context_sends_the_root_that_hiq_sends(apm: Oracle, case: str) -> None:
    tags = {"binary_annotations": {"city": "Hà Nội", "n": "1"}} if case == "tags" else {}
    with HiQOciApmContext(service_name="svc", span_name="root", **tags):
        assert hiq.current_context() is not None
    assert shape(sent(apm)) == golden(case)
    check_requests(apm)
    assert len(apm.requests) == 1
    assert hiq.current_context() is None


@pytest.mark.parametrize("case", ["nested", "failing", "unsampled", "outside", "named"])
def test_calls_inside_are_the_spans_that_hiq_sends(
    apm: Oracle, module: ModuleType, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setenv("TRACE_TYPE", "oci-apm")
    if case == "named":
        monkeypatch.setenv("SERVICE_NAME", "named")
    driver = hiq.HiQLatency(rows(module))
    try:
        if case == "outside":
            module.work()
        elif case == "failing":
            with pytest.raises(ValueError, match="bad"), HiQOciApmContext("svc", "root"):
                module.fail()
        else:
            with HiQOciApmContext("svc", "root", sample_rate=0 if case == "unsampled" else 100):
                module.work()
    finally:
        driver.disable_hiq()
    expected = golden(case)
    for span in expected:
        if case == "named" and span["name"] == "root":
            # HiQ's default tags are one dict for all contexts: it is the error of an earlier one.
            del span["tags"]["error"]
    assert shape(sent(apm)) == expected
    check_requests(apm)


def test_another_trace_type_sends_the_root_alone(
    apm: Oracle, module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACE_TYPE", "oci-hiq")
    driver = hiq.HiQLatency(rows(module))
    with HiQOciApmContext("svc", "root"):
        module.work()
    driver.disable_hiq()
    assert [span["name"] for span in sent(apm)] == ["root"]


def test_contexts_at_the_same_time_send_each_span_once(apm: Oracle) -> None:
    with HiQOciApmContext("svc", "outer"):
        with HiQOciApmContext("svc", "inner"), hiq.trace("work"):
            pass
        assert sorted(span["name"] for span in sent(apm)) == ["inner", "work"]
    spans = {span["name"]: span for span in sent(apm)}
    assert len(sent(apm)) == 3
    assert spans["inner"]["parentId"] == spans["outer"]["id"]
    assert spans["work"]["parentId"] == spans["inner"]["id"]


def test_a_context_is_a_decorator_and_takes_further_tags(apm: Oracle) -> None:
    @HiQOciApmContext("svc", "job")
    def job(number: int) -> int:
        return number + 1

    assert [job(1), job(2)] == [2, 3]
    context = HiQOciApmContext("svc", "by hand")
    context.start()
    context.update_binary_annotations({"rows": 7})
    context.stop()
    context.stop()
    found = [(span["name"], span["tags"].get("rows")) for span in sent(apm)]
    assert found == [("job", None), ("job", None), ("by hand", "7")]


def test_a_context_without_a_key_says_what_hiq_says() -> None:
    with pytest.raises(ValueError, match="🦉 Please setup environment variable `APM_PUB_KEY`"), HiQOciApmContext():
        pass
    with pytest.raises(ValueError, match="no percentage"):
        HiQOciApmContext(sample_rate=101)


def test_a_running_pipeline_takes_the_spans_as_well(apm: Oracle) -> None:
    hiq.init("shop", exporters=["memory"])
    with HiQOciApmContext("svc", "root"), hiq.trace("work"):
        pass
    assert hiq.flush(60)
    services = {span["name"]: span["localEndpoint"]["serviceName"] for span in sent(apm)}
    assert services == {"root": "svc", "work": "shop"}
    assert hiq.stats()["memory"]["exported"] == 2
    assert all(balances(ledger) for ledger in hiq.stats().values())


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize("format", ["zipkin", "otlp"])
def test_the_exporter_takes_both_formats_and_both_keys(oracle: Oracle, format: str, private: bool) -> None:
    exporter = hiq.OciApmExporter(oracle.url, data_key=KEY, private=private, format=format)
    hiq.init("shop", exporters=[exporter])
    with hiq.trace("buy"):
        pass
    assert hiq.flush(60)
    ledger = hiq.stats()["oci_apm"]
    assert (ledger["exported"], balances(ledger)) == (1, True)
    (request,) = oracle.requests
    side = "private" if private else "public"
    if format == "zipkin":
        query = f"dataFormat=zipkin&dataFormatVersion=2&dataKey={KEY}"
        assert request.path == f"/20200101/observations/{side}-span?{query}"
        assert request.json()[0]["name"] == "buy"
    else:
        assert request.path == f"/20200101/opentelemetry/{side}/v1/traces"
        assert request.headers["authorization"] == f"dataKey {KEY}"
        assert b"buy" in request.body
    assert KEY not in repr(exporter)


def test_hiqs_zipkin_context_reaches_apm_where_it_is_named(apm: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    with HiQOpenTelemetryContext(OtmExporterType.ZIPKIN_JSON, service_name="svc"), hiq.trace("to apm"):
        pass
    check_requests(apm)
    assert [span["name"] for span in sent(apm)] == ["to apm"]
    monkeypatch.setenv("OTEL_EXPORTER_ZIPKIN_ENDPOINT", f"{apm.url}/api/v2/spans")
    with HiQOpenTelemetryContext(OtmExporterType.ZIPKIN_JSON, service_name="svc"), hiq.trace("to zipkin"):
        pass
    assert apm.requests[-1].path == "/api/v2/spans"


def test_spans_that_py_zipkin_has_encoded_are_uploaded(
    apm: Oracle, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    OciApmHttpTransport(b"[]", debug=True)
    check_requests(apm)
    assert apm.requests[0].body == b"[]"
    said = capsys.readouterr().out
    assert "s.encoded_span)=2" in said
    assert "res.status_code=200" in said
    apm.answer = lambda _request: (403, {})
    OciApmHttpTransport("[]")
    assert "/20200101/observations/public-span answered 403" in caplog.text
    assert KEY not in caplog.text


def test_the_doctor_shows_no_data_key(apm: Oracle, tmp_path: Path) -> None:
    apm.answer = lambda request: (401, {"path": request.path})
    environment = {"APM_BASE_URL": apm.url, "APM_PUB_KEY": KEY, "OTEL_TRACES_EXPORTER": "oci_apm"}
    run = python("-m", "hiq", "doctor", folder=tmp_path, **environment)
    assert "oci_apm" in run.stdout
    assert "check the data key" in run.stdout + run.stderr
    assert KEY not in run.stdout + run.stderr


# --- Streaming ------------------------------------------------------------------------------------


def test_a_message_is_put_as_hiq_puts_it(user: Oracle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    user.answer = user.take_messages(refuse=lambda at: at == 1)
    client = OciStreamingClient()
    assert OciStreamingClient() is client
    client.produce_messages("time", "v2main,[🍁 n=fruit]", check=True)
    client.produce_messages("time", "again", check=True)
    first, _ = user.requests
    assert messages(first) == [("time", "v2main,[🍁 n=fruit]".encode())]
    assert first.signer(tmp_path) == f"{TENANCY}/{USER}/{FINGERPRINT}"
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["Published message to partition 0 , offset 0", "Error (429) : slow"]


def test_a_call_that_fails_is_an_error_with_the_reason(user: Oracle) -> None:
    user.answer = lambda _request: (404, {"code": "NotAuthorizedOrNotFound", "message": "no stream"})
    with pytest.raises(hiq.ExportError, match=r"answered 404 not found: .*no stream"):
        OciStreamingClient().produce_messages("k", "v")


def test_what_is_missing_is_named_as_hiq_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="🦉 Please setup environment variable `OCI_STM_END`"):
        OciStreamingClient()
    monkeypatch.setenv("OCI_STM_END", "https://h.example")
    with pytest.raises(ValueError, match="🦉 Please setup environment variable `OCI_STM_OCID`"):
        OciStreamingClient()


def test_messages_that_fit_share_a_call(user: Oracle) -> None:
    user.answer = user.take_messages()
    entries = OciStreamingClient().put([("k", "x" * 400_000)] * 5)
    assert [entry["offset"] for entry in entries] == [0, 1, 2, 3, 4]
    assert [len(messages(request)) for request in user.requests] == [2, 2, 1]


@pytest.mark.parametrize(
    "encoding", ["otlp_proto", "otlp_json", "jaeger_proto", "zipkin_json", "zipkin_proto", "hiq_text"]
)
def test_spans_become_messages_of_any_encoding(user: Oracle, tmp_path: Path, encoding: str) -> None:
    user.answer = user.take_messages(refuse=lambda at: at == 0)
    hiq.init("shop", exporters=[hiq.OciStreamingExporter(encoding=encoding, key="trace")])
    with hiq.trace("buy"):
        pass
    assert hiq.flush(60)
    ledger = hiq.stats()["oci_streaming"]
    assert (ledger["exported"], balances(ledger)) == (1, True)
    first, second = user.requests
    assert first.body == second.body
    first.signer(tmp_path)
    ((key, value),) = messages(first)
    assert key is not None
    assert len(key) == 32
    assert b"buy" in value


def test_an_encoding_that_nobody_knows_is_named(user: Oracle) -> None:
    with pytest.raises(hiq.ConfigError, match="`thrift` is not known; give otlp_proto"):
        hiq.init("shop", exporters=[hiq.OciStreamingExporter(encoding="thrift")])


def test_no_text_of_a_stream_holds_a_secret(user: Oracle, tmp_path: Path) -> None:
    secret = "open-sesame-street"
    with pytest.raises(hiq.ConfigError, match="does not open with the passphrase") as wrong:
        hiq.init("shop", exporters=[hiq.OciStreamingExporter(passphrase=secret)])
    assert secret not in str(wrong.value)
    exporter = hiq.OciStreamingExporter(passphrase=secret)
    assert secret not in repr(exporter)
    user.answer = lambda request: (401, {"echo": request.headers["authorization"]})
    environment = {**home(tmp_path / "h"), "OCI_STM_END": user.url}
    run = python("-m", "hiq", "doctor", folder=tmp_path, OTEL_TRACES_EXPORTER="oci_streaming", **environment)
    said = run.stdout + run.stderr
    assert "check user, tenancy, fingerprint and key" in said
    assert "signature=" not in said
    assert "open-sesame" not in said


SENDING = """
import hiq, json
keys = iter(["one", "two", "three", "four"])
driver = hiq.HiQLatency([["json", "", "dumps", "dumps"]], hiq_id_func=lambda: next(keys), max_hiq_size=1)
for number in range(4):
    json.dumps(number)
"""


def test_trees_go_to_the_stream_and_what_it_refuses_goes_again(user: Oracle, tmp_path: Path) -> None:
    user.answer = user.take_messages(refuse=lambda at: at == 0)
    environment = {**home(tmp_path / "h"), "OCI_STM_END": user.url, "JACK": "1", "HIQ_OCI_STREAMING": "1"}
    run = python("-c", SENDING, folder=tmp_path, NO_JACK_LOG="1", **environment)
    assert run.returncode == 0, run.stderr
    sent = [message for request in user.requests for message in messages(request)]
    assert {key for key, _ in sent} == {"time"}
    assert (len(sent), len(set(sent)), sent.count(sent[0])) == (5, 4, 2), "the refused one, once more"
    trees = [hiq.Tree(value.decode()) for _, value in set(sent)]
    assert [names(tree) for tree in trees] == [[["__dumps"]]] * 4
    assert "trees were not taken" not in run.stderr


# --- Monitoring -----------------------------------------------------------------------------------

COMPARTMENT = "ocid1.compartment.oc1..aaaa"


def points(oracle: Oracle, name: str) -> dict[str, float]:
    """The last value of each series of `name`, by its label `at`."""
    series = [one for request in oracle.requests for one in metrics(request) if one["name"] == name]
    return {one["dimensions"]["at"]: one["datapoints"][0]["value"] for one in series}


def test_metrics_are_posted_signed_with_fifty_series_a_call(user: Oracle, tmp_path: Path) -> None:
    user.answer = user.take_metrics()
    name = f"orders.{os.urandom(6).hex()}"
    exporter = hiq.OciMonitoringExporter(COMPARTMENT, namespace="shop", resource_group="front", endpoint=user.url)
    hiq.init("shop", exporters=[], metrics=[exporter])
    orders = hiq.metrics.counter(name, unit="{order}")
    counted = {str(at): at + 1 for at in range(120)}
    for at, times in counted.items():
        orders.labels(at=at).inc(times)
    assert hiq.flush(60)
    assert points(user, name) == counted
    sizes = [len(metrics(request)) for request in user.requests]
    assert max(sizes) == 50
    assert len(sizes) >= 3
    for request in user.requests:
        assert request.signer(tmp_path) == f"{TENANCY}/{USER}/{FINGERPRINT}"
        assert "x-content-sha256" in request.headers
        for one in metrics(request):
            assert (one["namespace"], one["compartmentId"], one["resourceGroup"]) == ("shop", COMPARTMENT, "front")
            assert one["dimensions"]["service.name"] == "shop"
    ledger = hiq.stats()["metrics-oci_monitoring"]
    assert (ledger["rejected"], balances(ledger)) == (0, True)
    assert ledger["exported"] == ledger["offered"] >= 120


def test_series_that_fail_inside_a_success_are_counted_as_rejected(user: Oracle) -> None:
    name = f"orders.{os.urandom(6).hex()}"
    user.answer = user.take_metrics(refuse=lambda one: one["name"] == name and one["dimensions"]["at"] in "13")
    exporter = hiq.OciMonitoringExporter(COMPARTMENT, endpoint=user.url)
    hiq.init("shop", exporters=[], metrics=[exporter], log_level="none")
    for at in range(5):
        hiq.metrics.gauge(name).labels(at=at).set(at)
    hiq.flush(60)
    ledger = hiq.stats()["metrics-oci_monitoring"]
    assert (ledger["rejected"], balances(ledger)) == (2, True)
    assert ledger["exported"] == ledger["offered"] - 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "OCI_COMPARTMENT_ID: is not set"),
        ({"compartment": COMPARTMENT, "namespace": "oci_mine"}, "`oci_mine` is no namespace"),
        ({"compartment": COMPARTMENT, "auth": "guess"}, "`guess` is not known; give one of api_key"),
        ({"compartment": COMPARTMENT, "profile": "OPS"}, "OPS"),
        ({"compartment": COMPARTMENT, "region": "over there"}, "`over there` is no region"),
    ],
)
def test_what_is_wrong_with_monitoring_is_told_at_once(user: Oracle, settings: dict[str, str], said: str) -> None:
    with pytest.raises(hiq.ConfigError, match=said):
        hiq.init("shop", exporters=[], metrics=[hiq.OciMonitoringExporter(**settings)])
    assert user.requests == []


def test_the_doctor_posts_one_sample_and_explains_a_refusal_without_a_secret(user: Oracle, tmp_path: Path) -> None:
    environment = {
        **home(tmp_path / "h"),
        "OCI_MONITORING_ENDPOINT": user.url,
        "OCI_COMPARTMENT_ID": COMPARTMENT,
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "oci_monitoring",
    }
    user.answer = user.take_metrics()
    run = python("-m", "hiq", "doctor", folder=tmp_path, **environment)
    assert run.returncode == 0, run.stdout + run.stderr
    ((one,),) = map(metrics, user.requests)
    assert (one["name"], one["datapoints"][0]["value"]) == ("hiq.doctor", 1)
    assert run.stdout.splitlines()[0] == f"metrics-oci_monitoring {user.url}/20180401/metrics"
    assert "ok: the metric `hiq.doctor` was taken in " in run.stdout
    user.answer = lambda request: (401, {"echo": request.headers["authorization"]})
    run = python("-m", "hiq", "doctor", folder=tmp_path, **environment)
    said = run.stdout + run.stderr
    assert run.returncode == 1
    assert "FAILED: " in said
    assert "check user, tenancy, fingerprint and key" in said
    assert "signature=" not in said
    assert "open-sesame" not in said


# --- T2 -------------------------------------------------------------------------------------------


def without_times(request: Received) -> dict[str, Any]:
    body = request.json()
    for metric in body["metrics"]:
        metric["datapoints"] = [{**point, "timestamp": 1} for point in metric["datapoints"]]
    return {
        "method": request.method,
        "path": request.path,
        "type": request.headers["content-type"],
        "body": {**body, "hostname": "", "region": "none"},
    }


def test_metrics_are_sent_as_hiq_sends_them(oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    client = HttpMetricsClient(f"{oracle.url}/", "eu-frankfurt-1-ad-1")
    client.gauge_metric("retries", 3)
    client.metrics_queue.put_nowait({"name": "predict", "datapoints": [{"timestamp": 1, "value": 2}]})
    client.submit_metrics_queue()
    monkeypatch.setenv("T2_FLEET", "blue")
    client.timing_metric_data([])
    assert [without_times(request) for request in oracle.requests] == HIQ["t2"]


def test_the_queue_is_emptied_by_what_is_taken_and_kept_by_what_is_not(
    oracle: Oracle, caplog: pytest.LogCaptureFixture
) -> None:
    client = OciT2Client(f"{oracle.url}/")
    client.timing_metric("wait", 0.0)
    oracle.answer = lambda _request: (503, {"why": "busy"})
    client.submit_metrics_queue()
    assert client.metrics_queue.qsize() == 1
    assert f'{oracle.url}/aggregation answered 503: {{"why": "busy"}}' in caplog.text
    oracle.answer = lambda _request: (200, {})
    client.submit_metrics_queue()
    assert client.metrics_queue.empty()
    assert oracle.requests[0].body == oracle.requests[1].body
    with pytest.raises(ValueError, match="metric_data must not be empty!"):
        client.submit_metrics_queue()


def test_a_service_that_is_not_there_is_said_and_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    nobody = Oracle.start()
    nobody.close()
    own: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=1)
    client = HttpMetricsClient(f"{nobody.url.replace('://', '://me:pass@')}/", metrics_queue=own)
    client.gauge_metric("a", 1)
    client.submit_metrics_queue()
    assert own.qsize() == 1
    assert "metrics were not sent: " in caplog.text
    assert "pass@" not in caplog.text


def test_a_service_is_asked_for_json(oracle: Oracle) -> None:
    oracle.answer = lambda _request: (200, {"ok": True})
    client = HttpMetricsClient(f"{oracle.url}/")
    content, headers = client.get("query", {"name": "a b"})
    assert (content, headers["Content-Type"]) == ({"ok": True}, "application/json")
    assert oracle.requests[0].path == "/query?name=a+b"
    oracle.answer = lambda _request: (500, b"<html>")
    with pytest.raises(OSError, match=r"response code = 500"):
        client.get("query")


def test_a_stream_of_another_name_is_refused_before_anything_is_sent(user: Oracle) -> None:
    with pytest.raises(hiq.ConfigError, match="is no OCID"):
        OciStreamingClient(user.url, "my stream")
    assert user.requests == []
    assert STREAM.startswith("ocid1.")


def test_the_example_sends_to_apm_and_says_what_is_missing(apm: Oracle, tmp_path: Path) -> None:
    example = Path(__file__).parents[3] / "examples" / "oci.py"
    run = python(example, folder=tmp_path, APM_BASE_URL=apm.url, APM_PUB_KEY=KEY)
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("offered 2, exported 2\n")
    assert f"trace {sent(apm)[0]['traceId']}\n" in run.stdout
    run = python(example, folder=tmp_path, APM_BASE_URL="", APM_PUB_KEY="")
    assert (run.returncode, run.stdout) == (2, "")
    assert "APM_PUB_KEY: is not set; set it to a data key of the APM domain" in run.stderr
