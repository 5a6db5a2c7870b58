"""`hiq bridge` between a real broker and a real Collector: nothing lost, whoever is killed.

What is expected comes from the program that records, which counts what it does.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hiq_servers import BackgroundProgram, Collector, Finished, Kafka, Span, run_program
from hiq_servers.pairs import Sent, compare, send_spans_of_every_shape
from hiq_servers.tracing import TracedRun
from hiq_servers.waiting import attempts_within

KEEP_BUSY = Path(__file__).parent / "programs" / "keep_busy.py"
LIMIT_SECONDS = 120.0
SPANS_BETWEEN = 300
ENCODINGS = ("otlp_proto", "otlp_json", "jaeger_proto", "zipkin_json", "zipkin_proto", "hiq_text")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    with Kafka(tmp_path_factory.mktemp("kafka")) as running:
        yield running


def command(kafka: Kafka, topic: str, *options: str) -> list[str]:
    source = f"kafka://{kafka.brokers}/{topic}?group={topic}"
    return [sys.executable, "-m", "hiq", "bridge", "--from", source, "--to", "otlp", *options]


def bridged(kafka: Kafka, topic: str, collector: Collector, folder: Path) -> Finished:
    """Forwards all that is there."""
    return run_program(
        command(kafka, topic, "--until-end"),
        folder=folder,
        environment={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_endpoint},
        timeout_seconds=LIMIT_SECONDS,
    )


def send(kafka: Kafka, topic: str, encoding: str) -> Sent:
    import hiq

    return send_spans_of_every_shape(hiq.KafkaExporter(kafka.brokers, topic, encoding=encoding))


@pytest.mark.usefixtures("hiq_installed")
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_each_encoding_is_forwarded_and_committed(
    encoding: str,
    kafka: Kafka,
    collector: Collector,
    tmp_path: Path,
    compared: Callable[[str, str, int], None],
) -> None:
    topic = f"{encoding}-{secrets.token_hex(4)}"
    sent = send(kafka, topic, encoding)
    count = len(sent.spans)
    finished = bridged(kafka, topic, collector, tmp_path).require_success()
    assert f"{count} spans read" in finished.stdout
    assert f"{count} delivered" in finished.stdout
    assert finished.stderr == ""
    read = collector.settled_spans_of_service(sent.service)
    compared(f"Kafka {encoding}, hiq bridge", collector.name, len(read))
    if encoding.startswith("otlp"):
        compare(sent, read, lambda span: span)
    elif encoding == "hiq_text":
        names = sorted(each.span.name.split(",")[0] for each in sent.spans)
        assert sorted(span.name for span in read) == names
    else:
        assert identities(read) == identities([each.span for each in sent.spans])

    again = bridged(kafka, topic, collector, tmp_path).require_success()
    assert "0 spans read in 0 messages" in again.stdout


def identities(spans: list[Span]) -> set[tuple[str, str, str, str]]:
    return {(span.trace_id, span.span_id, span.parent_span_id, span.name) for span in spans}


@pytest.mark.usefixtures("hiq_installed")
def test_a_bridge_that_is_killed_in_mid_stream_loses_nothing(
    kafka: Kafka, collector: Collector, tmp_path: Path, compared: Callable[[str, str, int], None]
) -> None:
    topic = f"killed-{secrets.token_hex(4)}"
    run = TracedRun(collector.otlp_endpoint, "http/protobuf")
    of_program = {
        **run.environment(),
        "OTEL_TRACES_EXPORTER": "kafka",
        "HIQ_KAFKA_BROKERS": kafka.brokers,
        "HIQ_KAFKA_TOPIC": topic,
        "OTEL_BSP_SCHEDULE_DELAY": "20",
    }
    stop = tmp_path / "stop"
    with contextlib.ExitStack() as stack:

        def start(name: str, *options: str) -> BackgroundProgram:
            return stack.enter_context(
                BackgroundProgram(
                    command(kafka, topic, *options),
                    folder=tmp_path,
                    output=tmp_path / name,
                    environment={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_endpoint},
                )
            )

        program = stack.enter_context(
            BackgroundProgram(
                [sys.executable, KEEP_BUSY, stop],
                folder=tmp_path,
                output=tmp_path / "program.txt",
                environment=of_program,
            )
        )
        bridges = [start("first.txt"), start("second.txt")]
        for bridge in bridges:
            wait_for_more(collector, run.service)
            bridge.send_signal(signal.SIGKILL)
            bridge.finish(LIMIT_SECONDS)
        third = start("third.txt")
        wait_for_more(collector, run.service)
        stop.touch()
        program.wait_for_output(r"report (.*)\n", LIMIT_SECONDS)
        program.finish(LIMIT_SECONDS).require_success()
        third.send_signal(signal.SIGTERM)
        ended = third.finish(LIMIT_SECONDS).require_success()
        assert re.search(r"\d+ spans read in \d+ messages, \d+ delivered", ended.stdout), ended
        last = bridged(kafka, topic, collector, tmp_path).require_success()

    made = int(re.findall(r'"made": (\d+)', (tmp_path / "program.txt").read_text())[0])
    read = collector.settled_spans_of_service(run.service)
    assert {span.name for span in read} == {f"work {number}" for number in range(made)}
    assert identities_are_whole(read), last
    compared("Kafka, hiq bridge killed twice", collector.name, len(read))


def identities_are_whole(read: list[Span]) -> bool:
    """A span that came twice is the same span."""
    return len(identities(read)) == len({(span.trace_id, span.span_id) for span in read})


def wait_for_more(collector: Collector, service: str) -> None:
    before = len(collector.spans_of_service(service))
    for _ in attempts_within(LIMIT_SECONDS):
        if len(collector.spans_of_service(service)) >= before + SPANS_BETWEEN:
            return
    raise AssertionError(f"no {SPANS_BETWEEN} more spans in {LIMIT_SECONDS:g} s")


@pytest.mark.usefixtures("hiq_installed")
def test_what_a_backend_does_not_take_stays_in_the_topic(
    kafka: Kafka, collector: Collector, tmp_path: Path
) -> None:
    topic = f"refused-{secrets.token_hex(4)}"
    sent = send(kafka, topic, "otlp_proto")
    with BackgroundProgram(
        command(kafka, topic),
        folder=tmp_path,
        output=tmp_path / "bridge.txt",
        # Nobody listens on this port of the discard protocol.
        environment={
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "HIQ_SHUTDOWN_TIMEOUT": "300",
        },
    ) as bridge:
        bridge.wait_for_output(r"otlp exporter: \d+ spans wait", LIMIT_SECONDS)
        bridge.send_signal(signal.SIGTERM)
        ended = bridge.finish(LIMIT_SECONDS)
    assert (
        f"{len(sent.spans)} not delivered and not committed: they stay in the topic" in ended.stdout
    )
    bridged(kafka, topic, collector, tmp_path).require_success()
    compare(sent, collector.settled_spans_of_service(sent.service), lambda span: span)


@pytest.mark.usefixtures("hiq_installed")
def test_mistakes_in_the_address_name_the_fix(tmp_path: Path) -> None:
    for source, words in (
        ("http://localhost/t", "write kafka://host:port/topic?group=name"),
        ("kafka://me:pass@localhost/t", "set HIQ_KAFKA_USERNAME"),
        ("kafka://localhost:9092/", "write kafka://host:port/topic?group=name"),
        ("kafka://localhost/t?grop=x", "`grop` is not a setting"),
        ("kafka://localhost/t?offset=middle", "give earliest or latest"),
    ):
        finished = run_program(
            [sys.executable, "-m", "hiq", "bridge", "--from", source, "--to", "otlp"],
            folder=tmp_path,
            timeout_seconds=LIMIT_SECONDS,
        )
        assert finished.code == 2, finished
        assert words in finished.stderr
        assert "pass" not in finished.stderr.replace("PASSWORD", "").replace("password", "")
