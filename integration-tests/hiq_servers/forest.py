"""Call trees and span trees, and which call belongs to which span."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from hiq_servers.spans import Span

T = TypeVar("T")


@dataclasses.dataclass(eq=False)
class Node(Generic[T]):
    """A call or a span, and those that began inside it."""

    item: T
    name: str
    start_unix_nanos: int
    end_unix_nanos: int
    children: list[Node[T]] = dataclasses.field(default_factory=list, repr=False)

    @functools.cached_property
    def shape(self) -> str:
        """The tree by names alone, whatever the order of siblings that ran at once."""
        inner = ", ".join(sorted(child.shape for child in self.children))
        return f"{self.name}({inner})" if inner else self.name


def span_forest(spans: Iterable[Span]) -> list[Node[Span]]:
    """Returns the roots: spans without a parent, or with one that is not among `spans`."""
    nodes = {
        (span.trace_id, span.span_id): Node(
            span, span.name, span.start_unix_nanos, span.end_unix_nanos
        )
        for span in spans
    }
    roots: list[Node[Span]] = []
    for node in nodes.values():
        parent = nodes.get((node.item.trace_id, node.item.parent_span_id))
        (roots if parent is None else parent.children).append(node)
    return roots


Edges = collections.Counter[tuple[str, "str | None"]]
"""How often a name was called from another, or from none."""


def assert_same_edges(called: Edges, recorded: Edges) -> None:
    """Fails with one line per caller and callee whose numbers differ."""
    found = [
        f"{name} called from {caller}: {called[name, caller]} calls, {recorded[name, caller]} spans"
        for name, caller in sorted(called.keys() | recorded.keys(), key=str)
        if called[name, caller] != recorded[name, caller]
    ]
    if found:
        raise AssertionError("\n".join(found))


def edges(roots: Iterable[Node[T]]) -> Edges:
    counted: Edges = collections.Counter()
    for parent, node in pairs_with_parents(roots):
        counted[node.name, parent.name if parent else None] += 1
    return counted


def pairs_with_parents(roots: Iterable[Node[T]]) -> Iterator[tuple[Node[T] | None, Node[T]]]:
    waiting: list[tuple[Node[T] | None, Node[T]]] = [(None, root) for root in roots]
    while waiting:
        parent, node = waiting.pop()
        yield parent, node
        waiting.extend((node, child) for child in node.children)


A = TypeVar("A")
B = TypeVar("B")
Agrees = Callable[[Node[A], Node[B]], bool]


def matched(
    calls: list[Node[A]], spans: list[Node[B]], agrees: Agrees[A, B]
) -> Iterator[tuple[Node[A], Node[B]]]:
    """Pairs every call with a span so that all pairs, and all pairs of their children, agree.

    `agrees` looks at two nodes alone (their times). Fails when there is no such pairing; the caller
    has made sure that both sides have the same shapes equally often.
    """
    spans_by_shape = _by_shape(spans)
    for shape, alike in _by_shape(calls).items():
        candidates = spans_by_shape[shape]
        assignment = _assign(alike, candidates, agrees)
        if assignment is None:
            raise AssertionError(_unmatched(alike, candidates, agrees))
        for call, span in assignment:
            yield call, span
            yield from matched(call.children, span.children, agrees)


def _assign(
    calls: list[Node[A]], spans: list[Node[B]], agrees: Agrees[A, B]
) -> list[tuple[Node[A], Node[B]]] | None:
    """Finds a perfect matching by augmenting paths; None when there is none."""
    wanted = [_nearest_agreeing(call, spans, agrees) for call in calls]
    taken_by: dict[int, int] = {}

    def take(call: int, tried: set[int]) -> bool:
        for span in wanted[call]:
            if span not in tried:
                tried.add(span)
                if span not in taken_by or take(taken_by[span], tried):
                    taken_by[span] = call
                    return True
        return False

    if not all(take(call, set()) for call in range(len(calls))):
        return None
    return [(calls[call], spans[span]) for span, call in taken_by.items()]


def _nearest_agreeing(call: Node[A], spans: list[Node[B]], agrees: Agrees[A, B]) -> list[int]:
    nearest_first = sorted(range(len(spans)), key=lambda span: _distance_nanos(call, spans[span]))
    return [span for span in nearest_first if _trees_agree(call, spans[span], agrees)]


def _trees_agree(call: Node[A], span: Node[B], agrees: Agrees[A, B]) -> bool:
    if not agrees(call, span):
        return False
    spans_by_shape = _by_shape(span.children)
    return all(
        _assign(alike, spans_by_shape[shape], agrees) is not None
        for shape, alike in _by_shape(call.children).items()
    )


def _by_shape(nodes: list[Node[T]]) -> dict[str, list[Node[T]]]:
    grouped: dict[str, list[Node[T]]] = collections.defaultdict(list)
    for node in nodes:
        grouped[node.shape].append(node)
    return grouped


def _distance_nanos(call: Node[A], span: Node[B]) -> int:
    starts = abs(call.start_unix_nanos - span.start_unix_nanos)
    return starts + abs(call.end_unix_nanos - span.end_unix_nanos)


def _unmatched(calls: list[Node[A]], spans: list[Node[B]], agrees: Agrees[A, B]) -> str:
    alone = [call for call in calls if not _nearest_agreeing(call, spans, agrees)] or calls
    call = alone[0]
    nearest = min(spans, key=lambda span: _distance_nanos(call, span))
    return (
        f"{len(alone)} of {len(calls)} calls of {call.name} find no span that agrees with them and "
        f"what they called.\nfirst: {call.item}\nnearest: {nearest.item}\n"
        f"it starts {nearest.start_unix_nanos - call.start_unix_nanos} ns after the call "
        f"and ends {nearest.end_unix_nanos - call.end_unix_nanos} ns after it"
    )
