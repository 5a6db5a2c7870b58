"""Trees of 30,000 and of almost a million spans as text, read from text, and drawn."""

from __future__ import annotations

from time import thread_time_ns

import hiq
import targets
from suite import Suite, calls

# A driver holds a million spans.
SIZES = {"30k": 30_000, "1m": 999_000}


def main() -> None:
    suite = Suite()
    for name, spans in SIZES.items():
        texts(suite, name, spans)
    suite.serve()


def texts(suite: Suite, name: str, spans: int) -> None:
    made: list[tuple[hiq.Tree, str]] = []

    def tree_and_text() -> tuple[hiq.Tree, str]:
        if not made:
            driver = hiq.HiQLatency([["targets", "", "held", "held"]])
            calls(targets.held)(spans)
            driver.disable_hiq()
            tree = driver.get_metrics()[0]
            made.append((tree, tree.repr()))
        return made[0]

    def milliseconds_of(work) -> float:
        tree, text = tree_and_text()
        start = thread_time_ns()
        work(tree, text)
        return (thread_time_ns() - start) / 1e6

    for step, work in (
        ("repr", lambda tree, _text: tree.repr()),
        ("parse", lambda _tree, text: hiq.Tree(text)),
        ("render", lambda tree, _text: tree.get_graph()),
    ):
        suite.value(f"{step}_{name}", lambda work=work: milliseconds_of(work))
        suite.value(f"{step}_{name}_a_span", lambda work=work: milliseconds_of(work) / spans)


if __name__ == "__main__":
    main()
