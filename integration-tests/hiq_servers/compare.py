"""Compares spans field by field; what differs is said in words that name the field."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from hiq_servers.spans import Span


def differences(sent: Span, read: Span) -> list[str]:
    """Returns one line per field in which the span read back differs from the one sent."""
    return list(_differences("", sent, read))


def assert_same_spans(sent: list[Span], read: list[Span]) -> None:
    """Fails with one line per difference between what was sent and what a server holds."""
    found = all_differences(sent, read)
    if found:
        more = f"\n... and {len(found) - 40} more" if len(found) > 40 else ""
        raise AssertionError("\n".join(found[:40]) + more)


def all_differences(sent: list[Span], read: list[Span]) -> list[str]:
    """Compares two sets of spans by span id; missing and unexpected spans are named too."""
    found = []
    by_id = {(span.trace_id, span.span_id): span for span in read}
    if len(by_id) != len(read):
        found.append(f"{len(read)} spans read but only {len(by_id)} different span ids")
    for span in sent:
        other = by_id.pop((span.trace_id, span.span_id), None)
        if other is None:
            found.append(f"{span}: not read back")
        else:
            found.extend(f"{span}: {line}" for line in differences(span, other))
    found.extend(f"{span}: read back but never sent" for span in by_id.values())
    return found


def _differences(path: str, sent: Any, read: Any) -> Iterator[str]:
    # 1, 1.0 and True are equal in Python and different attribute values on the wire.
    if type(sent) is not type(read):
        yield f"{path}: sent {_shown(sent)}, read {_shown(read)}"
    elif dataclasses.is_dataclass(sent):
        for field in dataclasses.fields(sent):
            inner = f"{path}.{field.name}" if path else field.name
            yield from _differences(inner, getattr(sent, field.name), getattr(read, field.name))
    elif isinstance(sent, dict):
        yield from _key_differences(path, sent, read)
    elif isinstance(sent, list):
        yield from _item_differences(path, sent, read)
    elif sent != read and not _both_not_a_number(sent, read):
        yield f"{path}: sent {_shown(sent)}, read {_shown(read)}"


def _key_differences(path: str, sent: dict[str, Any], read: dict[str, Any]) -> Iterator[str]:
    for key in sent:
        if key in read:
            yield from _differences(f"{path}[{key!r}]", sent[key], read[key])
        else:
            yield f"{path}[{key!r}]: sent {_shown(sent[key])}, not read"
    for key in read.keys() - sent.keys():
        yield f"{path}[{key!r}]: not sent, read {_shown(read[key])}"


def _item_differences(path: str, sent: list[Any], read: list[Any]) -> Iterator[str]:
    if len(sent) != len(read):
        yield f"{path}: sent {len(sent)} items, read {len(read)}: {_shown(read)}"
    for index, (mine, theirs) in enumerate(zip(sent, read, strict=False)):
        yield from _differences(f"{path}[{index}]", mine, theirs)


def _both_not_a_number(sent: Any, read: Any) -> bool:
    return isinstance(sent, float) and sent != sent and read != read


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 200 else text[:200] + '...'}"
