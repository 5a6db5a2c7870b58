"""Prometheus, old and new: what it scrapes and what it is sent, read back through its query API."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hiq_servers.process import ServerError, ServerProcess, http_answer
from hiq_servers.waiting import attempts_within

SCRAPE_SECONDS = 60.0
"""Until a new target's first sample: Prometheus takes up to 5 s to look at a new list."""
READ_BACK_SECONDS = 60.0

_RFC_3339 = re.compile(
    r"(?P<second>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?P<fraction>\.\d+)?(?P<zone>Z|[+-]\d\d:\d\d)"
)


@dataclasses.dataclass(frozen=True)
class Job:
    """One scrape configuration: a name, the targets, and what is to be asked of them."""

    name: str
    targets: Sequence[str]
    """Each `host:port`."""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further fields of `scrape_config`."""

    def document(self) -> dict[str, Any]:
        static = [{"targets": list(self.targets)}]
        return {"job_name": self.name, "static_configs": static, **self.settings}


@dataclasses.dataclass(frozen=True)
class Sample:
    """One element of an instant vector."""

    labels: dict[str, str]
    """With `__name__`."""
    unix_seconds: float
    value: float
    histogram: dict[str, Any] | None = None
    """A native histogram as the API shows it: count, sum, buckets."""


class Prometheus(ServerProcess):
    """The newest Prometheus: it is scraped for, and it takes remote write and OTLP."""

    name = "prometheus"
    port_names = ("web",)
    flags: ClassVar[tuple[str, ...]] = (
        "--web.enable-remote-write-receiver",
        "--web.enable-otlp-receiver",
        "--enable-feature=exemplar-storage,native-histograms,created-timestamp-zero-ingestion",
    )

    def __init__(self, scratch: Path, jobs: Sequence[Job] = ()) -> None:
        super().__init__(scratch)
        self._jobs = tuple(jobs)

    def config(self) -> str:
        document = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [job.document() for job in self._jobs],
        }
        return json.dumps(document, indent=2)

    def command(self, binary: Path, config: Path) -> list[str]:
        return [
            str(binary),
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder / 'tsdb'}",
            f"--web.listen-address={self.address('web')}",
            *self.flags,
        ]

    def is_healthy(self) -> bool:
        answer = http_answer(self.url("web", "/-/ready"))
        return answer is not None and answer[0] == 200

    def wait_for_scrape(self, job: str) -> dict[str, Any]:
        """Returns the target once a scrape that began after this call has ended, well or not."""
        began = time.time()
        target: dict[str, Any] = {}
        for _ in attempts_within(SCRAPE_SECONDS):
            found = [each for each in self.targets() if each["labels"]["job"] == job]
            if found and _unix_seconds(found[0]["lastScrape"]) > began:
                target = found[0]
                if target["health"] != "unknown":
                    return target
        raise ServerError(
            f"{self.name} did not scrape {job} in {SCRAPE_SECONDS:g} s, last seen: {target}\n"
            f"{self.log_tail()}"
        )

    def targets(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._get("targets", {"state": "active"})["activeTargets"]
        return found

    def query(self, expression: str) -> list[Sample]:
        """Reads an instant vector."""
        found = self._get("query", {"query": expression})
        return [_sample(each) for each in found["result"]]

    def wait_for_query(
        self, expression: str, is_enough: Callable[[list[Sample]], bool] = bool
    ) -> list[Sample]:
        """Asks again until the answer `is_enough`: by default, until there is one."""
        samples: list[Sample] = []
        for _ in attempts_within(READ_BACK_SECONDS):
            samples = self.query(expression)
            if is_enough(samples):
                return samples
        raise ServerError(
            f"{self.name}: {expression} is still {samples} after {READ_BACK_SECONDS:g} s\n"
            f"{self.log_tail()}"
        )

    def points(self, selector: str, seconds: int = 300) -> list[tuple[dict[str, str], list[Any]]]:
        """Reads all that is stored for `selector` of the last seconds, as it was stored."""
        found = self._get("query", {"query": f"{selector}[{seconds}s]"})
        return [
            (each["metric"], each.get("values") or each["histograms"]) for each in found["result"]
        ]

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        """Reads the exemplars of the last hour, each with the labels of its series."""
        now = time.time()
        asked = {"query": expression, "start": f"{now - 3600:.3f}", "end": f"{now + 60:.3f}"}
        return [
            {**exemplar, "seriesLabels": series["seriesLabels"]}
            for series in self._get("query_exemplars", asked)
            for exemplar in series["exemplars"]
        ]

    def metadata(self, metric: str) -> list[dict[str, str]]:
        """Reads type, help and unit of a family."""
        found: dict[str, list[dict[str, str]]] = self._get("metadata", {"metric": metric})
        return found.get(metric, [])

    def _get(self, what: str, asked: Mapping[str, str]) -> Any:
        path = f"/api/v1/{what}?{urllib.parse.urlencode(asked)}"
        answer = http_answer(self.url("web", path))
        if answer is None:
            raise ServerError(f"{self.name} does not answer:\n{self.log_tail()}")
        status, body = answer
        if status != 200:
            raise ServerError(f"{self.name} answered {status} to {path}: {body[:500]!r}")
        return json.loads(body)["data"]


class OldPrometheus(Prometheus):
    """Prometheus 2.42, which Debian 12 has: it asks for OpenMetrics and knows no UTF-8 names."""

    name = "prometheus-2.42"
    flags = (
        "--web.enable-remote-write-receiver",
        "--enable-feature=exemplar-storage",
    )


class OldPrometheusForProtobuf(OldPrometheus):
    """The same with native histograms, for which it asks for protobuf."""

    flags = (*OldPrometheus.flags[:-1], "--enable-feature=exemplar-storage,native-histograms")


def _sample(element: dict[str, Any]) -> Sample:
    if "histogram" in element:
        unix_seconds, histogram = element["histogram"]
        return Sample(element["metric"], unix_seconds, float("nan"), histogram)
    unix_seconds, value = element["value"]
    return Sample(element["metric"], unix_seconds, float(value))


def _unix_seconds(text: str) -> float:
    """Reads Go's RFC 3339, which has up to nine decimals; its zero time is long ago."""
    found = _RFC_3339.fullmatch(text)
    if found is None:
        raise ServerError(f"{text!r} is no time")
    zone = found["zone"].replace("Z", "+00:00")
    moment = datetime.datetime.fromisoformat(found["second"] + zone)
    # Not `timestamp()` alone: it would be an error for the year 1 in some zones.
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return (moment - epoch).total_seconds() + float(found["fraction"] or 0)
