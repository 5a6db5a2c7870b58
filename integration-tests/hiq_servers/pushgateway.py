"""The Pushgateway, read through its own API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hiq_servers.process import ServerError, ServerProcess, http_answer


class Pushgateway(ServerProcess):
    name = "pushgateway"
    port_names = ("web",)

    def config(self) -> str:
        return "# The Pushgateway is told all on its command line.\n"

    def command(self, binary: Path, config: Path) -> list[str]:
        return [str(binary), f"--web.listen-address={self.address('web')}"]

    def is_healthy(self) -> bool:
        answer = http_answer(self.url("web", "/-/ready"))
        return answer is not None and answer[0] == 200

    def groups(self) -> list[dict[str, Any]]:
        """Reads every group: its `labels`, and beside them each family with type, help, metrics."""
        answer = http_answer(self.url("web", "/api/v1/metrics"))
        if answer is None or answer[0] != 200:
            raise ServerError(f"{self.name} answered {answer}:\n{self.log_tail()}")
        found: list[dict[str, Any]] = json.loads(answer[1])["data"]
        return found

    def group(self, **labels: str) -> dict[str, Any] | None:
        """Reads the group with exactly these grouping labels, if there is one."""
        return next((each for each in self.groups() if each["labels"] == labels), None)
