"""Delivery: encoders and transports together, and decoders with them."""

from __future__ import annotations

from bench.quantity import plain
from bench.row import Peer, Row


def delivering() -> list[Row]:
    return [
        Row(
            "S9",
            "deliver",
            "encode and deliver 512 spans, HTTP/1.1, no compression",
            "ns a span",
            plain("deliver", "hiq"),
            plain("deliver", "floor"),
            peers={"opentelemetry-otlp over HTTP": Peer(plain("deliver", "otel"), 6)},
            wanted_over_floor=1.2,
            at_most=250,
        ),
        Row(
            "S9",
            "deliver",
            "the same over gRPC",
            "ns a span",
            plain("deliver", "hiq_grpc"),
            plain("deliver", "floor_grpc"),
            peers={"opentelemetry-otlp over gRPC": Peer(plain("deliver", "otel_grpc"), 5.5)},
            wanted_over_floor=1.35,
            at_most=430,
        ),
        Row(
            "S11",
            "kafka",
            "encode and write 512 spans to Kafka, one message",
            "ns a span",
            plain("kafka", "hiq"),
            plain("kafka", "floor"),
            peers={
                "opentelemetry-proto and rdkafka, one span a message": Peer(
                    plain("kafka", "otel_span_a_message"), 3.9
                ),
                "rdkafka, one span a message, not encoded": Peer(
                    plain("kafka", "span_a_message"), 3.9
                ),
            },
            wanted_over_floor=1.1,
            at_most=260,
        ),
    ]


def bridging(version: str) -> list[Row]:
    return [
        Row(
            "S20a",
            "bridge",
            "hiq bridge, a topic of Kafka to OTLP over HTTP, 524,288 spans",
            "spans/s of CPU",
            plain(f"hiq bridge {version}", "forward"),
            at_least=500_000,
        ),
        Row(
            "S20b",
            "bridge",
            "of which: OTLP protobuf read into trees, 512 spans",
            "ns a span",
            plain("kafka", "decode"),
        ),
    ]
