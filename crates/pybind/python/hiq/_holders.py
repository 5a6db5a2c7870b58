"""Who else holds a function that is traced from now on: routes, registries, closures, names in other modules. They are
given the wrapper, which equals the function and has its hash: what is kept under the function is still found."""

from __future__ import annotations

import gc
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from . import _hiq

__all__ = ["Exchange", "Place", "exchange"]

# By the id of what is looked for: that object, and what takes its place.
Exchange = dict[int, tuple[Any, Any]]
# A holder's id and the key of one of its values. No reference: nothing is to live longer for our sake.
Place = tuple[int, Any]
# Where, what is held there, and how another takes its place.
Held = tuple[Place, Any, Callable[[Any], None]]

_FIXED = (partial, types.MethodType, staticmethod, classmethod)
_NOT_CALLED_FROM = (type, tuple, set, frozenset, types.ModuleType, types.FrameType)


def exchange(wanted: Exchange, only: set[Place] | None = None) -> tuple[set[Place], dict[int, str]]:
    """Puts the new objects where the old ones are held, or `only` at some places. Returns the places, and by the id of
    an object the kind of a holder that calls it and cannot be changed."""
    changed: set[Place] = set()
    fixed: dict[int, str] = {}
    sought = [old for old, _ in wanted.values()]
    for holder in gc.get_referrers(*sought):
        if holder is sought or _is_ours(holder):
            continue
        if kind := _fixed_kind(holder):
            fixed.update((id(held), kind) for held in gc.get_referents(holder) if id(held) in wanted)
            continue
        for place, held, put in _held(holder):
            if id(held) in wanted and (only is None or place in only):
                try:
                    put(wanted[id(held)][1])
                except (AttributeError, TypeError):
                    fixed[id(held)] = type(holder).__name__
                else:
                    changed.add(place)
    return changed, fixed


def _fixed_kind(holder: Any) -> str | None:
    """What calls a function and cannot be given another."""
    if issubclass(type(holder), _FIXED):
        return type(holder).__name__
    return "class" if issubclass(type(holder), dict) and _is_of_class(holder) else None


def _held(holder: Any) -> Iterator[Held]:
    """By the types themselves, never by what objects say of theirs: no code of the program runs here."""
    kind = type(holder)
    if issubclass(kind, dict):
        if not _is_copy_of_names(holder):
            yield from _items(holder)
    elif issubclass(kind, list):
        for index, held in enumerate(list.copy(holder)):
            yield (id(holder), index), held, partial(list.__setitem__, holder, index)
    elif kind is types.CellType:
        yield (id(holder), None), holder.cell_contents, partial(setattr, holder, "cell_contents")
    elif not issubclass(kind, _NOT_CALLED_FROM):
        yield from _attributes(holder)


def _items(holder: dict[Any, Any]) -> Iterator[Held]:
    for key, held in dict.copy(holder).items():
        yield (id(holder), key), held, partial(dict.__setitem__, holder, key)


def _attributes(holder: Any) -> Iterator[Held]:
    for kind in type(holder).__mro__:
        for name, descriptor in vars(kind).copy().items():
            if type(descriptor) is types.MemberDescriptorType:
                try:
                    held = descriptor.__get__(holder)
                except AttributeError:  # A slot that was never set.
                    continue
                yield (id(holder), name), held, partial(descriptor.__set__, holder)
            elif name == "__dict__" and type(descriptor) is types.GetSetDescriptorType:
                yield from _items(descriptor.__get__(holder))


def _is_of_class(namespace: dict[Any, Any]) -> bool:
    """Whether a class keeps its attributes there: only the class itself may change them, since it remembers lookups."""
    if "__module__" not in namespace or "__doc__" not in namespace:
        return False
    classes = (holder for holder in gc.get_referrers(namespace) if issubclass(type(holder), type))
    return any(own is namespace for kind in classes for own in gc.get_referents(vars(kind)))


def _is_copy_of_names(namespace: dict[Any, Any]) -> bool:
    """Whether somebody keeps there what a module's names were, to compare with it or to put it back."""
    if "__name__" not in namespace or "__builtins__" not in namespace:
        return False
    module = sys.modules.get(namespace["__name__"])
    return namespace is not getattr(module, "__dict__", None)


def _is_ours(holder: Any) -> bool:
    is_namespace = issubclass(type(holder), dict)
    module = dict.get(holder, "__name__") if is_namespace else type(holder).__module__
    return _hiq.is_traced(holder) or (isinstance(module, str) and module.partition(".")[0] == "hiq")
