"""Encoders: the cost of a span in each format, and what they allocate."""

from __future__ import annotations

from bench.quantity import Quantity, plain
from bench.row import Peer, Row


def encoding() -> list[Row]:
    def row(id_: str, work: str, case: str, **targets) -> Row:
        ours, floor = plain("encode", f"hiq_{case}"), plain("encode", f"floor_{case}")
        return Row(id_, "encode", work, "ns a span", ours, floor, **targets)

    def peer(case: str, ratio: float) -> Peer:
        return Peer(plain("encode", f"otel_{case}"), ratio)

    return [
        row(
            "S4",
            "OTLP protobuf, 512 spans, 64 batches in turn",
            "proto",
            peers={"opentelemetry-proto and prost": peer("proto", 12)},
            wanted_over_floor=1.2,
            at_most=110,
        ),
        row(
            "S5",
            "OTLP/JSON, the same",
            "json",
            peers={"opentelemetry-proto and serde_json": peer("json", 9)},
            wanted_over_floor=1.2,
            at_most=185,
        ),
    ]


def compressing() -> list[Row]:
    """OTLP knows no compression but gzip; hiq's is that of its delivery loop."""

    def case(name: str) -> Quantity:
        return plain("compress", name)

    return [
        Row(
            "S10",
            "compress",
            "OTLP protobuf and gzip",
            "ns a span",
            case("hiq_gzip"),
            case("floor_gzip"),
            peers={"opentelemetry-proto, prost and gzip 6": Peer(case("otel_gzip"), 4.9)},
            wanted_over_floor=1.05,
            at_most=840,
        )
    ]


def allocations() -> list[Row]:
    def row(name: str, case: str, peers: dict[str, str]) -> Row:
        return Row(
            "S7",
            "allocations",
            f"allocations while encoding {name}",
            "a span",
            plain("allocations", f"hiq_{case}"),
            peers={peer: Peer(plain("allocations", case)) for peer, case in peers.items()},
            at_most=0,
        )

    return [
        row("OTLP protobuf", "proto", {"opentelemetry-proto and prost": "otel_proto"}),
        row("OTLP JSON", "json", {"opentelemetry-proto and serde_json": "otel_json"}),
        row("Jaeger thrift compact", "jaeger_compact", {}),
        row("Jaeger thrift binary", "jaeger_binary", {}),
        row("Jaeger protobuf", "jaeger_proto", {}),
        row("Zipkin JSON", "zipkin_json", {"opentelemetry-zipkin": "otel_zipkin_json"}),
        row("Zipkin protobuf", "zipkin_proto", {}),
        row("Chrome JSON", "chrome_json", {}),
        row("Perfetto", "perfetto", {}),
    ]


def encoding_for_jaeger() -> list[Row]:
    def row(work: str, case: str, at_most: float, peers: dict[str, Peer]) -> Row:
        ours, floor = plain("jaeger", f"hiq_{case}"), plain("jaeger", f"floor_{case}")
        return Row(
            "S6",
            "jaeger",
            work,
            "ns a span",
            ours,
            floor,
            peers=peers,
            wanted_over_floor=1.2,
            at_most=at_most,
        )

    return [
        row("Jaeger thrift, compact", "compact", 148, {}),
        row("Jaeger thrift, binary", "binary", 107, {}),
        row(
            "Jaeger protobuf",
            "proto",
            130,
            {"prost, structs ready": Peer(plain("jaeger", "prost"), 2.7)},
        ),
        Row(
            "S6",
            "jaeger",
            "Jaeger thrift, compact, sent by UDP",
            "ns a span",
            plain("jaeger", "hiq_udp"),
            peers={"fastrace-jaeger": Peer(plain("jaeger", "fastrace_udp"), 16)},
            at_most=300,
        ),
    ]


def encoding_for_zipkin() -> list[Row]:
    def row(id_: str, work: str, case: str, at_most: float, peers: dict[str, Peer]) -> Row:
        ours, floor = plain("zipkin", f"hiq_{case}"), plain("zipkin", f"floor_{case}")
        return Row(
            id_,
            "zipkin",
            work,
            "ns a span",
            ours,
            floor,
            peers=peers,
            wanted_over_floor=1.2,
            at_most=at_most,
        )

    # It writes nothing of the resource; a Collector writes all of it, as hiq does by default.
    zipkin = Peer(plain("zipkin", "otel_json"), 13)
    return [
        row("S5", "Zipkin JSON", "json", 175, {}),
        row(
            "S5",
            "Zipkin JSON, of the resource its service alone",
            "json_service",
            175,
            {"opentelemetry-zipkin": zipkin},
        ),
        row(
            "S6",
            "Zipkin protobuf",
            "proto",
            150,
            {"prost, structs ready": Peer(plain("zipkin", "prost"), 1.5)},
        ),
    ]


def encoding_from_python(version: str) -> list[Row]:
    """Recorded by a Python program, encoded without the GIL; the peers encode with it.

    In Zipkin's format each span says what its resource says: the service and the SDK alone, on both
    sides, then what is found out of process, system and host as well. py_zipkin knows no resource.
    """

    def row(
        work: str,
        case: str,
        at_most: float,
        peers: dict[str, tuple[str, float]],
        resource: str = "",
    ) -> Row:
        ours, theirs = (f"{who} encodes {version}{resource}" for who in ("hiq", "otel"))
        return Row(
            "S19",
            "python encoding",
            work,
            "ns a span",
            plain(ours, case),
            peers={
                peer: Peer(plain(theirs, their_case), ratio)
                for peer, (their_case, ratio) in peers.items()
            },
            at_most=at_most,
        )

    of_opentelemetry = {"OpenTelemetry's exporter": ("zipkin-json", 95.0)}
    return [
        row(
            "a Python program's spans into OTLP protobuf",
            "otlp-proto",
            120,
            {"OpenTelemetry's exporter": ("otlp-proto", 250)},
        ),
        row(
            "a Python program's spans into Zipkin JSON, of the resource its service alone",
            "zipkin-json",
            190,
            {**of_opentelemetry, "py_zipkin": ("py-zipkin-json", 38)},
        ),
        row(
            "a Python program's spans into Zipkin JSON, with the whole resource",
            "zipkin-json",
            190,
            of_opentelemetry,
            ", whole resource",
        ),
    ]
