"""Real servers for the integration tests: start them, read back what they hold."""

from hiq_servers.collector import Collector
from hiq_servers.compare import differences
from hiq_servers.jaeger import Jaeger
from hiq_servers.kafka import (
    CollectorIntoKafka,
    CollectorOnKafka,
    JaegerOnKafka,
    Kafka,
    KafkaOfCompose,
    ZipkinOnKafka,
)
from hiq_servers.process import ServerError, ServerProcess
from hiq_servers.programs import BackgroundProgram, Finished, plain_environment, run_program
from hiq_servers.prometheus import Job, OldPrometheus, OldPrometheusForProtobuf, Prometheus, Sample
from hiq_servers.pushgateway import Pushgateway
from hiq_servers.server import Server
from hiq_servers.spans import Event, Link, Span
from hiq_servers.zipkin import Zipkin

SERVERS: tuple[type[Server], ...] = (Collector, Jaeger)

__all__ = [
    "SERVERS",
    "BackgroundProgram",
    "Collector",
    "CollectorIntoKafka",
    "CollectorOnKafka",
    "Event",
    "Finished",
    "Jaeger",
    "JaegerOnKafka",
    "Job",
    "Kafka",
    "KafkaOfCompose",
    "Link",
    "OldPrometheus",
    "OldPrometheusForProtobuf",
    "Prometheus",
    "Pushgateway",
    "Sample",
    "Server",
    "ServerError",
    "ServerProcess",
    "Span",
    "Zipkin",
    "ZipkinOnKafka",
    "differences",
    "plain_environment",
    "run_program",
]
