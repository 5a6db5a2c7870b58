"""A tree of 10,000 spans as text, read from text, and drawn, by HiQ 1.1.14.

30,000 take it 21 seconds.
"""

from __future__ import annotations

from time import thread_time_ns

import hiq
import targets
from suite import Suite, calls

SPANS = 10_000


def main() -> None:
    driver = hiq.HiQLatency(hiq_table_or_path=[["targets", "", "held", "held"]])
    calls(targets.held)(SPANS)
    tree = driver.get_metrics()[0]
    text = tree.repr()

    def milliseconds_of(work) -> float:
        start = thread_time_ns()
        work()
        return (thread_time_ns() - start) / 1e6

    suite = Suite()
    suite.value("repr_10k", lambda: milliseconds_of(tree.repr))
    suite.value("parse_10k", lambda: milliseconds_of(lambda: hiq.Tree(text)))
    suite.value("render_10k", lambda: milliseconds_of(tree.get_graph))
    suite.serve()


if __name__ == "__main__":
    main()
