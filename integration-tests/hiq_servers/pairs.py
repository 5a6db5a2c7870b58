"""Spans of every shape, sent by hiq through any exporter, and what a server has to hold of them.

What is expected is written down while the program records, from what it itself says and from its
own clock; hiq is asked for nothing but the ids that it chose. A format's losses are a function from
the expected span to what is left of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hiq_servers.compare import assert_same_spans
from hiq_servers.server import Server
from hiq_servers.spans import Event, Link, Span
from hiq_servers.tracing import SCOPE_NAME, hiq_version
from hiq_servers.waiting import attempts_within

# hiq's clock is the processor's, put in step with the system's once a second.
CLOCK_NANOS = 1_000_000
UDP_SECONDS = 5.0
UDP_ATTEMPTS = 5

Losses = Callable[[Span], Span]
Bounds = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Pair:
    """A format over a wire: how hiq is told to send it to a server, and what that cannot carry."""

    title: str
    exporter: Callable[[Server], Any]
    losses: Losses
    unit_nanos: int = 1
    """What times are counted in."""
    is_confirmed: bool = True
    """False for wires that never answer: what is lost is sent again, under another service name."""
    seen: Callable[[Span], Span] = lambda span: span
    """What is compared of a span that was read."""


@dataclasses.dataclass
class SentSpan:
    """A span without times, and the clock's readings around its start, its end and its events.

    An expected event has for its time the reading before it, and takes it along wherever a format's
    losses or a server's order put that event.
    """

    span: Span
    start: Bounds = (0, 0)
    end: Bounds = (0, 0)
    after_event: dict[int, int] = dataclasses.field(default_factory=dict)
    """The reading after each event, by the reading before it."""


@dataclasses.dataclass(frozen=True)
class Sent:
    service: str
    spans: list[SentSpan]
    ledger: dict[str, int]
    """Of the one exporter, zeros left out."""


def assert_pair(pair: Pair, server: Server) -> int:
    """Sends, reads back, compares. Returns how many spans were compared."""
    attempts = 1 if pair.is_confirmed else UDP_ATTEMPTS
    for attempt in range(attempts):
        sent = send_spans_of_every_shape(pair.exporter(server))
        assert_balanced(sent, "exported" if pair.is_confirmed else "sent_unconfirmed")
        read = (
            server.settled_spans_of_service(sent.service)
            if pair.is_confirmed
            else arrived(server, sent.service, len(sent.spans))
        )
        if len(read) >= len(sent.spans) or attempt == attempts - 1:
            break
    compare(sent, [pair.seen(span) for span in read], pair.losses)
    assert_counted_in(pair.unit_nanos, read)
    return len(read)


def assert_counted_in(unit_nanos: int, read: list[Span]) -> None:
    starts = [span.start_unix_nanos for span in read]
    assert all(start % unit_nanos == 0 for start in starts)
    # Of 200 starts, some are at no whole microsecond.
    assert unit_nanos > 1 or any(start % 1_000 for start in starts)


def arrived(server: Server, service: str, count: int) -> list[Span]:
    """Reads until so many spans are there, or until it is too late for a packet."""
    read: list[Span] = []
    for _ in attempts_within(UDP_SECONDS):
        read = server.spans_of_service(service)
        if len(read) >= count:
            break
    return read


def assert_balanced(sent: Sent, delivered: str) -> None:
    count = len(sent.spans)
    assert sent.ledger == {"offered": count, delivered: count}


def compare(sent: Sent, read: list[Span], losses: Losses) -> None:
    by_id = {(span.trace_id, span.span_id): span for span in read}
    expected = []
    for each in sent.spans:
        left = losses(each.span)
        other = by_id.get((left.trace_id, left.span_id))
        expected.append(left if other is None else with_times_of(each, left, other))
    assert_same_spans(expected, [with_our_resource(span, sent.spans[0].span) for span in read])


def with_times_of(sent: SentSpan, left: Span, read: Span) -> Span:
    """The expected span with the times that were read, once these lie where they must."""
    assert_within(sent.start, read.start_unix_nanos, f"start of {read}")
    assert_within(sent.end, read.end_unix_nanos, f"end of {read}")
    assert read.end_unix_nanos > read.start_unix_nanos
    events = []
    for event, seen in zip(left.events, read.events, strict=False):
        before = event.time_unix_nanos
        bounds = (before, sent.after_event[before])
        assert_within(bounds, seen.time_unix_nanos, f"event {event.name} of {read}")
        events.append(dataclasses.replace(event, time_unix_nanos=seen.time_unix_nanos))
    return dataclasses.replace(
        left,
        start_unix_nanos=read.start_unix_nanos,
        end_unix_nanos=read.end_unix_nanos,
        events=[*events, *left.events[len(events) :]],
    )


def assert_within(bounds: Bounds, nanos: int, what: str) -> None:
    before, after = bounds
    is_there = before - CLOCK_NANOS <= nanos <= after + CLOCK_NANOS
    assert is_there, f"{what}: {nanos}, not in {bounds}"


def with_our_resource(read: Span, sent: Span) -> Span:
    """hiq adds what it finds out about the process; that is compared where the shop is."""
    ours = {key: value for key, value in read.resource.items() if key in sent.resource}
    return dataclasses.replace(read, resource=ours)


# --- what is recorded ---------------------------------------------------------------------------


def send_spans_of_every_shape(exporter: Any) -> Sent:
    (sent,) = send_to_all(exporter)
    return sent


def send_to_all(*exporters: Any, metrics: Sequence[Any] = ()) -> list[Sent]:
    """The same spans to each, from one process; what was sent, with the ledger of each in turn.

    Where there are exporters of `metrics`, the spans are counted, and all points have arrived.
    """
    import hiq

    service = f"pair-{secrets.token_hex(8)}"
    resource = {"test.run": secrets.token_hex(8), "test.number": 7, "test.yes": True}
    hiq.init(service_name=service, resource=resource, exporters=exporters, metrics=metrics or None)
    try:
        record = Recording({"service.name": service, **resource})
        record.spans_of_every_shape()
        assert hiq.flush(20.0)
        stats = hiq.stats()
    finally:
        hiq.shutdown()
    ledgers = [ledger for name, ledger in stats.items() if not name.startswith("metrics")]
    assert len(ledgers) == len(exporters)
    for name in stats.keys() - {"metrics"}:
        if name.startswith("metrics-"):
            ledger = dict(counts(stats[name]))
            assert ledger["offered"] == ledger["exported"] > len(record.spans)
            assert sum(ledger.values()) == 2 * ledger["offered"]
    assert len(stats) - len(ledgers) == len(metrics) + bool(metrics)
    return [
        Sent(service, record.spans, {key: count for key, count in counts(ledger) if count})
        for ledger in ledgers
    ]


def counts(ledger: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for key, value in ledger.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}", count) for inner, count in value.items())
        elif key not in NOT_OF_THE_LEDGER:
            yield key, value


NOT_OF_THE_LEDGER = ("wake_ups", "possible_repeats", "sampled_out")


class Recording:
    """Records spans by hand and writes down what it does."""

    def __init__(self, resource: dict[str, Any]) -> None:
        self.spans: list[SentSpan] = []
        self._resource = resource
        self._open: list[SentSpan] = []

    def spans_of_every_shape(self) -> None:
        import hiq

        with self.span("root ☂ 🐍 " + "n" * 300, "server") as (root, sent):
            root.set_attributes(values_of_every_type())
            sent.span.attributes.update(values_of_every_type())
            with self.span("child", "client") as (child, of_child):
                self.event(child, of_child, "first", {"at": 1, "text": "ä", "yes": False})
                self.event(child, of_child, "", {})
                self.set_status(child, of_child, "error", "broken ☂")
            with self.span("fine", "internal") as (fine, of_fine):
                self.set_status(fine, of_fine, "ok", "")
        headers = {
            "traceparent": f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01",
            "tracestate": "vendor=opaque,other=1",
        }
        remote = hiq.extract(headers)
        assert remote is not None
        token = hiq.attach(remote)
        try:
            for kind in ("producer", "consumer"):
                with self.span(kind, kind, remote) as (span, of_span):
                    self.link(span, of_span, {"why": "linked"})
        finally:
            hiq.detach(token)
        with self.span("many", "internal") as (many, of_many):
            attributes = {f"key {number}": number for number in range(100)}
            many.set_attributes(attributes)
            of_many.span.attributes.update(attributes)
        for number in range(200):
            with self.span(f"burst {number}", "internal"):
                pass

    @contextlib.contextmanager
    def span(self, name: str, kind: str, remote: Any = None) -> Iterator[tuple[Any, SentSpan]]:
        import hiq

        before = time.time_ns()
        with hiq.trace(name, kind=kind) as span:
            sent = SentSpan(
                self._expected(span, name, kind, remote), start=(before, time.time_ns())
            )
            self.spans.append(sent)
            self._open.append(sent)
            yield span, sent
            self._open.pop()
            before_end = time.time_ns()
        sent.end = (before_end, time.time_ns())

    def _expected(self, span: Any, name: str, kind: str, remote: Any) -> Span:
        parent = self._open[-1].span.span_id if self._open else ""
        return Span(
            trace_id=span.trace_id,
            span_id=span.span_id,
            parent_span_id=remote.span_id if remote else parent,
            name=name,
            kind=kind.upper(),
            start_unix_nanos=0,
            end_unix_nanos=0,
            attributes={},
            events=[],
            links=[],
            status_code="UNSET",
            status_message="",
            trace_state=remote.trace_state if remote else "",
            flags=0x301 if remote else 0x101,
            dropped_attributes=0,
            dropped_events=0,
            dropped_links=0,
            resource=self._resource,
            scope_name=SCOPE_NAME,
            scope_version=hiq_version(),
            scope_attributes={},
        )

    def event(self, span: Any, sent: SentSpan, name: str, attributes: dict[str, Any]) -> None:
        before = time.time_ns()
        span.add_event(name, attributes)
        sent.after_event[before] = time.time_ns()
        sent.span.events.append(Event(name, before, attributes))

    def set_status(self, span: Any, sent: SentSpan, status: Any, message: str) -> None:
        span.set_status(status, message)
        changes = {"status_code": status.upper(), "status_message": message}
        sent.span = dataclasses.replace(sent.span, **changes)

    def link(self, span: Any, sent: SentSpan, attributes: dict[str, Any]) -> None:
        import hiq

        trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
        context = hiq.extract({"traceparent": f"00-{trace_id}-{span_id}-01", "tracestate": "l=1"})
        assert context is not None
        span.add_link(context, attributes)
        sent.span.links.append(Link(trace_id, span_id, "l=1", 0x301, attributes))


def values_of_every_type() -> dict[str, Any]:
    return {
        "text": "plain",
        "unicode": "ünïcödé \N{SNOWMAN} \N{PILE OF POO} \x00 end",
        "empty": "",
        "long": "x" * 5_000,
        "yes": True,
        "no": False,
        "zero": 0,
        "big": 2**63 - 1,
        "small": -(2**63),
        "pi": math.pi,
        "whole float": 2.0,
        "infinite": -math.inf,
        "bytes": b"\x00\xff raw",
        "texts": ["a", "", 'q"'],
        "numbers": [1, -2, 3],
        "floats": [0.5, 2.25],
    }
