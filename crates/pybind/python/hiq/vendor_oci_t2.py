"""HiQ's client of T2, Oracle's metrics service."""

from __future__ import annotations

from .http_metric_client import HttpMetricsClient

__all__ = ["OciT2Client"]


class OciT2Client(HttpMetricsClient):
    """Sends metrics to T2."""
