"""Every row, with its targets. Absolute ones are of the machine that the README names."""

from __future__ import annotations

from bench.quantity import Quantity, added, fresh, plain, times
from bench.row import Peer, Row

OTEL = "OpenTelemetry"
HIQ = "HiQ 1.1.14"


def rows(interpreters: list[str]) -> list[Row]:
    """All rows. `interpreters`: minor versions that there is a wheel for, the main one first."""
    main = interpreters[0]
    return [
        *encoding(),
        *encoding_for_jaeger(),
        *encoding_for_zipkin(),
        *recording(),
        *counting(),
        *delivering(),
        *calls(main),
        *[row for version in interpreters for row in recursion(version)],
        *by_hand(main),
        *measurements(main),
        *texts(main),
        *memory(main),
    ]


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
        *[
            Row(
                "S7",
                "allocations",
                f"allocations while encoding Jaeger {name}",
                "a span",
                plain("allocations", f"hiq_jaeger_{case}"),
                at_most=0,
            )
            for name, case in (
                ("thrift compact", "compact"),
                ("thrift binary", "binary"),
                ("protobuf", "proto"),
            )
        ],
        *[
            Row(
                "S7",
                "allocations",
                f"allocations while encoding OTLP {name}",
                "a span",
                plain("allocations", f"hiq_{case}"),
                peers={peer_name: Peer(plain("allocations", f"otel_{case}"))},
                at_most=0,
            )
            for name, case, peer_name in (
                ("protobuf", "proto", "opentelemetry-proto and prost"),
                ("JSON", "json", "opentelemetry-proto and serde_json"),
            )
        ],
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
    def row(id_: str, work: str, case: str, at_most: float) -> Row:
        ours = plain("zipkin", f"hiq_{case}")
        return Row(id_, "zipkin", work, "ns a span", ours, at_most=at_most)

    return [
        row("S5", "Zipkin JSON", "json", 175),
        row("S6", "Zipkin protobuf", "proto", 150),
    ]


def recording() -> list[Row]:
    def ours(name: str) -> Quantity:
        return plain("record", name)

    return [
        Row(
            "S8",
            "record",
            "record a span with 4 attributes, Rust",
            "ns a span",
            ours("hiq"),
            ours("floor"),
            peers={
                "opentelemetry_sdk": Peer(ours("sdk"), 7),
                "opentelemetry_sdk, batch processor": Peer(ours("sdk_batch"), 13),
                "fastrace": Peer(ours("fastrace"), 2.5),
            },
            wanted_over_floor=1.3,
            at_most=33,
        ),
        Row(
            "S8",
            "record",
            "the same, trees handed to a worker that discards them",
            "ns a span",
            ours("hiq_handed_over"),
            ours("floor_handed_over"),
            peers={
                "opentelemetry_sdk, batch processor": Peer(ours("sdk_batch"), 13),
                "fastrace": Peer(ours("fastrace"), 2.5),
            },
            wanted_over_floor=1.3,
        ),
        Row(
            "S8",
            "record",
            "throughput of 2 threads over 1",
            "times",
            times("record", "hiq_1_thread", "hiq_2_threads"),
            times("record", "floor_1_thread", "floor_2_threads"),
            peers={
                "opentelemetry_sdk, batch processor": Peer(
                    times("record", "sdk_batch_1_thread", "sdk_batch_2_threads")
                ),
                "fastrace": Peer(times("record", "fastrace_1_thread", "fastrace_2_threads")),
            },
            at_least=1.9,
        ),
    ]


def counting() -> list[Row]:
    def ours(name: str) -> Quantity:
        return plain("metrics", name)

    peer = "metrics with metrics-exporter-prometheus"
    return [
        Row(
            "S12",
            "metrics",
            "a measurement of a summary, Rust",
            "ns",
            ours("observe_hiq"),
            ours("observe_floor"),
            peers={peer: Peer(ours("observe_metrics"), 3.7)},
            wanted_over_floor=1.4,
            at_most=9,
        ),
        Row(
            "S12",
            "metrics",
            "a page of 1,000 summaries with quantiles, read and written",
            "ns a summary",
            ours("expose_hiq"),
            ours("expose_floor"),
            peers={peer: Peer(ours("expose_metrics"), 300)},
            wanted_over_floor=1.4,
            at_most=515,
        ),
        Row(
            "S12",
            "metrics",
            "a scrape of 10,000 series",
            "ms",
            ours("scrape_10000"),
            at_most=10,
        ),
        Row(
            "S12",
            "metrics",
            "metrics from trees, on the worker",
            "ns a span",
            ours("trees"),
            at_most=60,
        ),
    ]


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


def calls(version: str) -> list[Row]:
    hiq, monotonic = f"hiq {version}", f"hiq {version} by CLOCK_MONOTONIC"
    otel, oracle = f"otel {version}", "oracle hiq"
    decorated = added(otel, "decorated")

    def row(id_: str, work: str, ours: Quantity, **more) -> Row:
        return Row(id_, "calls", work, "ns added", ours, **more)

    return [
        row(
            "S1a",
            "declared call in an open root",
            added(hiq, "declared"),
            floor=added(hiq, "floor"),
            peers={
                f"{OTEL}, decorated": Peer(decorated, 450),
                "pure Python, two clock readings": Peer(added(hiq, "pure_python"), 6),
                HIQ: Peer(added(oracle, "held"), 850),
            },
            wanted_over_floor=1.35,
            at_most=33,
        ),
        row(
            "S1a",
            "the same by CLOCK_MONOTONIC",
            added(monotonic, "declared"),
            floor=added(monotonic, "floor_monotonic"),
            wanted_over_floor=1.35,
            at_most=65,
        ),
        row(
            "S1b",
            "declared method in an open root",
            added(hiq, "declared_method", "bare_method"),
            floor=added(hiq, "floor_method", "bare_method"),
            peers={f"{OTEL}, decorated": Peer(decorated, 450)},
            wanted_over_floor=1.35,
            at_most=45,
        ),
        row(
            "S1c",
            "declared call that is a root, offered to the queue",
            added(hiq, "root"),
            peers={f"{OTEL}, decorated": Peer(decorated, 50)},
            at_most=300,
        ),
        row(
            "S1c",
            "the same into a full queue, where the oldest makes room",
            added(f"hiq {version}, silent server", "root_displacing"),
            peers={f"{OTEL}, decorated": Peer(decorated, 50)},
            at_most=300,
        ),
        row(
            "S1d",
            "declared call that raises",
            added(hiq, "declared_failing", "bare_failing"),
            peers={
                f"{OTEL}, decorated": Peer(added(otel, "decorated_failing", "bare_failing"), 50)
            },
        ),
        row(
            "S1d",
            "declared call held by a HiQ driver",
            added(hiq, "held"),
            peers={HIQ: Peer(added(oracle, "held"), 400)},
        ),
        row(
            "S1d",
            "the same, each call a root",
            added(hiq, "held_root"),
            peers={HIQ: Peer(added(oracle, "held"))},
        ),
        row(
            "S1d",
            "declared coroutine of one step, in a traced one",
            added(hiq, "declared_step", "bare_step"),
            peers={f"{OTEL}, decorated": Peer(added(otel, "decorated_step", "bare_step"), 50)},
        ),
        row(
            "S1d",
            "the same, each a root",
            added(hiq, "root_step", "bare_step"),
            peers={f"{OTEL}, decorated": Peer(added(otel, "decorated_step", "bare_step"), 50)},
        ),
        row(
            "S15",
            "declared call in a traced coroutine",
            added(hiq, "declared_in_coroutine", "bare_in_task"),
            floor=added(hiq, "floor_in_task", "bare_in_task"),
            peers={f"{OTEL}, decorated": Peer(decorated, 95)},
            wanted_over_floor=1.1,
            at_most=155,
        ),
        row(
            "S15",
            "declared call in a with-block of a task",
            added(hiq, "declared_in_block", "bare_in_task"),
            floor=added(hiq, "floor_in_task", "bare_in_task"),
            peers={f"{OTEL}, decorated": Peer(decorated, 95)},
            wanted_over_floor=1.1,
            at_most=155,
        ),
        row(
            "S16",
            "declared call, global status off",
            added(hiq, "off"),
            floor=added(hiq, "through_floor"),
            peers={
                f"{OTEL}, AlwaysOff": Peer(added(otel, "off"), 350),
                f"{HIQ}, status off": Peer(added(oracle, "off"), 350),
            },
            at_most=18,
        ),
        row(
            "S16",
            "call of an alias taken while it was declared",
            added(hiq, "through"),
            floor=added(hiq, "through_floor"),
            at_most=18,
        ),
        row(
            "S16",
            "call after the declaration is taken back",
            added(hiq, "removed", "never_declared"),
            at_most=2,
        ),
    ]


def recursion(version: str) -> list[Row]:
    hiq = f"hiq {version}"
    return [
        Row(
            "S2",
            f"fib {version}",
            f"declared fib(24), CPython {version}",
            "times",
            times(hiq, "declared_fib", "bare_fib"),
            times(hiq, "floor_fib", "bare_fib"),
            peers={
                f"{OTEL}, decorated fib(16)": Peer(
                    times(f"otel {version}", "decorated_fib", "bare_fib")
                ),
                f"{HIQ}, fib(16), CPython 3.11": Peer(
                    times("oracle hiq", "declared_fib", "bare_fib")
                ),
            },
            wanted_over_floor=1.1,
            at_most=2.0 if version == "3.11" else 2.5,
        )
    ]


def measurements(version: str) -> list[Row]:
    peer = added(f"otel {version}", "observe", "empty_loop")
    return [
        Row(
            "S12",
            "metrics",
            "Summary.observe from Python, with quantiles",
            "ns a measurement",
            added(f"hiq {version}", "observe", "empty_loop"),
            peers={"prometheus_client, without quantiles": Peer(peer, 18)},
            at_most=29,
        )
    ]


def by_hand(version: str) -> list[Row]:
    hiq, otel = f"hiq {version}", f"otel {version}"
    return [
        Row(
            "S17",
            "by hand",
            "span with 4 attributes, one call",
            "ns",
            added(hiq, "record", "empty_loop"),
            added(hiq, "floor_record", "empty_loop"),
            peers={f"{OTEL}, start_span and end": Peer(plain(otel, "span"), 220)},
            wanted_over_floor=1.6,
            at_most=65,
        ),
        Row(
            "S18",
            "by hand",
            "with-block with 4 attributes",
            "ns",
            added(hiq, "block", "empty_loop"),
            added(hiq, "floor_block", "empty_loop"),
            peers={f"{OTEL}, start_as_current_span": Peer(plain(otel, "block"), 60)},
            wanted_over_floor=1.5,
            at_most=300,
        ),
    ]


def texts(version: str) -> list[Row]:
    program = f"hiq texts {version}"
    rows = []
    for step, work in (
        ("repr", "repr() of a tree of 30,000 spans"),
        ("parse", "reading that text"),
        ("render", "drawing that tree"),
    ):
        peer = Peer(plain("oracle hiq texts", f"{step}_10k"))
        rows += [
            Row(
                "S13",
                "texts",
                work,
                "ms",
                plain(program, f"{step}_30k"),
                peers={f"{HIQ}, 10,000 spans": peer},
                at_most=30,
            ),
            Row(
                "S13",
                "texts",
                f"{step} of 1,000,000 spans over 30,000, a span",
                "times",
                times(program, f"{step}_1m_a_span", f"{step}_30k_a_span"),
                at_most=1.5,
            ),
        ]
    return rows


def memory(version: str) -> list[Row]:
    program = f"hiq memory {version}"
    return [
        Row(
            "S14",
            "memory",
            "memory of a span without attributes, held by a driver",
            "bytes",
            fresh(program, "held"),
            peers={f"{HIQ}, 30,000 spans": Peer(fresh("oracle hiq memory", "held"))},
            at_most=64,
        ),
        Row(
            "S14",
            "memory",
            "memory of a span with 6 attributes, in the queue",
            "bytes",
            fresh(program, "queued"),
            at_most=256,
        ),
    ]
