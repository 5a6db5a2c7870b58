"""For users' own tests: finished spans in memory.

from hiq.testing import InMemoryExporter

def test_orders_are_traced():
    with InMemoryExporter() as spans:
        place_order()
    assert [span["name"] for span in spans] == ["place_order"]
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from . import _hiq
from .exporters import Exporter

__all__ = ["InMemoryExporter"]

_shelves = itertools.count(1)


class InMemoryExporter(Exporter):
    """Keeps finished spans. Give it to `hiq.init(exporters=[...])`, or use it as a context manager, which takes it out
    of the pipeline at the end; the spans stay readable.

    A span is a dict: `name`, `trace_id`, `span_id`, `parent_span_id` (hex digits, empty for a root), `kind`,
    `start_unix_nanos`, `end_unix_nanos`, `attributes`, `events`, `links`, `status`, `status_message`, `scope`,
    `resource`.
    An object that is entered by `with` has its own spans, also inside another; those that are only given to `hiq.init`
    share theirs.
    """

    def __init__(self) -> None:
        super().__init__("memory")
        self._shelf = 0
        self._handle: int | None = None
        self._has_started = False

    def settings(self) -> dict[str, Any]:
        """Where its spans are kept: on a shelf of its own once it was entered."""
        own = {"shelf": self._shelf} if self._shelf else {}
        return {**super().settings(), **own}

    def __enter__(self) -> InMemoryExporter:
        from . import _processes, executors

        self._has_started = not _hiq.is_running()
        self._shelf = self._shelf or next(_shelves)
        self._handle = _hiq.add_exporter(self.settings())
        self.clear()
        executors.install()
        _processes.install()
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._handle is not None:
            _hiq.remove_exporter(self._handle)
            self._handle = None
        if self._has_started and not _hiq.stats():
            _hiq.shutdown()

    def spans(self) -> list[dict[str, Any]]:
        """The spans that are finished now, by their start."""
        _hiq.flush()
        return sorted(_hiq.memory_spans(shelf=self._shelf), key=lambda span: int(span["start_unix_nanos"]))

    def named(self, name: str) -> list[dict[str, Any]]:
        """Those of this name."""
        return [span for span in self.spans() if span["name"] == name]

    def encoded(self, format: str) -> bytes:
        """The spans that are finished now as one payload, for golden files and for other programs: `otlp-proto`,
        `otlp-json`, `zipkin-json`, `zipkin-proto`, `chrome` or `perfetto`; ConfigError for any other format.

        The GIL is released meanwhile. Nothing is left out; a payload of no spans is empty.
        """
        _hiq.flush()
        return _hiq.memory_bytes(format, shelf=self._shelf)

    def clear(self) -> None:
        """Forgets the spans."""
        _hiq.flush()
        _hiq.memory_spans(clear=True, shelf=self._shelf)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.spans())

    def __len__(self) -> int:
        return len(self.spans())
