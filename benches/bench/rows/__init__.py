"""Every row, with its targets. Absolute ones are of the machine that the README names."""

from __future__ import annotations

from bench.row import Row
from bench.rows.calls import by_hand, calls, measurements, recursion
from bench.rows.delivering import bridging, delivering
from bench.rows.encoding import (
    allocations,
    compressing,
    encoding,
    encoding_for_jaeger,
    encoding_for_zipkin,
    encoding_from_python,
)
from bench.rows.recording import counting, recording
from bench.rows.trees import importing, memory, texts


def rows(interpreters: list[str]) -> list[Row]:
    """All rows. `interpreters`: minor versions that there is a wheel for, the main one first."""
    main = interpreters[0]
    return [
        *encoding(),
        *encoding_for_jaeger(),
        *encoding_for_zipkin(),
        *allocations(),
        *compressing(),
        *recording(),
        *counting(),
        *delivering(),
        *bridging(main),
        *calls(main),
        *[row for version in interpreters for row in recursion(version)],
        *by_hand(main),
        *measurements(main),
        *encoding_from_python(main),
        *texts(main),
        *importing(),
        *memory(main),
    ]
