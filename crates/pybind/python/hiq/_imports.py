"""Tells of modules right after they have been executed, before anybody can take a function of theirs by name; and which
have been."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["ModuleWatch", "loaded_namespaces", "missing_part"]

# Each module has a loader object of its own.
_OWN_LOADERS = (
    importlib.machinery.SourceFileLoader,
    importlib.machinery.SourcelessFileLoader,
    importlib.machinery.ExtensionFileLoader,
)


class ModuleWatch:
    """A finder that lets the others find, and hears when the module has run."""

    def __init__(self, names: frozenset[str], loaded: Callable[[str, Any], None]) -> None:
        self._names = names
        self._loaded = loaded

    def install(self) -> None:
        """Tells of the modules that are there, then of those to come."""
        for name in sorted(self._names & sys.modules.keys()):
            self._tell(name, sys.modules[name])
        self.listen()

    def listen(self) -> None:
        """Tells of the modules to come alone."""
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        if name not in self._names:
            return None
        spec = self._found_by_others(name, path, target)
        if spec is not None and spec.loader is not None:
            if isinstance(spec.loader, _OWN_LOADERS):
                self._listen_on(spec.loader)
            else:
                spec.loader = _Listener(spec.loader, self._tell)
        return spec

    def _found_by_others(self, name: str, path: Sequence[str] | None, target: Any) -> Any:
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)
            spec = find_spec(name, path, target) if find_spec and finder is not self else None
            if spec is not None:
                return spec
        return None

    def _listen_on(self, loader: Any) -> None:
        def exec_module(module: Any) -> None:
            # Once, and nothing of ours is left on the loader that the program may look at.
            loader.__dict__.pop("exec_module", None)
            loader.exec_module(module)
            self._tell(module.__name__, module)

        loader.exec_module = _without_frame(exec_module)

    def _tell(self, name: str, module: Any) -> None:
        # A module may have put another object in its place.
        self._loaded(name, sys.modules.get(name, module))


def missing_part(name: str) -> str | None:
    """The part of a module's dotted name that nobody finds; None when it is there. Nothing is imported."""
    path: Sequence[str] | None = None
    parts = name.split(".")
    for part in (".".join(parts[: count + 1]) for count in range(len(parts))):
        loaded = sys.modules.get(part)
        if loaded is not None:
            path = getattr(loaded, "__path__", ())
            continue
        spec = _found_by_anybody(part, path)
        if spec is None:
            return part
        path = spec.submodule_search_locations or ()
    return None


def _found_by_anybody(name: str, path: Sequence[str] | None) -> Any:
    for finder in sys.meta_path:
        find_spec = getattr(finder, "find_spec", None)
        if find_spec is None or isinstance(finder, ModuleWatch):
            continue
        try:
            spec = find_spec(name, path)
        except Exception:  # A finder of the program's own.
            continue
        if spec is not None:
            return spec
    return None


class _Listener:
    """Stands before a loader that several modules share, until the module has run."""

    def __init__(self, loader: Any, tell: Callable[[str, Any], None]) -> None:
        self._loader = loader

        def exec_module(module: Any) -> None:
            module.__spec__.loader = module.__loader__ = loader
            loader.exec_module(module)
            tell(module.__name__, module)

        self.exec_module = _without_frame(exec_module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _without_frame(function: Any) -> Any:
    """Makes the interpreter leave the function out of tracebacks, as it leaves out the rest of the import system."""
    function.__code__ = function.__code__.replace(co_filename="<frozen importlib._bootstrap_external>")
    return function


def loaded_namespaces() -> Iterator[tuple[str, dict[str, Any]]]:
    """The names and contents of the modules that are there; what stands for one without being a module has none."""
    for name, module in list(sys.modules.items()):
        if issubclass(type(module), types.ModuleType):
            # Asked for any attribute of its own, a lazy module would run here and now.
            yield name, object.__getattribute__(module, "__dict__")
