"""Runs programs under hiq from outside, as a user does: a conf file and the environment."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import secrets
import sys
from pathlib import Path

DISTRIBUTION = "hiq-bridge"
SCOPE_NAME = "hiq"


@dataclasses.dataclass(frozen=True)
class TracedRun:
    """The environment of one traced run, whose spans are found by a service name of their own."""

    endpoint: str
    protocol: str
    compression: str = "none"
    service: str = dataclasses.field(default_factory=lambda: f"traced-{secrets.token_hex(8)}")
    run_id: str = dataclasses.field(default_factory=lambda: secrets.token_hex(8))

    def environment(self) -> dict[str, str]:
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": self.protocol,
            "OTEL_EXPORTER_OTLP_COMPRESSION": self.compression,
            "OTEL_SERVICE_NAME": self.service,
            # A comma is written as %2C here, or it would end the value.
            "OTEL_RESOURCE_ATTRIBUTES": f"test.run={self.run_id},test.note=one%2C two",
        }

    def resource(self) -> dict[str, object]:
        """The resource attributes that this environment asks for."""
        return {
            "service.name": self.service,
            "test.run": self.run_id,
            "test.note": "one, two",
            "telemetry.sdk.name": "hiq",
            "telemetry.sdk.language": "python",
            "telemetry.sdk.version": hiq_version(),
        }


def under_hiq(conf: Path, *program: str | Path) -> list[str]:
    """The command line that runs `program` (`-m module ...` or `script.py ...`) traced."""
    command = [sys.executable, "-m", "hiq", "run", "--conf", conf, *program]
    return [str(part) for part in command]


def span_name(conf_name: str) -> str:
    """The name under which a conf row's spans are recorded: HiQ's rule for tags."""
    needs_prefix = len(conf_name) >= 2 and not conf_name.startswith("__")
    return f"__{conf_name}" if needs_prefix else conf_name


def hiq_version() -> str:
    return importlib.metadata.version(DISTRIBUTION)
