"""What a Python program pays for calls, spans and measurements."""

from __future__ import annotations

from bench.quantity import Quantity, added, plain, times
from bench.row import Peer, Row
from bench.rows.peers import HIQ, OTEL


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
