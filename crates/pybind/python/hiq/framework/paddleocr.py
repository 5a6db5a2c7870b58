"""HiQ's drivers for PaddleOCR: the model's set-up and its readings are spans, and each run of a predictor."""

from __future__ import annotations

from ..base import HiQLatency, HiQMemory
from .paddle import PredictorMixin

__all__ = ["HIQ_PADDLEOCR_CONF", "PaddleOcrHiQLatency", "PaddleOcrHiQMemory"]

HIQ_PADDLEOCR_CONF = [
    ["paddleocr", "PaddleOCR", "__init__", "init"],
    ["paddleocr", "PaddleOCR", "ocr", "ocr"],
    ["paddleocr", "PaddleOCR", "__call__", "txt_model"],
    ["tools.infer.predict_det", "TextDetector", "__call__", "det_model"],
    ["tools.infer.predict_rec", "TextRecognizer", "__call__", "rec_model"],
    ["tools.infer.predict_cls", "TextClassifier", "__call__", "cls_model"],
    ["tools.infer.utility", "", "create_predictor", "create_predictor"],
]


class OcrMixin(PredictorMixin):
    """Traces the reading of texts as well."""

    _framework_rows = HIQ_PADDLEOCR_CONF


class PaddleOcrHiQLatency(OcrMixin, HiQLatency):
    """Traces how long readings take."""


class PaddleOcrHiQMemory(OcrMixin, HiQMemory):
    """Traces how long readings take and how the process's memory changes meanwhile."""
