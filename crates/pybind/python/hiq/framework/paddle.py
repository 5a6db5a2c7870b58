"""HiQ's drivers for PaddlePaddle: each run of a predictor is a span, `paddle_run`."""

from __future__ import annotations

from typing import Any

from .._mod import mod
from ..base import HiQBase, HiQLatency, HiQMemory

__all__ = ["PaddleHiQLatency", "PaddleHiQMemory"]

_CORE = "paddle.fluid.core_avx"


class PredictorMixin(HiQBase):
    """Traces `PaddleInferPredictor.run`."""

    def custom(self) -> None:
        predictor = mod(_CORE).PaddleInferPredictor
        self.o_paddle_run = before = predictor.run

        def paddle_run(self: Any, *args: Any, **kwargs: Any) -> Any:
            return before(self, *args, **kwargs)

        predictor.run = self.inserter(paddle_run)

    def custom_disable(self) -> None:
        mod(_CORE).PaddleInferPredictor.run = self.o_paddle_run


class PaddleHiQLatency(PredictorMixin, HiQLatency):
    """Traces how long predictions take."""


class PaddleHiQMemory(PredictorMixin, HiQMemory):
    """Traces how long predictions take and how the process's memory changes meanwhile."""
