"""From a conf row to the attribute that holds the function, and how a wrapper must be put there."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, Literal

from . import _hiq
from ._extras import counted
from ._rows import Row

__all__ = [
    "MISSING", "Found", "NotTraceable", "find", "is_c_type", "kind_of", "raw_attribute", "refusal", "slot_refusal",
]  # fmt: skip

Kind = Literal["function", "coroutine", "generator", "awaitable_generator", "async_generator"]

MISSING: Any = object()

_DESCRIPTOR_HINTS: dict[type, str] = {
    property: "a property: its value is computed by a function that could be named instead",
    functools.cached_property: "a cached property: its value is computed by a function that could be named instead",
    functools.partialmethod: "a partialmethod: name the method that it calls",
    functools.singledispatchmethod: "a singledispatchmethod: name the methods registered with it",
}
# What a wrapper forwards, and what only making and copying objects looks up.
_FORWARDED = frozenset(dir(types.FunctionType)) | {
    "__abstractmethods__", "__class_getitem__", "__copy__", "__deepcopy__", "__dict__", "__firstlineno__",
    "__getattr__", "__getstate__", "__orig_bases__", "__parameters__", "__set_name__", "__setstate__", "__slots__",
    "__static_attributes__", "__vectorcalloffset__", "__weakref__",
}  # fmt: skip
_IMMUTABLE_TYPE = 1 << 8
_HEAP_TYPE = 1 << 9


class NotTraceable(Exception):
    """A row's target is not there, or cannot be traced. The text says why."""


class Found:
    """A callable, where it is kept, and what is found there."""

    __slots__ = ("_holder", "attribute", "function", "name", "owner", "raw", "row")

    def __init__(self, row: Row, owner: Any, attribute: str, raw: Any, holder: Any) -> None:
        self.row = row
        self.owner = owner
        self.attribute = attribute
        self.name = row.name_of(attribute) if row.has_wildcard else row.name
        # What the owner's own dict holds (the staticmethod object, not its function); MISSING: it inherits.
        self.raw = raw
        self._holder = holder
        function = _function_in(holder)
        counting = counted(row.module, row.class_name, row.function, row.name)
        self.function = counting(function) if counting else function

    @property
    def kind(self) -> Kind:
        if isinstance(self.owner, type) and _is_own_descriptor(self._holder):
            # What it gives is called, not the descriptor.
            return kind_of(getattr(self.owner, self.attribute, self.function))
        return kind_of(self.function)

    @property
    def is_held_by_others(self) -> bool:
        """Whether a function of a module has been taken by somebody else, who will not look it up again."""
        if not isinstance(self.owner, types.ModuleType) or self.raw is MISSING or _hiq.is_traced(self.raw):
            return False
        own = sum(holder is self.raw for holder in (self.raw, self._holder, self.function))
        # Besides its module, and the argument of this very call.
        return sys.getrefcount(self.raw) - own > 2

    @property
    def attributes(self) -> dict[str, Any]:
        """`code.*` by OpenTelemetry's conventions, and what the row adds."""
        return {**_code_attributes(self.function, self.owner, self.attribute), **self.row.attributes}

    def as_kept(self, wrapper: Any) -> Any:
        """The wrapper in the form in which the owner keeps it."""
        holder = self._holder
        if isinstance(holder, (staticmethod, classmethod)):
            kept: Any = type(holder)(wrapper)
            kept.__dict__.update(holder.__dict__)
            return kept
        if type(holder) is types.ClassMethodDescriptorType:
            return classmethod(wrapper)
        return wrapper


def find(row: Row) -> Iterator[Found | NotTraceable]:
    """Imports the row's module and yields what the row names; what cannot be traced comes as the reason."""
    try:
        module = _import(row.module)
        owners = list(_owners(module, row))
    except NotTraceable as reason:
        yield reason
        return
    count = 0
    for owner in owners:
        for attribute in _attributes(owner, row.function):
            try:
                found = _found(row, owner, attribute)
            except NotTraceable as reason:
                # A wildcard takes what can be traced; only a row that names a thing must get it.
                if not row.has_wildcard:
                    yield reason
                continue
            count += 1
            yield found
    if count == 0 and row.has_wildcard:
        yield NotTraceable("no function fits the wildcard")


def refusal(owner: Any, attribute: str, holder: Any) -> str | None:
    """Why the attribute of `owner`, found as `holder`, cannot be traced; None when it can. A run, `conf check` and
    `conf suggest` all ask here (by `find`)."""
    if isinstance(owner, type):
        reason = _refused_as_inherited(owner, attribute, holder) or _refused_as_descriptor(attribute, holder)
        if reason is not None:
            return reason
    for kind, hint in _DESCRIPTOR_HINTS.items():
        if isinstance(holder, kind):
            return f"{attribute} is {hint}"
    function = _function_in(holder)
    if isinstance(function, type):
        return f"{attribute} is a class, name its __init__ or another method"
    if not callable(function):
        return "a callable is needed"
    return slot_refusal(owner, attribute)


def slot_refusal(owner: Any, attribute: str) -> str | None:
    """Why an attribute of a C type is never looked up by its name; None when it is."""
    if not (is_c_type(owner) and attribute.startswith("__") and attribute.endswith("__")):
        return None
    return (
        f"{owner.__name__}.{attribute} cannot be traced: the interpreter calls it through a slot, not by its name; "
        "trace a method or the caller"
    )


def raw_attribute(owner: Any, attribute: str) -> Any:
    """What the owner's own dict holds, or MISSING."""
    return _namespace(owner).get(attribute, MISSING)


def is_c_type(owner: Any) -> bool:
    """True for types whose attributes cannot be set from Python."""
    if not isinstance(owner, type):
        return False
    return not owner.__flags__ & _HEAP_TYPE or bool(owner.__flags__ & _IMMUTABLE_TYPE)


# --- owners ---------------------------------------------------------------------------------------


def _import(name: str) -> Any:
    loaded = sys.modules.get(name)
    if loaded is not None:
        return loaded
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotTraceable(_reason(error)) from error
    except (Exception, SystemExit) as error:  # A module may raise anything while it loads.
        raise NotTraceable(f"{type(error).__name__}: {error}") from error


def _owners(module: Any, row: Row) -> Iterator[Any]:
    if not row.class_name:
        yield module
    elif "*" not in row.class_name:
        yield _walk(module, row.class_name)
    else:
        fits = _pattern(row.class_name)
        for name, value in sorted(_namespace(module).items()):
            own = isinstance(value, type) and value.__module__ == module.__name__
            if own and fits(name) and _is_offered(name, row.class_name):
                yield value


def _walk(module: Any, path: str) -> Any:
    owner = module
    for part in path.split("."):
        owner = _read(owner, part)
    return owner


def _attributes(owner: Any, function: str) -> list[str]:
    if "*" not in function:
        return [function]
    fits = _pattern(function)
    return sorted(
        name
        for name, value in _namespace(owner).items()
        if fits(name) and _is_offered(name, function) and _is_own_function(owner, value)
    )


def _pattern(text: str) -> Callable[[str], bool]:
    pattern = re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)
    return lambda name: pattern.fullmatch(name) is not None


def _is_offered(name: str, pattern: str) -> bool:
    """Private names only fit a wildcard that says so."""
    return not name.startswith("_") or pattern.startswith("_")


def _is_own_function(owner: Any, value: Any) -> bool:
    """Not what a module has imported, and no class."""
    inner = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
    if isinstance(inner, type) or not callable(inner) or not _can_be_stood_in_for(inner):
        return False
    if isinstance(owner, types.ModuleType):
        return getattr(inner, "__module__", None) == owner.__name__
    return True


def _can_be_stood_in_for(value: Any) -> bool:
    """A function, or an object that is called and nothing else: operators look methods up in types, where a wrapper has
    none."""
    if inspect.isroutine(value) or _hiq.is_traced(value):
        return True
    names = {name for kind in type(value).__mro__ if kind is not object for name in vars(kind)}
    return not any(name.startswith("__") and name.endswith("__") for name in names - _FORWARDED)


# --- attributes -----------------------------------------------------------------------------------


def _found(row: Row, owner: Any, attribute: str) -> Found:
    raw = raw_attribute(owner, attribute)
    if raw is not MISSING:
        holder = raw
    elif isinstance(owner, type):
        holder = _inherited(owner, attribute)
    else:
        holder = _read(owner, attribute)
    reason = refusal(owner, attribute, holder)
    if reason is not None:
        raise NotTraceable(reason)
    return Found(row, owner, attribute, raw, holder)


def _inherited(owner: Any, attribute: str) -> Any:
    for base in getattr(owner, "__mro__", ()):
        if attribute in base.__dict__:
            return base.__dict__[attribute]
    raise NotTraceable(_missing(owner, attribute))


def _missing(owner: type, attribute: str) -> str:
    if hasattr(type(owner), attribute):
        return f"{attribute} belongs to the metaclass {type(owner).__name__}, name that in the row"
    return f"type object {owner.__name__!r} has no attribute {attribute!r}"


def _refused_as_inherited(owner: type, attribute: str, holder: Any) -> str | None:
    base = next((base for base in owner.__mro__ if attribute in base.__dict__), owner)
    if base is owner:
        return None
    if is_c_type(owner):
        return f"{attribute} is inherited from {base.__name__}, name that type in the row"
    if isinstance(holder, types.WrapperDescriptorType):
        # `object.__init__` counts its arguments when the class has an `__init__` of its own.
        return f"{attribute} is inherited from {base.__name__}, which is written in C, and would act differently"
    return None


def _read(owner: Any, attribute: str) -> Any:
    try:
        return getattr(owner, attribute)
    except AttributeError as error:
        # A module that has just run is still called partially initialized.
        is_module = isinstance(owner, types.ModuleType)
        reason = f"module {owner.__name__!r} has no attribute {attribute!r}" if is_module else _reason(error)
        raise NotTraceable(reason) from error


def _function_in(holder: Any) -> Any:
    function: Any = holder.__func__ if isinstance(holder, (staticmethod, classmethod)) else holder
    # Taken by name while it was traced: traced here under this row, once.
    return _hiq.original(function) if _hiq.is_traced(function) else function


def _is_own_descriptor(holder: Any) -> bool:
    """Whether reading it from a class runs code of the program."""
    return isinstance(getattr(type(holder), "__get__", None), types.FunctionType)


def _refused_as_descriptor(attribute: str, holder: Any) -> str | None:
    """What must see the program's assignments, or cannot be stood in for."""
    if not _is_own_descriptor(holder) or isinstance(holder, tuple(_DESCRIPTOR_HINTS)):
        return None
    kind = type(holder)
    if hasattr(kind, "__set__") or hasattr(kind, "__delete__"):
        problem = "which decides on assignments too"
    elif not callable(holder):
        problem = "which cannot be called itself"
    else:
        return None
    return f"{attribute} is a descriptor, {kind.__name__}, {problem}: name the function that it gives"


def _namespace(owner: Any) -> dict[str, Any]:
    try:
        namespace: dict[str, Any] = vars(owner)
    except TypeError:
        raise NotTraceable(f"attributes of {type(owner).__name__} objects cannot be set") from None
    # A class that is being traced by several threads changes under the reader.
    return dict(namespace)


def _reason(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    known = (AttributeError, ImportError)
    return text if isinstance(error, known) else f"{type(error).__name__}: {text}"


# --- what a call returns, and where its code is ---------------------------------------------------


def kind_of(function: Any) -> Kind:
    candidates = [function]
    if not isinstance(function, (types.FunctionType, types.BuiltinFunctionType, types.MethodType)):
        candidates.append(getattr(type(function), "__call__", None))  # noqa: B004 (its kind, not whether it is there)
    for candidate in candidates:
        if inspect.iscoroutinefunction(candidate):
            return "coroutine"
        if inspect.isasyncgenfunction(candidate):
            return "async_generator"
        if inspect.isgeneratorfunction(candidate):
            return "awaitable_generator" if _is_awaited(candidate) else "generator"
    return "function"


def _is_awaited(generator_function: Any) -> bool:
    """Whether `types.coroutine` made it."""
    while isinstance(generator_function, functools.partial):
        generator_function = generator_function.func
    code = getattr(generator_function, "__code__", None)
    return code is not None and bool(code.co_flags & inspect.CO_ITERABLE_COROUTINE)


def _code_attributes(function: Any, owner: Any, attribute: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {"code.function.name": _full_name(function, owner, attribute)}
    try:
        inner = inspect.unwrap(function)
    except ValueError:  # The wrapping turns in a circle.
        inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    code = getattr(inner, "__code__", None)
    if isinstance(code, types.CodeType):
        attributes["code.file.path"] = code.co_filename
        attributes["code.line.number"] = code.co_firstlineno
    return attributes


def _full_name(function: Any, owner: Any, attribute: str) -> str:
    home = getattr(function, "__objclass__", None)
    module = getattr(function, "__module__", None) or getattr(home, "__module__", None)
    qualified = getattr(function, "__qualname__", None)
    if isinstance(module, str) and isinstance(qualified, str):
        return f"{module}.{qualified}"
    if isinstance(owner, types.ModuleType):
        return f"{owner.__name__}.{attribute}"
    home = owner if isinstance(owner, type) else type(owner)
    return f"{home.__module__}.{home.__qualname__}.{attribute}"
