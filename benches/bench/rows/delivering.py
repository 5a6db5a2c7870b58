"""Delivery: encoders and transports together."""

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
                "rdkafka, one span a message, not encoded": Peer(
                    plain("kafka", "span_a_message"), 3.9
                )
            },
            wanted_over_floor=1.1,
            at_most=260,
        ),
    ]
