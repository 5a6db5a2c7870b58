"""One real tracing server: a process, and a way to read spans back."""

from __future__ import annotations

import abc

from hiq_servers.marker import send_marker
from hiq_servers.process import ServerError, ServerProcess
from hiq_servers.spans import Span
from hiq_servers.waiting import attempts_within

READ_BACK_SECONDS = 60.0
JAEGER_PORTS = ("jaeger_grpc", "jaeger_http", "jaeger_compact", "jaeger_binary")
"""Of the receiver for Jaeger's own formats; the last two are UDP."""


class Server(ServerProcess):
    """A tracing server: it also says how its spans are read."""

    @abc.abstractmethod
    def spans_of_service(self, service: str) -> list[Span]:
        """Reads every span that the server holds now for this `service.name`."""

    @abc.abstractmethod
    def spans_of_trace(self, trace_id: str) -> list[Span]:
        """Reads every span that the server holds now for this trace."""

    @property
    def otlp_endpoint(self) -> str:
        """The base URL for `OTEL_EXPORTER_OTLP_ENDPOINT` with an OTLP HTTP protocol."""
        return self.url("otlp_http")

    def otlp_endpoint_for(self, protocol: str) -> str:
        """The base URL for `OTEL_EXPORTER_OTLP_ENDPOINT` with this protocol."""
        return self.url("otlp_grpc" if protocol == "grpc" else "otlp_http")

    def settled_spans_of_service(self, service: str) -> list[Span]:
        """Reads all spans of a service, none under way, once the sender has had its last answer.

        What was accepted is not visible at once. A marker span sent now is accepted after them all,
        so when it is seen, they are.
        """
        self.settle()
        return self.spans_of_service(service)

    def wait_for_trace(self, trace_id: str, at_least: int) -> list[Span]:
        """Polls until a trace has `at_least` so many spans, for senders that are still at work."""
        seen: list[Span] = []
        for _ in attempts_within(READ_BACK_SECONDS):
            self._require_alive()
            seen = self.spans_of_trace(trace_id)
            if len(seen) >= at_least:
                return seen
        shown = "\n".join(f"  {span}" for span in seen[:20]) or "  none"
        raise ServerError(
            f"{self.name}: {len(seen)} of {at_least} spans of trace {trace_id} after "
            f"{READ_BACK_SECONDS:g} s, first seen:\n{shown}\nserver log:\n{self.log_tail()}"
        )

    def settle(self) -> None:
        """Returns when everything that the server has accepted until now can be read."""
        self.wait_for_trace(send_marker(self.otlp_endpoint), at_least=1)
