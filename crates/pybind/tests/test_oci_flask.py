"""HiQ's helper of Flask applications for OCI APM."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import flask
import hiq
import pytest
from hiq.server_flask_with_oci_apm import FlaskWithOciApm, child_span
from oracle_cloud import Oracle


@pytest.fixture
def apm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Oracle]:
    for name in list(os.environ):
        if name.startswith(("OTEL_", "APM_", "TRACE", "SERVICE_NAME")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    oracle = Oracle.start()
    monkeypatch.setenv("APM_BASE_URL", oracle.url)
    monkeypatch.setenv("APM_PUB_KEY", "KEY")
    yield oracle
    oracle.close()


class Served:
    """An application that is traced, and what it says."""

    def __init__(self, **config: Any) -> None:
        self.app = flask.Flask("shop")
        self.app.config.update(config)
        self.apm = FlaskWithOciApm(self.app)
        self.headers: dict[str, str] = {}

        @self.app.route("/buy", methods=["POST"])
        def buy() -> str:
            self.apm.update_tags(city="Hà Nội")
            self.headers = self.apm.create_http_headers_for_new_span()
            return str(price(2))

        @self.app.route("/health")
        @self.apm.exempt
        def health() -> str:
            return "ok"

        @self.app.route("/fail")
        def fail() -> str:
            raise ValueError("bad")

    def leave(self) -> None:
        """Sends what is under way, as the end of the process does."""
        if self.apm._shared is not None:
            self.apm._shared.leave()
            self.apm._shared = None


@child_span
def price(count: int, span: Any = None) -> int:
    span.set_attribute("currency", "EUR")
    return count * 3


def spans(apm: Oracle) -> dict[str, dict[str, Any]]:
    found = [span for request in apm.requests for span in request.json()]
    assert len({span["name"] for span in found}) == len(found)
    return {span["name"]: span for span in found}


def test_a_request_is_a_root_with_tags_and_calls_hang_under_it(apm: Oracle) -> None:
    served = Served()
    client = served.app.test_client()
    assert client.post("/buy").text == "6"
    assert client.get("/health").text == "ok"
    assert client.get("/nowhere").status_code == 404
    served.leave()
    found = spans(apm)
    assert set(found) == {"buy.POST", "price", "None.GET"}
    root, child = found["buy.POST"], found["price"]
    assert (root["kind"], root["localEndpoint"]) == ("SERVER", {"serviceName": "shop"})
    assert "parentId" not in root
    assert root["tags"] == {"city": "Hà Nội"}
    assert (child["parentId"], child["traceId"]) == (root["id"], root["traceId"])
    assert child["localEndpoint"] == {"serviceName": "shop"}
    assert child["tags"]["currency"] == "EUR"
    assert child["tags"]["function_returns"] == "6"
    assert served.headers["x-b3-traceid"] == root["traceId"]
    assert served.headers["x-b3-sampled"] == "1"


def test_a_request_goes_on_with_the_callers_trace(apm: Oracle) -> None:
    served = Served()
    caller = {
        "X-B3-TraceId": "4bf92f3577b34da6a3ce929d0e0e4736",
        "X-B3-SpanId": "00f067aa0ba902b7",
        "X-B3-Sampled": "1",
    }
    served.app.test_client().post("/buy", headers=caller)
    served.leave()
    root = spans(apm)["buy.POST"]
    assert (root["traceId"], root["parentId"]) == (caller["X-B3-TraceId"], caller["X-B3-SpanId"])


def test_an_exception_is_an_error_of_the_request(apm: Oracle) -> None:
    served = Served(PROPAGATE_EXCEPTIONS=False)
    assert served.app.test_client().get("/fail").status_code == 500
    served.leave()
    assert spans(apm)["fail.GET"]["tags"]["error"] == "ValueError: bad"
    assert hiq.current_context() is None


@pytest.mark.parametrize("switch", ["TESTING", "ZIPKIN_DISABLE"])
def test_an_application_that_is_tested_is_not_traced(apm: Oracle, switch: str) -> None:
    served = Served(**{switch: True})
    assert served.app.test_client().post("/buy").text == "6"
    assert served.headers == {}
    served.leave()
    assert apm.requests == []
