"""Spans in memory as payloads that other programs read."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import hiq
import pytest
from hiq import _hiq
from hiq.testing import InMemoryExporter


@pytest.fixture
def spans() -> Iterator[InMemoryExporter]:
    with InMemoryExporter() as exporter:
        yield exporter


@pytest.fixture
def order(spans: InMemoryExporter) -> tuple[str, str]:
    """The ids of a span with an attribute, as the program sees them."""
    with hiq.trace("order", number=7) as span:
        return span.trace_id, span.span_id


def test_otlp_json(spans: InMemoryExporter, order: tuple[str, str]) -> None:
    (resource,) = json.loads(spans.encoded("otlp-json"))["resourceSpans"]
    (span,) = resource["scopeSpans"][0]["spans"]
    assert (span["traceId"], span["spanId"], span["name"]) == (*order, "order")
    assert {"key": "number", "value": {"intValue": "7"}} in span["attributes"]


def test_zipkin_json(spans: InMemoryExporter, order: tuple[str, str]) -> None:
    (span,) = json.loads(spans.encoded("zipkin-json"))
    assert (span["traceId"], span["id"], span["name"]) == (*order, "order")
    assert span["tags"]["number"] == "7"


def test_chrome(spans: InMemoryExporter, order: tuple[str, str]) -> None:
    events = json.loads(spans.encoded("chrome"))["traceEvents"]
    (span,) = [event for event in events if event["ph"] == "X"]
    assert (span["args"]["hiq.trace_id"], span["args"]["hiq.span_id"], span["name"]) == (*order, "order")
    assert span["args"]["number"] == 7


@pytest.mark.parametrize("name", ["otlp-proto", "zipkin-proto"])
def test_protobuf_with_ids_in_bytes(spans: InMemoryExporter, order: tuple[str, str], name: str) -> None:
    payload = spans.encoded(name)
    assert all(bytes.fromhex(part) in payload for part in order)
    assert b"\x05order" in payload


def test_perfetto_with_ids_in_words(spans: InMemoryExporter, order: tuple[str, str]) -> None:
    payload = spans.encoded("perfetto")
    assert all(part.encode() in payload for part in order)
    assert b"\x05order" in payload


def test_thousands_of_spans_are_one_payload(spans: InMemoryExporter) -> None:
    with hiq.trace("root"):
        for number in range(5_000):
            hiq.record("leaf", number=number)
    found = json.loads(spans.encoded("zipkin-json"))
    assert sorted(int(span["tags"].get("number", -1)) for span in found) == list(range(-1, 5_000))


@pytest.mark.parametrize("name", ["otlp-proto", "otlp-json", "zipkin-json", "zipkin-proto", "chrome", "perfetto"])
def test_what_was_encoded_before_leaves_no_trace(spans: InMemoryExporter, order: tuple[str, str], name: str) -> None:
    first = spans.encoded(name)
    again = spans.encoded(name)
    # Each of Perfetto's payloads has a random number of its own.
    assert again == first or name == "perfetto"
    with hiq.trace("another", number=8):
        pass
    both = spans.encoded(name)
    assert len(first) < len(both) < 2 * len(first) + 20
    assert both.count(b"another") == both.count(b"order") == 1
    spans.clear()
    assert spans.encoded(name) == b""


def test_a_document_has_no_arrow_to_what_another_holds(spans: InMemoryExporter) -> None:
    def work() -> None:
        with hiq.trace("child"):
            pass

    with hiq.trace("parent"):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(work).result()
        assert b"child" in spans.encoded("chrome")
        spans.clear()
    events = json.loads(spans.encoded("chrome"))["traceEvents"]
    assert [event["name"] for event in events if event["ph"] == "X"] == ["parent"]
    assert not [event for event in events if event["ph"] in "sf"], "the ends of an arrow"


def test_a_payload_that_somebody_holds_stays_what_it_is(spans: InMemoryExporter) -> None:
    def encoded(number: int) -> bytes:
        spans.clear()
        hiq.record("root", number=number)
        return spans.encoded("zipkin-json")

    def number_in(payload: bytes | memoryview) -> int:
        (span,) = json.loads(bytes(payload))
        return int(span["tags"]["number"])

    held = [encoded(number) for number in range(3)]
    views = [memoryview(encoded(number)) for number in range(3)]
    assert [number_in(payload) for payload in held] == [number_in(view) for view in views] == [0, 1, 2]
    for number in range(100, 200):
        # Of one length, and let go of at once: its hash must be its own all the same.
        payload = encoded(number)
        assert {bytes(bytearray(payload)): number}[payload] == number_in(payload) == number
        del payload
    assert [number_in(payload) for payload in held] == [0, 1, 2]


def test_threads_encode_at_the_same_time(spans: InMemoryExporter) -> None:
    with hiq.trace("root"):
        for number in range(1_000):
            hiq.record("leaf", number=number)
    expected = spans.encoded("otlp-proto")
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(spans.encoded("otlp-proto"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


def test_no_spans_are_no_bytes(spans: InMemoryExporter) -> None:
    assert spans.encoded("otlp-proto") == b""


def test_an_unknown_format_is_refused_with_the_known_ones(spans: InMemoryExporter) -> None:
    with pytest.raises(hiq.ConfigError, match=r"`xml` is not a format of spans.*otlp-proto, .*perfetto"):
        spans.encoded("xml")


def test_other_threads_run_meanwhile(spans: InMemoryExporter) -> None:
    with hiq.trace("root"):
        for number in range(5_000):
            hiq.record("leaf", number=number)
    hiq.flush(60)
    go, ran = threading.Lock(), []
    go.acquire()
    thread = threading.Thread(target=lambda: (go.acquire(), ran.append(True)))
    interval = sys.getswitchinterval()
    # From here on, a thread runs only where another lets go by itself.
    sys.setswitchinterval(1_000)
    try:
        thread.start()
        go.release()
        deadline = time.monotonic() + 60
        while not ran and time.monotonic() < deadline:
            _hiq.memory_bytes("zipkin-json")
        in_time = bool(ran)
    finally:
        sys.setswitchinterval(interval)
        thread.join()
    assert in_time
