"""HiQ's drivers for Hugging Face's transformers."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable
from typing import Any

from ..base import HiQLatency, HiQMemory
from ..memory import get_memory_mb, total_gpu_memory_mb
from ..utils import signature

__all__ = [
    "HiQTransformerFullMemory",
    "HiQTransformerGPUMemory",
    "HiQTransformerLatency",
    "HiQTransformerMemory",
    "TransformerMixin",
]


class TransformerMixin:
    """While it is enabled, `inspect.signature` sees through the decorators that the library puts on its methods."""

    def custom(self) -> None:
        self.o_signature = inspect.signature
        inspect.signature = signature

    def custom_disable(self) -> None:
        inspect.signature = self.o_signature


class HiQTransformerLatency(TransformerMixin, HiQLatency):
    """Traces how long calls take."""


class HiQTransformerMemory(TransformerMixin, HiQMemory):
    """Traces how long calls take and how the process's memory changes meanwhile."""


class HiQTransformerGPUMemory(TransformerMixin, HiQMemory):
    """Traces how long calls take and how the GPUs' memory changes meanwhile."""

    def __init__(
        self,
        hiq_table_or_path: Any = (),
        metric_funcs: Iterable[Callable[[], float]] = (time.time, total_gpu_memory_mb),
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(hiq_table_or_path, metric_funcs, *args, **kwargs)


class HiQTransformerFullMemory(TransformerMixin, HiQMemory):
    """Traces how long calls take and how the process's and the GPUs' memory changes meanwhile."""

    def __init__(
        self,
        hiq_table_or_path: Any = (),
        metric_funcs: Iterable[Callable[[], float]] = (time.time, get_memory_mb, total_gpu_memory_mb),
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(hiq_table_or_path, metric_funcs, *args, **kwargs)
