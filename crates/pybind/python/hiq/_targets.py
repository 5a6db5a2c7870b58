"""Puts wrappers in the place of functions and takes them away again: one wrapper per target, whoever asks for it."""

from __future__ import annotations

import os
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from . import _hiq
from ._holders import Place, exchange
from ._imports import loaded_namespaces
from ._resolve import MISSING, Found, NotTraceable, find, is_c_type, raw_attribute
from ._rows import Row

__all__ = ["Instrumentation", "Target"]


class Target:
    """A place that holds a wrapper, and what belongs there without it."""

    __slots__ = ("attribute", "kept", "name", "owner", "raw", "shown", "subscriptions", "traced")

    def __init__(self, found: Found) -> None:
        self.owner = found.owner
        self.attribute = found.attribute
        self.raw = found.raw
        # What reading the attribute gave before: a bound method for a class method.
        self.shown = getattr(found.owner, found.attribute)
        self.name = found.name
        self.traced = _hiq.traced(found.function, found.name, kind=found.kind, attributes=found.attributes)
        self.kept = found.as_kept(self.traced)
        self.subscriptions = 0

    @property
    def holds_wrapper(self) -> bool:
        return raw_attribute(self.owner, self.attribute) is self.kept

    def put(self) -> None:
        _set(self.owner, self.attribute, self.kept)

    def restore(self) -> None:
        """Puts the identical original back."""
        if self.raw is MISSING:
            _delete(self.owner, self.attribute)
        else:
            _set(self.owner, self.attribute, self.raw)


class Instrumentation:
    """The targets of one driver, or (None) of the pipeline alone."""

    def __init__(self, driver: _hiq.Driver | None, say: Callable[[Row, str], None]) -> None:
        self._driver = driver
        # Told of each row that cannot be traced, and why.
        self._say = say
        self._places: dict[tuple[int, str], tuple[Target, Row]] = {}
        # Functions that others hold too: found by the last rows, and exchanged.
        self._to_exchange: list[tuple[Target, Row]] = []
        self._exchanged: set[Target] = set()
        self._exchanged_at: set[Place] = set()

    @property
    def targets(self) -> list[Target]:
        return [target for target, _ in self._places.values()]

    def add(self, rows: Iterable[Row]) -> list[tuple[Row, Target]]:
        """Traces what the rows name. A row that cannot be traced is told of; the others are traced."""
        added = []
        with _lock:
            # Rows without wildcards first: where both fit, they say the name.
            for row in sorted(rows, key=lambda row: row.has_wildcard):
                added += [(row, target) for target in self._add(row)]
            self._exchange_held()
        return added

    def remove(self) -> None:
        """Takes all subscriptions back; the last one out restores the original."""
        with _lock:
            self._release(self.targets)

    def refresh(self) -> None:
        """Looks again at what the driver wants to know of each call."""
        with _lock:
            for target in self.targets:
                _hiq.refresh(target.traced)

    def aliases(self) -> dict[str, list[str]]:
        """By function, the modules that took the original by name before it was traced, and still call it."""
        return _aliases(self.targets)

    def _add(self, row: Row) -> Iterator[Target]:
        for found in find(row):
            if isinstance(found, NotTraceable):
                self._say(row, str(found))
                continue
            try:
                target = self._subscribe(found)
            except NotTraceable as reason:
                self._say(row, str(reason))
                continue
            if target is not None:
                yield target

    def _subscribe(self, found: Found) -> Target | None:
        row, place = found.row, (id(found.owner), found.attribute)
        if place in self._places:
            known, known_row = self._places[place]
            if known.holds_wrapper:
                if row.has_wildcard or known_row is row:
                    return None
                raise NotTraceable(f"🅳 {row.dotted} cannot be hiqed twice. Please check your hiq table.")
            # Something else was put there since: a module was loaded again, a decorator came after us.
            self._release([known])
        # HiQ's drivers trace what is called by its name, as HiQ does.
        is_held = self._driver is None and found.is_held_by_others
        target = _target(found)
        if is_held:
            self._to_exchange.append((target, row))
        _hiq.subscribe(target.traced, self._driver, name=found.name, min_duration_ns=row.min_duration_ns)
        target.subscriptions += 1
        self._places[place] = (target, row)
        return target

    def _exchange_held(self) -> None:
        """Has routes, registries and others call the wrapper where they have taken the function before."""
        held, self._to_exchange = self._to_exchange, []
        if not held:
            return
        wanted = {id(target.raw): (target.raw, target.kept) for target, _ in held}
        places, fixed = exchange(wanted)
        self._exchanged.update(target for target, _ in held)
        self._exchanged_at |= places
        for target, row in held:
            if kind := fixed.get(id(target.raw)):
                self._say(row, f"by calls through a {kind} that was made before (others are)")

    def _take_back(self, targets: list[Target]) -> None:
        given = self._exchanged.intersection(targets)
        if given:
            exchange({id(target.kept): (target.kept, target.raw) for target in given}, only=self._exchanged_at)
            self._exchanged -= given
        if not self._exchanged:
            # Others may come to lie where these holders were.
            self._exchanged_at.clear()

    def _release(self, targets: list[Target]) -> None:
        self._take_back(targets)
        for target in targets:
            target.subscriptions = _hiq.unsubscribe(target.traced, self._driver)
            del self._places[id(target.owner), target.attribute]
        for target in targets:
            _settle(id(target.owner), target.attribute)


_lock = threading.RLock()
# All targets that a place ever had: more than one where somebody wrapped over us. Owners stay alive with them, so that
# a wrapper which somebody has taken by name works again at the next enabling.
_targets: dict[tuple[int, str], list[Target]] = {}


def _unlock_in_child() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_unlock_in_child)


def _target(found: Found) -> Target:
    """The target at this place, made or used again, with its wrapper put in."""
    place = _targets.setdefault((id(found.owner), found.attribute), [])
    for target in place:
        if target.holds_wrapper:
            return target
    target = next((target for target in place if _fits_again(target, found)), None) or Target(found)
    try:
        target.put()
    except (TypeError, AttributeError) as error:
        raise NotTraceable(str(error)) from error
    if target not in place:
        place.append(target)
    return target


def _fits_again(target: Target, found: Found) -> bool:
    """Idle, under this name, and its original is in place again."""
    return target.subscriptions == 0 and target.raw is found.raw and target.name == found.name


def _settle(*place: Any) -> None:
    """Restores what nobody listens to, as far as it is not covered: a wrapper over ours is not ours to take away."""
    idle = [target for target in _targets[place] if target.subscriptions == 0]
    while holder := next((target for target in idle if target.holds_wrapper), None):
        holder.restore()
        idle.remove(holder)


def _set(owner: Any, attribute: str, value: Any) -> None:
    if is_c_type(owner):
        _hiq.set_type_attribute(owner, attribute, value)
    elif isinstance(owner, type):
        # Past metaclasses that forbid setting, as enumerations do.
        type.__setattr__(owner, attribute, value)
    else:
        setattr(owner, attribute, value)


def _delete(owner: Any, attribute: str) -> None:
    if isinstance(owner, type):
        type.__delattr__(owner, attribute)
    else:
        delattr(owner, attribute)


def _has_python_code(name: str, namespace: dict[str, Any]) -> bool:
    """Whether calls in the module look names up in it; those of C code do not."""
    file = namespace.get("__file__")
    return name == "__main__" or (isinstance(file, str) and file.endswith(".py"))


def _aliases(targets: Iterable[Target]) -> dict[str, list[str]]:
    originals = {
        id(target.raw): target
        for target in targets
        if isinstance(target.owner, types.ModuleType) and target.raw is not MISSING
    }
    found: dict[str, list[str]] = {}
    for name, namespace in loaded_namespaces():
        if name.partition(".")[0] == "hiq" or not _has_python_code(name, namespace):
            continue
        for value in list(namespace.values()):
            target = originals.get(id(value))
            if target is not None and target.raw is value:
                found.setdefault(f"{target.owner.__name__}.{target.attribute}", []).append(name)
    return found
