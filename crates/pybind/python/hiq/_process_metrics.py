"""What Prometheus's users know of every Python process, by the names that `prometheus_client` gave it."""

from __future__ import annotations

import gc
import os
import platform
import sys

__all__ = ["families", "started"]

# Name, description, whether it never falls, and labels with values.
_Series = list[tuple[list[tuple[str, str]], float]]
_Family = tuple[str, str, bool, _Series]


def families() -> list[_Family]:
    """The process, the interpreter and its garbage collector, as they are now."""
    return [*_process(), *_garbage(), _python()]


def started() -> float:
    """When this process began, in seconds since 1970; 0 where that cannot be told."""
    return _start_of(os.getpid())


def _python() -> _Family:
    major, minor, patch = sys.version_info[:3]
    labels = [
        ("implementation", platform.python_implementation()),
        ("major", str(major)),
        ("minor", str(minor)),
        ("patchlevel", str(patch)),
        ("version", platform.python_version()),
    ]
    return "python_info", "Python platform information", False, [(labels, 1.0)]


def _garbage() -> list[_Family]:
    by_generation = list(enumerate(gc.get_stats()))

    def family(name: str, description: str, key: str) -> _Family:
        series = [([("generation", str(number))], float(stats[key])) for number, stats in by_generation]
        return name, description, True, series

    return [
        family("python_gc_objects_collected_total", "Objects collected during gc", "collected"),
        family("python_gc_objects_uncollectable_total", "Uncollectable objects found during GC", "uncollectable"),
        family("python_gc_collections_total", "Number of times this generation was collected", "collections"),
    ]


def _process() -> list[_Family]:
    times = os.times()
    cpu = times.user + times.system
    found = [_one("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", cpu, True)]
    try:
        with open("/proc/self/stat", "rb") as file:
            # The name of the program may hold anything, a parenthesis included.
            fields = file.read().rpartition(b")")[2].split()
        page = os.sysconf("SC_PAGE_SIZE")
        descriptors = len(os.listdir("/proc/self/fd"))
    except OSError:
        return found  # Not Linux.
    return [
        *found,
        _one("process_virtual_memory_bytes", "Virtual memory size in bytes.", float(fields[20])),
        _one("process_resident_memory_bytes", "Resident memory size in bytes.", float(fields[21]) * page),
        _one("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", started()),
        _one("process_open_fds", "Number of open file descriptors.", float(descriptors)),
        *_limit(),
    ]


def _limit() -> list[_Family]:
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most == resource.RLIM_INFINITY:
        return []
    return [_one("process_max_fds", "Maximum number of open file descriptors.", float(most))]


def _one(name: str, description: str, value: float, never_falls: bool = False) -> _Family:
    return name, description, never_falls, [([], value)]


_started: dict[int, float] = {}


def _start_of(pid: int) -> float:
    if pid not in _started:
        _started.clear()  # A forked child is another process than its parent.
        _started[pid] = _read_start()
    return _started[pid]


def _read_start() -> float:
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = float(file.read().rpartition(b")")[2].split()[19])
        with open("/proc/stat", "rb") as file:
            boot = next(float(line.split()[1]) for line in file if line.startswith(b"btime "))
    except (OSError, StopIteration):
        return 0.0
    return boot + ticks / os.sysconf("SC_CLK_TCK")
