"""Where spans go: what `hiq.init(exporters=[...])` takes.

All settings are optional; the environment fills the gaps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ._hiq import ConfigError

__all__ = [
    "ChromeExporter",
    "ConsoleExporter",
    "Exporter",
    "FileExporter",
    "JaegerExporter",
    "KafkaExporter",
    "OciApmExporter",
    "OciStreamingExporter",
    "OtlpExporter",
    "ZipkinExporter",
]


class Exporter:
    """Base of the exporters' settings. Nothing is opened before the first span."""

    def __init__(self, kind: str, **settings: Any) -> None:
        self._settings = {"type": kind, **{key: value for key, value in settings.items() if value is not None}}

    def settings(self) -> dict[str, Any]:
        """As the native module takes them."""
        return dict(self._settings)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exporter) and self._settings == other._settings

    def __hash__(self) -> int:
        return hash(repr(sorted(self._settings.items())))

    def __repr__(self) -> str:
        # Headers carry tokens; names of settings tell enough.
        return f"{type(self).__name__}({', '.join(sorted(self._settings.keys() - {'type'}))})"


def pairs(headers: Mapping[str, str] | None) -> dict[str, str] | None:
    if headers is None or isinstance(headers, Mapping):
        return None if headers is None else dict(headers)
    # The text is not shown: it may hold a token.
    raise ConfigError(f"headers: {type(headers).__name__} was given; give a dict of names and values")


class OtlpExporter(Exporter):
    """Sends OTLP over HTTP or gRPC.

    `protocol` is `http/protobuf` (default), `http/json` or `grpc`; `endpoint` (default http://localhost:4318) is used
    as it is, with `/v1/traces` where it has no path, and for gRPC (default http://localhost:4317) without a path;
    `timeout_s` (10) covers an export with its retries; `compression` is `gzip` or `none`; the certificates are paths
    of PEM files; `insecure` turns TLS off for gRPC to an endpoint without a scheme.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        protocol: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        compression: str | None = None,
        certificate: str | None = None,
        client_certificate: str | None = None,
        client_key: str | None = None,
        insecure: bool | None = None,
    ) -> None:
        super().__init__(
            "otlp",
            endpoint=endpoint,
            protocol=protocol,
            headers=pairs(headers),
            timeout_s=timeout_s,
            compression=compression,
            certificate=certificate,
            client_certificate=client_certificate,
            client_key=client_key,
            insecure=insecure,
        )


class JaegerExporter(Exporter):
    """Sends to Jaeger in its own formats.

    `agent_host_name` and `agent_port` (localhost, 6831) name an agent, which is sent UDP packets and never answers;
    `collector_endpoint` names a collector (http://localhost:14268/api/traces). `protocol` is `udp/thrift.compact`,
    `udp/thrift.binary` (port 6832), `http/thrift.binary` or `grpc` (localhost:14250); unless given, it follows from
    the address. `username` and `password` are for HTTP; `timeout_s` (10) covers an export with its retries;
    `max_packet_bytes` (65000, on macOS 9216) is the size of a UDP packet.
    """

    def __init__(
        self,
        agent_host_name: str | None = None,
        agent_port: int | None = None,
        collector_endpoint: str | None = None,
        *,
        protocol: str | None = None,
        username: str | None = None,
        password: str | None = None,
        timeout_s: float | None = None,
        max_packet_bytes: int | None = None,
    ) -> None:
        super().__init__(
            "jaeger",
            agent_host_name=agent_host_name,
            agent_port=agent_port,
            collector_endpoint=collector_endpoint,
            protocol=protocol,
            username=username,
            password=password,
            timeout_s=timeout_s,
            max_packet_bytes=max_packet_bytes,
        )


class ZipkinExporter(Exporter):
    """Sends to a Zipkin server, or to a Collector or Jaeger that takes Zipkin's formats.

    `format` is `v2` (default, JSON), `v1` (JSON) or `proto`; `endpoint` (default http://localhost:9411) is used as it
    is, with the format's path where it has none; `timeout_s` (10) covers an export with its retries; `compression` is
    `gzip` or `none`; the certificates are paths of PEM files.

    `local_ip` and `local_port` are where the service runs. Tags longer than `max_tag_value_length` characters are cut.
    `annotations` says how events are written: `specification` (default, OpenTelemetry's) or `collector`, which a
    Collector and Jaeger turn into events with attributes again. `resource_tags=False` leaves the resource's attributes
    out of the spans. `v1_addresses=True` writes remote endpoints in v1 too; only a Zipkin server takes them.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        format: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        compression: str | None = None,
        certificate: str | None = None,
        client_certificate: str | None = None,
        client_key: str | None = None,
        local_ip: str | None = None,
        local_port: int | None = None,
        max_tag_value_length: int | None = None,
        annotations: str | None = None,
        resource_tags: bool | None = None,
        v1_addresses: bool | None = None,
    ) -> None:
        super().__init__(
            "zipkin",
            endpoint=endpoint,
            format=format,
            headers=pairs(headers),
            timeout_s=timeout_s,
            compression=compression,
            certificate=certificate,
            client_certificate=client_certificate,
            client_key=client_key,
            local_ip=local_ip,
            local_port=local_port,
            max_tag_value_length=max_tag_value_length,
            annotations=annotations,
            resource_tags=resource_tags,
            v1_addresses=v1_addresses,
        )


class KafkaExporter(Exporter):
    """Writes messages to a topic of Kafka, for a Collector, Jaeger, Zipkin or `python -m hiq bridge` to read.

    `brokers` is host:port of some brokers (localhost:9092), a text with commas or a list. `encoding` is `otlp_proto`
    (default), `otlp_json`, `jaeger_proto` (one span a message), `zipkin_json`, `zipkin_proto` or `hiq_text` (HiQ's
    text, one tree a message); unless `topic` is given it is the one that readers of the encoding expect: otlp_spans,
    jaeger-spans, zipkin, hiq-trees. `key` decides the partition: `none` (default), `trace` (`jaeger_proto`'s default)
    or `service`. `compression` is `none`, `gzip`, `snappy`, `lz4` or `zstd`.

    With `username` and `password` the connection is SASL over TLS (`sasl_mechanism`: `PLAIN`, `SCRAM-SHA-256`,
    `SCRAM-SHA-512`), with certificates (paths of PEM files) TLS; `security_protocol` overrides that.
    `profile="oci-streaming"` is for Oracle's OCI Streaming. A message that is not delivered in `timeout_s` (10) comes
    back and waits for another series of attempts. `max_message_bytes` (1000000) is the broker's limit; `properties`
    are settings of librdkafka. Everything is also read from `HIQ_KAFKA_BROKERS`, `HIQ_KAFKA_TOPIC` and so on.

    It takes metrics as well (`hiq.init(metrics=[...])`): `otlp_proto` or `otlp_json`, to the topic otlp_metrics, keyed
    by `none` or `service`; `summaries="histogram"` sends summaries as exponential histograms, not as quantiles.
    Then `HIQ_KAFKA_METRICS_TOPIC`, `_ENCODING` and `_KEY` are read in place of the names for spans.
    """

    def __init__(
        self,
        brokers: str | Sequence[str] | None = None,
        topic: str | None = None,
        *,
        encoding: str | None = None,
        key: str | None = None,
        compression: str | None = None,
        profile: str | None = None,
        security_protocol: str | None = None,
        sasl_mechanism: str | None = None,
        username: str | None = None,
        password: str | None = None,
        certificate: str | None = None,
        client_certificate: str | None = None,
        client_key: str | None = None,
        client_key_password: str | None = None,
        timeout_s: float | None = None,
        max_message_bytes: int | None = None,
        properties: Mapping[str, str] | None = None,
        summaries: str | None = None,
    ) -> None:
        super().__init__(
            "kafka",
            brokers=list(brokers) if isinstance(brokers, tuple) else brokers,
            topic=topic,
            encoding=encoding,
            key=key,
            compression=compression,
            profile=profile,
            security_protocol=security_protocol,
            sasl_mechanism=sasl_mechanism,
            username=username,
            password=password,
            certificate=certificate,
            client_certificate=client_certificate,
            client_key=client_key,
            client_key_password=client_key_password,
            timeout_s=timeout_s,
            max_message_bytes=max_message_bytes,
            properties=None if properties is None else dict(properties),
            summaries=summaries,
        )


class OciApmExporter(Exporter):
    """Sends to OCI APM (Oracle Cloud).

    `base_url` (APM_BASE_URL) is the APM domain's data upload endpoint, without a path; `data_key` (APM_PUB_KEY, else
    APM_PRIVATE_KEY) a data key of the domain, the private one with `private=True`; `api_version` (APM_API_VER) is
    20200101. `format` is `zipkin` (default) or `otlp`; `timeout_s` (10) covers an export with its retries. The others
    are `ZipkinExporter`'s, for that format.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        data_key: str | None = None,
        private: bool | None = None,
        api_version: str | None = None,
        format: str | None = None,
        timeout_s: float | None = None,
        certificate: str | None = None,
        local_ip: str | None = None,
        local_port: int | None = None,
        max_tag_value_length: int | None = None,
        annotations: str | None = None,
        resource_tags: bool | None = None,
    ) -> None:
        super().__init__(
            "oci_apm",
            base_url=base_url,
            data_key=data_key,
            private=private,
            api_version=api_version,
            format=format,
            timeout_s=timeout_s,
            certificate=certificate,
            local_ip=local_ip,
            local_port=local_port,
            max_tag_value_length=max_tag_value_length,
            annotations=annotations,
            resource_tags=resource_tags,
        )


class OciStreamingExporter(Exporter):
    """Puts messages into a stream of OCI Streaming (Oracle Cloud), by its REST interface.

    `endpoint` (OCI_STM_END) is the messages endpoint of the stream's pool, `stream` (OCI_STM_OCID) the stream's OCID.
    `encoding` is `otlp_proto` (default), `otlp_json`, `jaeger_proto`, `zipkin_json`, `zipkin_proto` or `hiq_text`;
    `key`, which decides about the partition, is `none` (default), `service` or `trace`.

    `auth` is `api_key`, `security_token`, `instance_principal` or `resource_principal`, and follows from the profile
    unless it is given; `config_file` (~/.oci/config), `profile` (DEFAULT), `region` and `passphrase` are as Oracle's
    tools have them, their environment variables as well. `timeout_s` (10) covers an export with its retries.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        stream: str | None = None,
        *,
        encoding: str | None = None,
        key: str | None = None,
        auth: str | None = None,
        config_file: str | os.PathLike[str] | None = None,
        profile: str | None = None,
        region: str | None = None,
        passphrase: str | None = None,
        timeout_s: float | None = None,
        certificate: str | None = None,
    ) -> None:
        super().__init__(
            "oci_streaming",
            endpoint=endpoint,
            stream=stream,
            encoding=encoding,
            key=key,
            auth=auth,
            config_file=None if config_file is None else os.fspath(config_file),
            profile=profile,
            region=region,
            passphrase=passphrase,
            timeout_s=timeout_s,
            certificate=certificate,
        )


class FileExporter(Exporter):
    """Appends to a file, one OTLP JSON request a line, as the OpenTelemetry Collector does.

    A relative path is one of the folder that the program is in now."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__("file", path=os.path.abspath(path))


class ChromeExporter(Exporter):
    """Writes a trace file that Perfetto's viewer (ui.perfetto.dev), vizviewer and chrome://tracing open.

    The name says the format: `.pftrace`, `.perfetto-trace` and `.pb` are Perfetto's protobuf, everything else Chrome's
    Trace Event JSON; `.gz` behind either compresses. `format` (`chrome` or `perfetto`) overrides that. Without a path
    it is HIQ_CHROME_FILE, else hiq-trace.json.gz. The file is whole at every moment. A file that hiq wrote is
    continued, also by several processes; any other is left alone.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, format: str | None = None) -> None:
        super().__init__("chrome", path=None if path is None else os.path.abspath(path), format=format)


class ConsoleExporter(Exporter):
    """Prints spans, for a first look."""

    def __init__(self) -> None:
        super().__init__("console")
