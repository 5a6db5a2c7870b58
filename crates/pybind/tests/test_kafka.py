"""Kafka's settings as Python gives them, and what is said where no broker is. Brokers themselves: integration-tests."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import hiq
import pytest
from conftest import python


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"brokers": "http://kafka:9092"}, "brokers: `http://kafka:9092` is no broker; give host:port"),
        ({"topic": "no topic"}, "topic: `no topic` is no topic"),
        ({"encoding": "thrift"}, "encoding: `thrift` is not known; give one of otlp_proto, otlp_json"),
        ({"key": "span"}, "key: `span` is not known; give one of none, trace, service"),
        ({"compression": "br"}, "compression: `br` is not known"),
        ({"username": "me"}, "password: a user is given, and no password"),
        ({"profile": "oci-streaming"}, "profile: OCI Streaming takes user and password over TLS"),
        ({"certificate": "/no/such.pem"}, "certificate: /no/such.pem cannot be read"),
        ({"max_message_bytes": 7}, "max_message_bytes: 7 bytes are no useful size"),
        ({"properties": {"no.such": "1"}}, "no.such: "),
        ({"properties": {"linger.ms": 5}}, "properties\\[linger.ms\\]: int was given; give a text"),
        ({"brokers": 9092}, "brokers: int was given; give a text or a list of them"),
    ],
)
def test_mistakes_in_settings_name_the_fix(settings: dict, words: str) -> None:
    with pytest.raises(hiq.ConfigError, match=words):
        hiq.init(exporters=[hiq.KafkaExporter(**settings)])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"encoding": "zipkin_json"},
            "encoding: zipkin_json is an encoding of spans alone; give otlp_proto or otlp_json",
        ),
        ({"key": "trace"}, "key: metrics are of no trace; give none or service"),
        ({"topic": "no topic"}, "topic: `no topic` is no topic"),
        ({"summaries": "mean"}, "summaries: `mean` is not known; use quantiles or histogram"),
    ],
)
def test_mistakes_in_settings_of_metrics_name_the_fix(settings: dict, words: str) -> None:
    with pytest.raises(hiq.ConfigError, match=words):
        hiq.init(exporters=[], metrics=[hiq.KafkaExporter(**settings)])


def test_how_summaries_leave_is_no_question_of_spans() -> None:
    with pytest.raises(hiq.ConfigError, match="summaries: is not a setting"):
        hiq.init(exporters=[hiq.KafkaExporter(summaries="histogram")])


def test_no_secret_is_in_what_an_exporter_or_its_mistakes_print() -> None:
    exporter = hiq.KafkaExporter(username="me", password="pass-word", properties={"ssl.key.pem": "the-key"})
    assert repr(exporter) == "KafkaExporter(password, properties, username)"
    with pytest.raises(hiq.ConfigError) as raised:
        hiq.init(exporters=[hiq.KafkaExporter(properties={"linger.ms": "pass-word"})])
    assert "pass-word" not in str(raised.value)


def test_a_list_of_brokers_is_as_good_as_a_text() -> None:
    assert hiq.KafkaExporter(["a:1", "b:2"]).settings()["brokers"] == ["a:1", "b:2"]
    hiq.init(exporters=[hiq.KafkaExporter(["a:1", "b:2"]), hiq.KafkaExporter("a:1,b:2")])
    assert set(hiq.stats()) == {"kafka", "kafka-2"}
    hiq.shutdown(60)


def test_nothing_is_opened_before_the_first_span() -> None:
    before = set(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else set()
    hiq.init(exporters=["kafka"])
    after = set(os.listdir("/proc/self/task")) if before else set()
    hiq.shutdown(60)
    # A thread of an earlier test may end meanwhile.
    assert after <= before


def test_where_nobody_listens_is_one_line_and_nothing_of_librdkafkas(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        # Bound and not listening: nobody can take the port, and connecting is refused.
        broker = f"127.0.0.1:{held.getsockname()[1]}"
        ran = python("-m", "hiq", "doctor", "--timeout", "20", "kafka", folder=tmp_path, HIQ_KAFKA_BROKERS=broker)
    assert ran.returncode == 1
    assert ran.stderr == ""
    head, diagnosis, *_ = ran.stdout.splitlines()
    assert head == f"kafka     kafka://{broker}/otlp_spans as otlp_proto"
    assert "FAILED" in diagnosis
    assert diagnosis.endswith("Connection refused; is the broker running there?")
