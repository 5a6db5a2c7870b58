"""HiQ's drivers for ONNX Runtime: the making of sessions and their runs are spans."""

from __future__ import annotations

import os
from typing import Any

from .._mod import mod
from ..base import HiQBase, HiQLatency, HiQMemory
from ..utils import get_env_bool, get_env_int

__all__ = ["TAU_ORT", "TAU_TBL_ORT", "OrtHiQLatency", "OrtHiQMemory", "get_ort_session"]

TAU_ORT = "onnxruntime.capi.onnxruntime_inference_collection"
TAU_TBL_ORT = [
    (TAU_ORT, "Session", "run", "ort_run"),
    (TAU_ORT, "Session", "__init__", "sess_init"),
    (TAU_ORT, "Session", "run_with_ort_values", "run_with_ort_values"),
    (TAU_ORT, "Session", "run_with_iobinding", "run_with_iobinding"),
    (TAU_ORT, "InferenceSession", "_create_inference_session", "create_inference_session"),
    (TAU_ORT, "InferenceSession", "_reset_session", "reset_session"),
]


def get_ort_session(sess_options: Any = None) -> Any:
    """Session options, set as `HIQ_ORT_INTRA_OPS_THREAD`, `HIQ_PROFILE` and `HIQ_PROFILE_PREFIX` say."""
    options = sess_options or mod("onnxruntime").SessionOptions()
    if "HIQ_ORT_INTRA_OPS_THREAD" in os.environ:
        options.intra_op_num_threads = get_env_int("HIQ_ORT_INTRA_OPS_THREAD")
    if "HIQ_PROFILE" in os.environ:
        options.enable_profiling = get_env_bool("HIQ_PROFILE")
    if "HIQ_PROFILE_PREFIX" in os.environ:
        options.profile_file_prefix = os.environ["HIQ_PROFILE_PREFIX"]
    return options


class SessionMixin(HiQBase):
    """Traces sessions; those made meanwhile have the options of the environment."""

    _framework_rows = TAU_TBL_ORT

    def custom(self) -> None:
        session = mod(TAU_ORT).InferenceSession
        self.o_ort_session = before = session.__init__

        def ort_session(self: Any, path_or_bytes: Any, sess_options: Any = None, *args: Any, **kwargs: Any) -> None:
            before(self, path_or_bytes, get_ort_session(sess_options), *args, **kwargs)

        session.__init__ = self.inserter(ort_session)

    def custom_disable(self) -> None:
        mod(TAU_ORT).InferenceSession.__init__ = self.o_ort_session


class OrtHiQLatency(SessionMixin, HiQLatency):
    """Traces how long sessions take."""


class OrtHiQMemory(SessionMixin, HiQMemory):
    """Traces how long sessions take and how the process's memory changes meanwhile."""
