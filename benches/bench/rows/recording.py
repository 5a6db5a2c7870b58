"""Recording spans and measurements in Rust."""

from __future__ import annotations

from bench.quantity import Quantity, plain, times
from bench.row import Peer, Row


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
            # The floor has the same precision; the absolute comes from one of 3 % error.
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
