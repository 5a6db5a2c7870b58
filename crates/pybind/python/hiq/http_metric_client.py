"""HiQ's client of metrics services that take JSON by HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any

from . import _hiq
from .tracing import say
from .utils import read_file

__all__ = ["HttpMetricsClient"]

Metric = dict[str, Any]

# Words of a server that are shown.
_MAX_WORDS = 200


class HttpMetricsClient:
    """Collects metrics and sends them: a PUT of JSON to `<url>aggregation`.

    `ad_longform` is the availability domain, `eu-frankfurt-1-ad-1`; `trusted_cert` a PEM file of the authority to trust
    instead of the system's; `timeout` is in seconds. A client may be used by several threads.
    """

    def __init__(
        self,
        url: str,
        ad_longform: str | None = None,
        metrics_queue: queue.Queue[Metric] | None = None,
        trusted_cert: str | None = None,
        project: str = "hiq",
        timeout: float = 5,
    ) -> None:
        region = _text_of("/etc/region")
        self.conf: dict[str, Any] = {
            "hostname": _text_of("/etc/hostname"),
            "region": region or "none",
            "ad_longform": ad_longform,
            "url": url,
        }
        self.metrics_queue: queue.Queue[Metric] = queue.Queue() if metrics_queue is None else metrics_queue
        self.trusted_cert = trusted_cert if trusted_cert and os.path.exists(trusted_cert) else None
        self.timeout = timeout
        self.project = project

    @staticmethod
    def metric_calc_delta(metric: str, start_time: float) -> Metric:
        """How long it is since `start_time`, a reading of `time.monotonic`, in milliseconds."""
        return _metric(metric, round((time.monotonic() - start_time) * 1000))

    def gauge_metric(self, metric: str, value: float) -> None:
        """Puts a value into the queue."""
        self.metrics_queue.put_nowait(_metric(metric, value))

    def timing_metric(self, metric: str, start_time: float) -> None:
        """Puts the time since `start_time`, a reading of `time.monotonic`, into the queue."""
        self.metrics_queue.put_nowait(self.metric_calc_delta(metric, start_time))

    def submit_metrics_queue(self) -> None:
        """Sends what is in the queue. What the service does not take is put back. ValueError when there is nothing."""
        metrics: list[Metric] = []
        with contextlib.suppress(queue.Empty):
            while True:
                metrics.append(self.metrics_queue.get_nowait())
        if not metrics:
            raise ValueError("metric_data must not be empty!")
        if not self.timing_metric_data(metrics):
            lost = sum(not self._put_back(metric) for metric in metrics)
            if lost:
                say(f"{lost} metrics are lost: the queue is full")

    def timing_metric_data(self, metric_data: list[Metric]) -> bool:
        """Sends metrics. False, and a line that says why, when the service has not taken them."""
        body = json.dumps(self.wrap_metric_data(metric_data)).encode()
        address = f"{self.conf['url']}aggregation"
        try:
            status, words, _ = self._ask("PUT", address, body)
        except (OSError, ValueError) as error:
            say(f"{_shown(address)}: metrics were not sent: {getattr(error, 'reason', error)}")
            return False
        if not 200 <= status < 300:
            said = " ".join(words.split())[:_MAX_WORDS]
            say(f"{_shown(address)} answered {status}: {said}")
        return 200 <= status < 300

    def wrap_metric_data(self, metric_data: list[Metric]) -> dict[str, Any]:
        """What is sent: the metrics, and where they come from. `T2_FLEET` names a fleet."""
        info: dict[str, Any] = {
            "project": self.project,
            "hostname": self.conf["hostname"],
            "region": self.conf["region"],
            "availabilityDomain": self.conf["ad_longform"],
            "metrics": metric_data,
        }
        if fleet := os.environ.get("T2_FLEET", ""):
            info["fleet"] = fleet
        return info

    def get(self, query: str, params: Mapping[str, Any] | None = None) -> tuple[Any, Any]:
        """Asks the service: its JSON, and the headers of its reply. OSError when it is no JSON."""
        encoded = f"?{urllib.parse.urlencode(params)}" if params else ""
        address = f"{self.conf['url']}{query}"
        status, words, headers = self._ask("GET", address + encoded, None)
        try:
            return json.loads(words), headers
        except json.JSONDecodeError:
            message = f"Failed to parse query response: {_shown(address)} {params!r} (response code = {status})"
            raise OSError(message) from None

    def _ask(self, method: str, address: str, body: bytes | None) -> tuple[int, str, Any]:
        if not address.startswith(("https://", "http://")):
            raise ValueError(f"`{_shown(address)}` is no address; give url as https://host/")
        headers = {"Content-Type": "application/json"} if body is not None else {}
        request = urllib.request.Request(address, body, headers, method=method)
        context = None
        if address.startswith("https://"):
            context = ssl.create_default_context(cafile=self.trusted_cert)
        with _hiq.suppress():
            try:
                with urllib.request.urlopen(request, timeout=self.timeout, context=context) as response:
                    return response.status, response.read().decode("utf-8", "replace"), response.headers
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode("utf-8", "replace"), error.headers

    def _put_back(self, metric: Metric) -> bool:
        try:
            self.metrics_queue.put_nowait(metric)
        except queue.Full:
            return False
        return True


def _metric(name: str, value: float) -> Metric:
    return {"name": name, "datapoints": [{"timestamp": round(time.time() * 1000), "value": value}]}


def _text_of(path: str) -> str:
    text = read_file(path, by_line=False, strip=True) if os.path.exists(path) else ""
    return text if isinstance(text, str) else ""


def _shown(address: str) -> str:
    """The address without user, password and query."""
    parts = urllib.parse.urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
