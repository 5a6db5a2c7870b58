"""What trees in memory cost: their text, their bytes, and to read them from a file."""

from __future__ import annotations

from bench.quantity import fresh, plain, times
from bench.row import Peer, Row
from bench.rows.peers import HIQ


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


def importing() -> list[Row]:
    return [
        Row(
            "S21",
            "import",
            "reading a report of VizTracer, 500,000 calls",
            "MB/s",
            plain("import", "megabytes_a_second"),
            at_least=300,
        )
    ]


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
