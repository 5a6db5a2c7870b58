"""`hiq run`: a program, traced from outside."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from .. import _hiq, _processes, tracing
from .._imports import ModuleWatch, missing_part
from .._program import OnName, Program
from .._rows import Row, read_rows
from .._targets import Instrumentation
from ..exporters import ConsoleExporter, Exporter, FileExporter, OtlpExporter

if TYPE_CHECKING:
    import argparse

__all__ = ["restart_in_child", "run"]


def run(command: list[str], options: argparse.Namespace) -> int:
    """Runs the program to its end; its exceptions and its exit code go on."""
    conf = None if options.conf is None else os.path.abspath(options.conf)
    rows = [] if conf is None else _read(conf)
    settings = _settings(options)
    tracing.start(settings)
    if options.log_ids:
        from ..logs import install_log_ids

        install_log_ids()
    program = Program(command)
    tracer = _Tracer(rows)
    tracer.watch_modules()
    may_watch_main = tracer.has_rows_for(program.possible_names())

    def begin(main_names: frozenset[str]) -> OnName | None:
        tracer.set_main_names(main_names)
        _processes.carry_over(restart_in_child, conf, settings, options.log_ids, sorted(main_names))
        return tracer.on_main_name if tracer.has_main_rows else None

    _processes.carry_over(restart_in_child, conf, settings, options.log_ids, [])
    process = os.getpid()
    try:
        program.run(begin if may_watch_main else None)
        tracer.say_what_main_lacks()
    finally:
        # However it ends; children that the program has forked itself come here as well.
        if os.getpid() == process:
            tracer.say_which_modules_are_missing()
    return 0


def restart_in_child(conf: str | None, settings: dict[str, Any], log_ids: bool, main_names: list[str]) -> None:
    """The same tracing in a spawned child, before it imports anything of the program."""
    tracing.start(settings)
    if log_ids:
        from ..logs import install_log_ids

        install_log_ids()
    tracer = _Tracer([] if conf is None else _read(conf))
    tracer.watch_modules()
    tracer.set_main_names(frozenset(main_names))
    if tracer.has_main_rows:
        _after_main_in_child(tracer)
    # The child's own children.
    _processes.carry_over(restart_in_child, conf, settings, log_ids, main_names)


class _Tracer:
    """Puts each row to work as soon as its module has run."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows: dict[str, list[Row]] = {}
        for row in rows:
            self._rows.setdefault(row.module, []).append(row)
        self._main_rows: list[Row] = []
        self._main_names_found: set[str] = set()
        self._instrumentation = Instrumentation(None, tracing.say_untraced)

    def has_rows_for(self, modules: frozenset[str]) -> bool:
        return not modules.isdisjoint(self._rows)

    @property
    def has_main_rows(self) -> bool:
        return bool(self._main_rows)

    def set_main_names(self, names: frozenset[str]) -> None:
        """What rows call the module that runs as `__main__`."""
        self._main_rows = [row.of_main() for name in sorted(names) for row in self._rows.get(name, ())]

    def watch_modules(self) -> None:
        ModuleWatch(frozenset(self._rows) - {"__main__"}, self._on_module).install()

    def on_main_name(self, name: str) -> None:
        """A name of the main module has been given a value."""
        fitting = [row for row in self._main_rows if _could_name(row, name)]
        if fitting:
            self._main_names_found.add(name)
            self._add(fitting)

    def on_main(self) -> None:
        """The main module has run."""
        self._add(self._main_rows)

    def say_what_main_lacks(self) -> None:
        for row in self._main_rows:
            name = row.class_name.partition(".")[0] or row.function
            if "*" not in name and name not in self._main_names_found:
                tracing.say_untraced(row, f"the program does not define {name}")

    def say_which_modules_are_missing(self) -> None:
        for name, rows in self._rows.items():
            missing = missing_part(name)
            # What is there and was never imported has nothing to trace.
            if missing is not None:
                for row in rows:
                    tracing.say_untraced(row, f"No module named {missing!r}")

    def _on_module(self, name: str, _module: Any) -> None:
        self._add(self._rows[name])

    def _add(self, rows: list[Row]) -> None:
        tracing.add_within_program(self._instrumentation, rows)


def _could_name(row: Row, name: str) -> bool:
    wanted = row.class_name.partition(".")[0] or row.function
    return wanted == name or "*" in wanted


def _after_main_in_child(tracer: _Tracer) -> None:
    """`multiprocessing` runs the main module again, and only then looks up what the child shall call."""
    from multiprocessing import spawn

    prepare = spawn.prepare

    def prepare_and_trace(data: Any) -> None:
        spawn.prepare = prepare
        prepare(data)
        tracer.on_main()

    spawn.prepare = prepare_and_trace


def _read(conf: str) -> list[Row]:
    if not os.path.exists(conf):
        raise _hiq.ConfigError(f"{conf}: there is no such conf file; give the path of one with --conf")
    return read_rows(conf)


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    settings: dict[str, Any] = {"runtime": tracing.runtime_attributes()}
    if options.service_name is not None:
        settings["service_name"] = options.service_name
    exporters = _exporters(options)
    if exporters:
        settings["exporters"] = [exporter.settings() for exporter in exporters]
    return settings


def _exporters(options: argparse.Namespace) -> list[Exporter]:
    """None chosen: what the environment says."""
    chosen: list[Exporter] = []
    if options.endpoint is not None or options.protocol is not None:
        chosen.append(OtlpExporter(options.endpoint, protocol=options.protocol))
    if options.file is not None:
        chosen.append(FileExporter(os.path.abspath(options.file)))
    if options.console:
        chosen.append(ConsoleExporter())
    return chosen


def put_current_folder_first() -> None:
    """As `python -m` does, for the console script."""
    if not getattr(sys.flags, "safe_path", sys.flags.isolated) and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
