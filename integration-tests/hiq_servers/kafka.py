"""Apache Kafka as one process, in the clear and over TLS, and servers that read its topics."""

from __future__ import annotations

import contextlib
import re
import secrets
import socket
import struct
import subprocess
from pathlib import Path
from typing import ClassVar

from hiq_servers.collector import Collector
from hiq_servers.jaeger import Jaeger
from hiq_servers.process import DOCKER, ServerError, ServerProcess
from hiq_servers.zipkin import Zipkin
from servers.build import server_binary

USER = "tenancy/user/ocid1.streampool.oc1..integration"
"""In the form that OCI Streaming has."""
STRANGER = "stranger"
"""A user that may do nothing."""
SCRAM_USER = "scram-user"
"""Known for SCRAM-SHA-512 alone."""
PASSWORD = "a secret, with = and , in it"
"""Of the first two."""
SCRAM_PASSWORD = "for-scram"
CERTIFICATES = Path(__file__).parent / "certificates"
"""`client.pem`, which brokers here trust, `stranger.pem`, which they do not, and their keys. Each
is its own authority, and of no use but here."""
CLIENT = "CN=hiq-client"
"""Whom that certificate is of."""
STORE_PASSWORD = "changeit"
SET_UP_SECONDS = 120.0
METADATA, METADATA_VERSION = 3, 1


class Kafka(ServerProcess):
    name = "kafka"
    port_names: ClassVar[tuple[str, ...]] = ("plaintext", "controller", "sasl_ssl", "ssl")

    def __init__(self, scratch: Path, *, makes_topics: bool = True) -> None:
        super().__init__(scratch)
        self._makes_topics = makes_topics

    @property
    def brokers(self) -> str:
        return self.address("plaintext")

    @property
    def certificate(self) -> Path:
        """Of the authority that signed the broker's certificate, which is itself."""
        return self.folder / "broker.pem"

    @property
    def config_file(self) -> Path:
        return self.folder / "server.properties"

    def config(self) -> str:
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
        # The name of an option may have slashes only in quotes, which go around all of it.
        users = " ".join(f'"user_{user}"="{PASSWORD}"' for user in (USER, STRANGER))
        secured = f"SASL_SSL://{self.address('sasl_ssl')},SSL://{self.address('ssl')}"
        return "\n".join(
            [
                "process.roles=broker,controller",
                "node.id=1",
                f"controller.quorum.voters=1@{self.address('controller')}",
                f"listeners=PLAINTEXT://{self.brokers},CONTROLLER://{self.address('controller')},{secured}",
                f"advertised.listeners=PLAINTEXT://{self.brokers},{secured}",
                "inter.broker.listener.name=PLAINTEXT",
                "controller.listener.names=CONTROLLER",
                "listener.security.protocol.map="
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL",
                f"log.dirs={self.folder / 'log'}",
                f"auto.create.topics.enable={str(self._makes_topics).lower()}",
                # As OCI Streaming has it.
                "message.max.bytes=1048576",
                "num.partitions=2",
                "offsets.topic.num.partitions=1",
                "offsets.topic.replication.factor=1",
                "transaction.state.log.replication.factor=1",
                "transaction.state.log.min.isr=1",
                "share.coordinator.state.topic.replication.factor=1",
                "share.coordinator.state.topic.min.isr=1",
                "group.initial.rebalance.delay.ms=0",
                "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512",
                f"listener.name.sasl_ssl.plain.sasl.jaas.config={plain} required {users};",
                f"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram} required;",
                "ssl.keystore.type=PKCS12",
                f"ssl.keystore.location={self.folder / 'broker.p12'}",
                f"ssl.keystore.password={STORE_PASSWORD}",
                "listener.name.ssl.ssl.client.auth=required",
                "listener.name.ssl.ssl.truststore.type=PEM",
                f"listener.name.ssl.ssl.truststore.location={CERTIFICATES / 'client.pem'}",
                "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                f"super.users=User:ANONYMOUS;User:{USER};User:{SCRAM_USER};User:{CLIENT}",
                "",
            ]
        )

    def command(self, binary: Path, config: Path) -> list[str]:
        return [*java(binary), "-Xmx384m", "kafka.Kafka", str(config)]

    def is_healthy(self) -> bool:
        """Asks who the brokers are: there is one once it takes messages."""
        body = struct.pack(">hhih", METADATA, METADATA_VERSION, 1, -1) + struct.pack(">i", 0)
        with contextlib.suppress(OSError, struct.error):
            with socket.create_connection(("127.0.0.1", self.ports["plaintext"]), 5) as asked:
                asked.sendall(struct.pack(">i", len(body)) + body)
                with asked.makefile("rb") as answer:
                    _length, correlation, brokers = struct.unpack(">iii", answer.read(12))
            return bool(correlation == 1 and brokers == 1)
        return False

    def _start(self) -> None:
        self._make_certificate()
        super()._start()

    def start_again(self) -> None:
        binary = server_binary(self.name)
        user = f"SCRAM-SHA-512=[name={SCRAM_USER},password={SCRAM_PASSWORD}]"
        self._run(
            *java(binary),
            "kafka.tools.StorageTool",
            "format",
            "--ignore-formatted",
            *("--cluster-id", self._cluster_id()),
            *("--add-scram", user),
            *("--config", str(self.config_file)),
        )
        super().start_again()

    def _cluster_id(self) -> str:
        kept = self.folder / "cluster-id"
        if not kept.exists():
            # One that begins with a dash would be taken for an option.
            kept.write_text("A" + secrets.token_urlsafe(16)[1:])
        return kept.read_text()

    def _make_certificate(self) -> None:
        store = self.folder / "broker.p12"
        if store.exists():
            return
        common = ("-alias", "broker", "-keystore", str(store), "-storepass", STORE_PASSWORD)
        self._run(
            *("keytool", "-genkeypair", *common, "-storetype", "PKCS12", "-keyalg", "EC"),
            *("-dname", "CN=localhost", "-ext", "SAN=dns:localhost,ip:127.0.0.1"),
            *("-ext", "bc:c=ca:true", "-validity", "2"),
        )
        self._run("keytool", "-exportcert", "-rfc", *common, "-file", str(self.certificate))

    def _run(self, *command: str) -> None:
        finished = subprocess.run(
            command,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=SET_UP_SECONDS,
        )
        if finished.returncode != 0:
            raise ServerError(f"{command[:3]} failed:\n{finished.stdout}{finished.stderr}")


class KafkaOfCompose(Kafka):
    """A broker with the settings of `docker/compose.kafka.yaml` alone, as its image reads them."""

    port_names = ("plaintext", "controller", "inside")

    def config(self) -> str:
        text = (DOCKER / "compose.kafka.yaml").read_text()
        for written, name in (("19092", "inside"), ("9092", "plaintext"), ("9093", "controller")):
            # All hosts of that network are this one here.
            text = re.sub(rf"(kafka|localhost)?:{written}\b", self.address(name), text)
        settings = re.findall(r"^ {6}KAFKA_([A-Z_]+): (.+)$", text, re.MULTILINE)
        lines = [f"{name.lower().replace('_', '.')}={value}" for name, value in settings]
        return "\n".join([*lines, f"log.dirs={self.folder / 'log'}", ""])


def java(binary: Path) -> list[str]:
    # The heap of a test, and no measuring of the machine beforehand.
    options = ("-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
    return ["java", *options, "-cp", str(binary / "*")]


class CollectorOnKafka(Collector):
    """Takes spans from a topic for each encoding."""

    def __init__(self, scratch: Path, kafka: Kafka) -> None:
        super().__init__(scratch)
        self._kafka = kafka

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "KAFKA_BROKERS": self._kafka.brokers}

    def command(self, binary: Path, config: Path) -> list[str]:
        added = DOCKER / "collector-kafka.yaml"
        return [*super().command(binary, config), "--config", str(added)]


class CollectorIntoKafka(Collector):
    """Writes what it takes to a topic, in an encoding that it has, and answers once it is there."""

    def __init__(self, scratch: Path, kafka: Kafka, topic: str, encoding: str) -> None:
        super().__init__(scratch)
        self._told = {
            "KAFKA_BROKERS": kafka.brokers,
            "KAFKA_TOPIC": topic,
            "KAFKA_ENCODING": encoding,
            "KAFKA_METRICS_TOPIC": topic,
            # Jaeger and Zipkin have none.
            "KAFKA_METRICS_ENCODING": encoding if encoding == "otlp_json" else "otlp_proto",
        }

    def environment(self) -> dict[str, str]:
        return {**super().environment(), **self._told}

    def command(self, binary: Path, config: Path) -> list[str]:
        added = DOCKER / "collector-into-kafka.yaml"
        return [*super().command(binary, config), "--config", str(added)]


class JaegerOnKafka(Jaeger):
    """Takes OTLP from a topic."""

    def __init__(self, scratch: Path, kafka: Kafka) -> None:
        super().__init__(scratch)
        self._kafka = kafka

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "KAFKA_BROKERS": self._kafka.brokers}

    def command(self, binary: Path, config: Path) -> list[str]:
        added = DOCKER / "jaeger-kafka.yaml"
        return [*super().command(binary, config), "--config", str(added)]


class ZipkinOnKafka(Zipkin):
    """Takes spans from Zipkin's own topic."""

    def __init__(self, scratch: Path, kafka: Kafka) -> None:
        super().__init__(scratch)
        self._kafka = kafka

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "KAFKA_BOOTSTRAP_SERVERS": self._kafka.brokers}
