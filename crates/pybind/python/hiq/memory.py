"""Memory of this process and of the system, as metric functions. No package is needed; `psutil` is used where it is."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from typing import Any

from .utils import execute_cmd

__all__ = [
    "get_memory_b",
    "get_memory_gb",
    "get_memory_kb",
    "get_memory_mb",
    "get_system_memory_usage",
    "get_system_peak_memory",
    "total_gpu_memory_mb",
]


def get_memory_gb() -> float:
    """Resident memory of this process in GiB."""
    return get_memory_b() / (1 << 30)


def get_memory_mb() -> float:
    """Resident memory of this process in MiB."""
    return get_memory_b() / (1 << 20)


def get_memory_kb() -> float:
    """Resident memory of this process in KiB."""
    return get_memory_b() / (1 << 10)


def get_memory_b() -> float:
    """Resident memory of this process in bytes."""
    return _resident_bytes()


def get_system_memory_usage() -> int:
    """Bytes used on this machine (in Kubernetes: by the container); -1 where that cannot be told."""
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            return _cgroup_bytes("memory.current", "memory/memory.usage_in_bytes")
        return _used_bytes()
    except (OSError, ValueError):
        return -1


def get_system_peak_memory() -> int:
    """The container's highest use in bytes; -1 outside Kubernetes or where that cannot be told."""
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        return -1
    try:
        return _cgroup_bytes("memory.peak", "memory/memory.max_usage_in_bytes")
    except (OSError, ValueError):
        return -1


def total_gpu_memory_mb() -> float:
    """MiB in use on the GPUs of `CUDA_VISIBLE_DEVICES` (all by default), asked of NVML, else of `nvidia-smi`."""
    indices = os.environ.get("CUDA_VISIBLE_DEVICES")
    nvml = _nvml()
    if nvml is None:
        return _gpu_mb_by_command(indices)
    chosen = range(nvml.nvmlDeviceGetCount()) if not indices else map(int, indices.split(","))
    used = (nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByIndex(i)).used for i in chosen)
    return float(sum(used) // (1 << 20))


def _resident_reader() -> Callable[[], int]:
    if os.path.exists("/proc/self/statm"):
        return _resident_bytes_of_proc
    try:
        import psutil  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return _peak_bytes_of_rusage
    return lambda: int(psutil.Process().memory_info().rss)


def _resident_bytes_of_proc() -> int:
    # Opened each time: after a fork an open descriptor would tell the parent's memory.
    descriptor = _open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(_read(descriptor, 128).split()[1]) * _PAGE_BYTES
    finally:
        _close(descriptor)


def _peak_bytes_of_rusage() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _used_bytes() -> int:
    try:
        import psutil
    except ImportError:
        with open("/proc/meminfo", encoding="ascii") as lines:
            kib = {key: int(rest.split()[0]) for key, rest in (line.split(":") for line in lines)}
        return (kib["MemTotal"] - kib.get("MemAvailable", kib["MemFree"])) * 1024
    return int(psutil.virtual_memory().used)


def _cgroup_bytes(version_2: str, version_1: str) -> int:
    for name in (version_2, version_1):
        path = f"/sys/fs/cgroup/{name}"
        if os.path.exists(path):
            with open(path, encoding="ascii") as file:
                return int(file.read())
    return -1


def _nvml() -> Any:
    global _nvml_module
    if _nvml_module is None:
        try:
            import pynvml  # type: ignore[import-not-found,import-untyped,unused-ignore]

            pynvml.nvmlInit()
            _nvml_module = pynvml
        except Exception:  # No package, no driver, no card: all the same here.
            _nvml_module = False
    return _nvml_module or None


def _gpu_mb_by_command(indices: str | None) -> float:
    command = "nvidia-smi --query-gpu=memory.used --format=csv,nounits,noheader"
    if indices:
        command += f" -i {indices}"
    return float(sum(int(line) for line in execute_cmd(command, verbose=False) or ()))


# Bound here, so that a driver that traces `os.read` does not count our readings.
_open, _read, _close = os.open, os.read, os.close
_PAGE_BYTES = resource.getpagesize()
_nvml_module: Any = None
_resident_bytes = _resident_reader()
