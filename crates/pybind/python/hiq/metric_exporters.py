"""Where metrics go: what `hiq.init(metrics=[...])` takes.

All settings are optional; the environment fills the gaps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from .exporters import Exporter, pairs

__all__ = [
    "OciMonitoringExporter",
    "OtlpMetricExporter",
    "PrometheusExporter",
    "PushgatewayExporter",
    "RemoteWriteExporter",
]


class OtlpMetricExporter(Exporter):
    """Sends metrics by OTLP; the settings are those of `OtlpExporter`, the path is `/v1/metrics`.

    `summaries="histogram"` sends summaries as exponential histograms in place of their quantiles.
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
        summaries: str | None = None,
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
            summaries=summaries,
        )


class OciMonitoringExporter(Exporter):
    """Posts metrics to OCI Monitoring (Oracle Cloud), 50 series a call.

    `compartment` (OCI_COMPARTMENT_ID) is the OCID of the compartment that metrics belong to, `namespace`
    (OCI_MONITORING_NAMESPACE, else `hiq`) their namespace, `resource_group` one group for all of them. `endpoint`
    (OCI_MONITORING_ENDPOINT) is the ingestion endpoint, else the region's. Sums leave as they stand since their start:
    `increment()` and `rate()` of a query take differences.

    `auth`, `config_file`, `profile`, `region` and `passphrase` are those of `OciStreamingExporter`; `timeout_s` (10)
    covers an export with its retries.
    """

    def __init__(
        self,
        compartment: str | None = None,
        *,
        namespace: str | None = None,
        resource_group: str | None = None,
        endpoint: str | None = None,
        auth: str | None = None,
        config_file: str | os.PathLike[str] | None = None,
        profile: str | None = None,
        region: str | None = None,
        passphrase: str | None = None,
        timeout_s: float | None = None,
        certificate: str | None = None,
    ) -> None:
        super().__init__(
            "oci_monitoring",
            compartment=compartment,
            namespace=namespace,
            resource_group=resource_group,
            endpoint=endpoint,
            auth=auth,
            config_file=None if config_file is None else os.fspath(config_file),
            profile=profile,
            region=region,
            passphrase=passphrase,
            timeout_s=timeout_s,
            certificate=certificate,
        )


class PrometheusExporter(Exporter):
    """Answers scrapes of `/metrics` at `host` (localhost) and `port` (9464; 0: any that is free), from `hiq.init` on.

    Whoever reaches the port reads all metrics. `native_summaries` gives scrapers that take protobuf summaries as native
    histograms in place of their quantiles. `utf8_names` leaves names of metrics and labels as they are for scrapers
    that read them, as Prometheus 3 does (`escaping=allow-utf-8`); for others, and by default, what is no letter, digit
    or `_` becomes `_`.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        native_summaries: bool | None = None,
        utf8_names: bool | None = None,
    ) -> None:
        super().__init__("prometheus", host=host, port=port, native_summaries=native_summaries, utf8_names=utf8_names)


class PushgatewayExporter(Exporter):
    """Pushes metrics to a Pushgateway, for jobs that end before anybody scrapes them.

    `url` (default http://localhost:9091), `job` (the service's name) and `grouping` name the group, whose metrics are
    replaced (`method="put"`) or, where they have the same names, exchanged (`post`). `timeout_s` (30) covers a push
    with its retries.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        job: str | None = None,
        grouping: Mapping[str, str] | None = None,
        method: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        certificate: str | None = None,
        client_certificate: str | None = None,
        client_key: str | None = None,
    ) -> None:
        super().__init__(
            "pushgateway",
            url=url,
            job=job,
            grouping=None if grouping is None else dict(grouping),
            method=method,
            headers=pairs(headers),
            timeout_s=timeout_s,
            certificate=certificate,
            client_certificate=client_certificate,
            client_key=client_key,
        )


class RemoteWriteExporter(Exporter):
    """Sends metrics by Prometheus's remote write.

    `url` (default http://localhost:9090) is used as it is, with `/api/v1/write` where it has no path; `version` is `2`,
    `1` or `auto`: 2.0 until the server turns out not to know it; `timeout_s` (30) covers an export with its retries.
    `summaries="histogram"` sends summaries as native histograms in place of their quantiles; `utf8_names` leaves names
    as they are, for Prometheus 3 and newer.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        version: str | int | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        certificate: str | None = None,
        client_certificate: str | None = None,
        client_key: str | None = None,
        summaries: str | None = None,
        utf8_names: bool | None = None,
    ) -> None:
        super().__init__(
            "remote_write",
            url=url,
            version=None if version is None else str(version),
            headers=pairs(headers),
            timeout_s=timeout_s,
            certificate=certificate,
            client_certificate=client_certificate,
            client_key=client_key,
            summaries=summaries,
            utf8_names=utf8_names,
        )
