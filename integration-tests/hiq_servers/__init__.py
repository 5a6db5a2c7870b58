"""Real tracing servers for the integration tests: start them, read back what they hold."""

from hiq_servers.collector import Collector
from hiq_servers.compare import differences
from hiq_servers.jaeger import Jaeger
from hiq_servers.programs import BackgroundProgram, Finished, plain_environment, run_program
from hiq_servers.server import Server, ServerError
from hiq_servers.spans import Event, Link, Span
from hiq_servers.zipkin import Zipkin

SERVERS: tuple[type[Server], ...] = (Collector, Jaeger)

__all__ = [
    "SERVERS",
    "BackgroundProgram",
    "Collector",
    "Event",
    "Finished",
    "Jaeger",
    "Link",
    "Server",
    "ServerError",
    "Span",
    "Zipkin",
    "differences",
    "plain_environment",
    "run_program",
]
