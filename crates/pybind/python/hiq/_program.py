"""Runs a script or a module as `python` itself would: argv, path, `__main__`, exit code and tracebacks."""

from __future__ import annotations

import importlib.machinery
import io
import os
import pkgutil
import runpy
import sys
import types
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, NoReturn

__all__ = ["Program"]

_OWN_FILE = __file__


OnName = Callable[[str], None]
# Told what conf rows may call the main module; answers with what is to be told of each name that it defines.
Begin = Callable[[frozenset[str]], "OnName | None"]


class Program:
    """`-m module arguments` or `script arguments`; a script may be a folder or an archive."""

    def __init__(self, command: list[str]) -> None:
        self._is_module = command[0] == "-m"
        self._target = command[1] if self._is_module else command[0]
        self._arguments = command[2:] if self._is_module else command[1:]

    def possible_names(self) -> frozenset[str]:
        """What conf rows could call the module that runs as `__main__`, before it is looked for."""
        if self._is_module:
            return frozenset({"__main__", self._target, f"{self._target}.__main__"})
        return _script_names(self._target)

    def run(self, begin: Begin | None = None) -> None:
        """Runs it to its end. Its exceptions go on to the interpreter, without our frames."""
        main = _new_main()
        try:
            self._run(main, begin)
        except SystemExit:
            raise
        except BaseException as error:
            _leave_our_frames_out(error)
            raise

    def _run(self, main: types.ModuleType, begin: Begin | None) -> None:
        if self._is_module:
            _set_first_path(os.getcwd(), if_unsafe_only=True)
            sys.argv = ["-m", *self._arguments]
            _run_module(self._target, main, begin)
        elif pkgutil.get_importer(self._target) is not None:
            _set_first_path(os.path.abspath(self._target))
            sys.argv = [self._target, *self._arguments]
            # The private function is what `python folder` calls; the debugger and profilers build on it as well.
            runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined]
        else:
            code = _code_of_script(self._target, main)
            _set_first_path(os.path.dirname(os.path.realpath(self._target)), if_unsafe_only=True)
            sys.argv = [self._target, *self._arguments]
            _execute(code, main, begin(_script_names(self._target)) if begin else None)


class _Watched(MutableMapping[str, Any]):
    """The main module's names while its code runs: each definition is told of before the next line can use it."""

    def __init__(self, namespace: dict[str, Any], on_name: Callable[[str], None]) -> None:
        self._namespace = namespace
        self._on_name = on_name

    def __getitem__(self, name: str) -> Any:
        return self._namespace[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._namespace[name] = value
        self._on_name(name)

    def __delitem__(self, name: str) -> None:
        del self._namespace[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._namespace)

    def __len__(self) -> int:
        return len(self._namespace)


def _script_names(script: str) -> frozenset[str]:
    return frozenset({"__main__", os.path.splitext(os.path.basename(script))[0]})


def _new_main() -> types.ModuleType:
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = sys.modules["builtins"]
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    # The interpreter goes on using the names of the module that started us, without holding it.
    _kept_alive.append(sys.modules["__main__"])
    # For good: what ends after the main code (threads, exit handlers, pickles) looks it up by name.
    sys.modules["__main__"] = main
    return main


def _set_first_path(path: str, if_unsafe_only: bool = False) -> None:
    """Replaces what the interpreter put there for us; in safe mode it has put nothing."""
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        sys.path[0] = path
    elif not if_unsafe_only:
        sys.path.insert(0, path)


def _run_module(name: str, main: types.ModuleType, begin: Begin | None) -> None:
    if begin is None:
        runpy._run_module_as_main(name)  # type: ignore[attr-defined]
        return
    try:
        _, spec, code = runpy._get_module_details(name, _ModuleError)  # type: ignore[attr-defined]
    except _ModuleError as error:
        sys.exit(f"{sys.executable}: {error}")
    # Of a package, what runs is the `__main__` in it.
    on_name = begin(frozenset({"__main__", spec.name}))
    if on_name is None:
        runpy._run_module_as_main(name)  # type: ignore[attr-defined]
        return
    sys.argv[0] = spec.origin
    main.__dict__.update(
        __file__=spec.origin,
        __cached__=spec.cached,
        __loader__=spec.loader,
        __package__=spec.parent,
        __spec__=spec,
    )
    _execute(code, main, on_name)


class _ModuleError(Exception):
    """The module to run cannot be found or loaded; the text says why."""


def _code_of_script(path: str, main: types.ModuleType) -> types.CodeType:
    full_path = os.path.abspath(path)
    try:
        with io.open_code(full_path) as file:
            compiled = pkgutil.read_code(file)
            source = None if compiled else (file.seek(0), file.read())[1]
    except OSError as error:
        _refuse(f"can't open file {full_path!r}: [Errno {error.errno}] {error.strerror}")
    loader_type = importlib.machinery.SourcelessFileLoader if compiled else importlib.machinery.SourceFileLoader
    main.__dict__.update(
        __file__=full_path, __cached__=None, __loader__=loader_type("__main__", full_path), __package__=None
    )
    if isinstance(compiled, types.CodeType):
        return compiled
    assert source is not None
    return compile(source, full_path, "exec", dont_inherit=True)


def _refuse(text: str) -> NoReturn:
    sys.stderr.write(f"{sys.executable}: {text}\n")
    sys.exit(2)


def _execute(code: types.CodeType, main: types.ModuleType, on_name: OnName | None) -> None:
    if on_name is None:
        exec(code, main.__dict__)
    else:
        exec(code, main.__dict__, _Watched(main.__dict__, on_name))


def _leave_our_frames_out(error: BaseException) -> None:
    """Lets the interpreter show the exception as if nobody stood between it and the program."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == _OWN_FILE:
        trace = trace.tb_next
    hook = sys.excepthook

    def show(kind: type[BaseException], raised: BaseException, raised_trace: Any) -> None:
        sys.excepthook = hook
        if raised is error:
            raised.__traceback__ = sys.last_traceback = raised_trace = trace
        hook(kind, raised, raised_trace)

    # The exception goes on up: that gives the exit code, and for an interrupt the signal, as without us.
    sys.excepthook = show
    # The interpreter calls the hook without holding it, and `show` takes itself away.
    _kept_alive.append(show)


_kept_alive: list[object] = []
