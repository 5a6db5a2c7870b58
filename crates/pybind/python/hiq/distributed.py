"""`HiQOpenTelemetryContext`: spans of traced functions leave the process while the block runs."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from enum import Enum
from typing import Any

from . import _hiq, tracing
from .constants import TRACING_TYPE_OTM
from .exporters import ConsoleExporter, Exporter, JaegerExporter, OciApmExporter, OtlpExporter, ZipkinExporter

__all__ = ["HiQOpenTelemetryContext", "OtmExporterType", "setup_jaeger", "setup_zipkin"]

_DEFAULT_SERVICE = "hiq_service"
_DEFAULT_TRACER = "otm_hiq"


class OtmExporterType(Enum):
    """HiQ's four exporters, and OTLP's three."""

    JAEGER_THRIFT = 1
    JAEGER_PROTOBUF = 2
    ZIPKIN_JSON = 3
    ZIPKIN_PROTOBUF = 4
    OTLP_HTTP_PROTOBUF = 5
    OTLP_HTTP_JSON = 6
    OTLP_GRPC = 7


class HiQOpenTelemetryContext:
    """Adds an exporter while the block runs; leaving it flushes, for at most five seconds.

    Without `exporter_type`, `OTEL_TRACES_EXPORTER` and `OTEL_EXPORTER_OTLP_PROTOCOL` decide, else it is
    `JAEGER_THRIFT`. The Jaeger members take `service_name`, `agent_host_name`, `agent_port`, `tracer_name`,
    `collector_endpoint`; the Zipkin members what `setup_zipkin` takes; the OTLP members take
    `service_name`, `tracer_name`, `endpoint`, `headers`, `timeout` (seconds), `compression`, `certificate`,
    `client_certificate`, `client_key`, `insecure`; all take `traceparent`, the span under which the block's spans hang.
    """

    def __init__(self, exporter_type: OtmExporterType | None = None, *args: Any, **kwargs: Any) -> None:
        traceparent = kwargs.pop("traceparent", None)
        self.exporter_type = exporter_type if exporter_type is not None else _type_of_environment()
        setting_up = _SET_UP.get(self.exporter_type)
        if setting_up is None:
            raise ValueError("Unknown exporter type")
        self._exporter, self._service_name = setting_up(*args, **kwargs)
        self._parent = None if traceparent is None else _context(traceparent)
        self._handle: int | None = None
        self._token: _hiq.Token | None = None
        self._trace_type: str | None = None
        self._scope: tuple[str, str] | None = None

    def __enter__(self) -> None:
        self._trace_type = os.environ.get("TRACE_TYPE")
        os.environ["TRACE_TYPE"] = TRACING_TYPE_OTM
        self._handle = _attach(self._exporter, self._service_name)
        if self._handle is not None:
            # As HiQ has it: the tracer's name, without a version.
            self._scope = _hiq.set_scope(os.environ.get("OTM_TRACER_NAME", _DEFAULT_TRACER), "")
        if self._parent is not None:
            self._token = _hiq.attach(self._parent)

    def __exit__(self, *_exc: object) -> None:
        if self._parent is not None:
            _hiq.detach(self._token)
        _detach(self._handle)
        self._handle = None
        if self._scope is not None:
            _hiq.set_scope(*self._scope)
            self._scope = None
        if self._trace_type is None:
            os.environ.pop("TRACE_TYPE", None)
        else:
            os.environ["TRACE_TYPE"] = self._trace_type


def setup_jaeger(
    service_name: str | None = None,
    agent_host_name: str | None = None,
    agent_port: int | None = None,
    tracer_name: str = _DEFAULT_TRACER,
    collector_endpoint: str | None = None,
    exporter_type: OtmExporterType = OtmExporterType.JAEGER_THRIFT,
) -> Any:
    """HiQ's set-up of the Jaeger exporters: protobuf to the collector; thrift to the agent by UDP, or by HTTP to a
    collector that is given.

    What is not given comes from `OTEL_EXPORTER_JAEGER_*`, else it is localhost, 6831 and localhost:14250.
    """
    if exporter_type is OtmExporterType.JAEGER_PROTOBUF:
        protocol = "grpc"
    else:
        protocol = "udp/thrift.compact" if collector_endpoint is None else "http/thrift.binary"
    return _set_up_jaeger(protocol, service_name, agent_host_name, agent_port, tracer_name, collector_endpoint)


def setup_zipkin(
    service_name: str | None = None,
    tracer_name: str = _DEFAULT_TRACER,
    endpoint: str | None = None,
    local_node_ipv4: str | None = None,
    local_node_port: int | None = None,
    max_tag_value_length: int | None = 256,
    timeout: float | None = 5,
    exporter_type: OtmExporterType = OtmExporterType.ZIPKIN_JSON,
) -> Any:
    """HiQ's set-up of the Zipkin exporters. `timeout` is in seconds; unless named, the service is `hiq_service`.

    Without `endpoint`, `OTEL_EXPORTER_ZIPKIN_ENDPOINT` says where to. Else JSON goes to OCI APM where `APM_BASE_URL`
    and a data key (`APM_PUB_KEY`, `APM_PRIVATE_KEY`) are set. Else it is http://localhost:9411/api/v2/spans.
    """
    os.environ["OTM_TRACER_NAME"] = tracer_name
    settings: dict[str, Any] = {
        "timeout_s": timeout,
        "local_ip": None if local_node_ipv4 is None else str(local_node_ipv4),
        "local_port": local_node_port,
        "max_tag_value_length": max_tag_value_length,
    }
    is_json = exporter_type is OtmExporterType.ZIPKIN_JSON
    if is_json and endpoint is None and not _variable("OTEL_EXPORTER_ZIPKIN_ENDPOINT") and _asks_for_apm():
        return OciApmExporter(**settings), service_name
    return ZipkinExporter(endpoint, format="v2" if is_json else "proto", **settings), service_name


def _asks_for_apm() -> bool:
    return bool(_variable("APM_BASE_URL") and (_variable("APM_PUB_KEY") or _variable("APM_PRIVATE_KEY")))


# --- which exporter -------------------------------------------------------------------------------


class _ByEnvironment(Enum):
    """What the environment may ask for beside the members of `OtmExporterType`."""

    JAEGER = 0
    CONSOLE = 1
    NONE = 2


def _type_of_environment() -> Any:
    """`OTEL_TRACES_EXPORTER`, then OTLP's protocol, then HiQ's default."""
    named = _variable("OTEL_TRACES_EXPORTER").lower()
    protocol = _variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or _variable("OTEL_EXPORTER_OTLP_PROTOCOL")
    if named in _TYPE_OF_NAME:
        return _TYPE_OF_NAME[named]
    if named and named != "otlp":
        tracing.say(f"OTEL_TRACES_EXPORTER: `{named}` is not known here, otlp is used")
    if not named and not protocol:
        return OtmExporterType.JAEGER_THRIFT
    return _TYPE_OF_PROTOCOL.get(protocol.lower(), OtmExporterType.OTLP_HTTP_PROTOBUF)


_TYPE_OF_NAME: dict[str, Any] = {
    "jaeger": _ByEnvironment.JAEGER,
    "zipkin": OtmExporterType.ZIPKIN_JSON,
    "console": _ByEnvironment.CONSOLE,
    "none": _ByEnvironment.NONE,
}
_TYPE_OF_PROTOCOL = {
    "http/protobuf": OtmExporterType.OTLP_HTTP_PROTOBUF,
    "http/json": OtmExporterType.OTLP_HTTP_JSON,
    "grpc": OtmExporterType.OTLP_GRPC,
}

_SetUp = tuple[Exporter | None, str | None]


def _set_up_otlp(
    protocol: str | None,
    service_name: str | None = None,
    tracer_name: str = _DEFAULT_TRACER,
    endpoint: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    compression: str | None = None,
    certificate: str | None = None,
    client_certificate: str | None = None,
    client_key: str | None = None,
    insecure: bool | None = None,
) -> _SetUp:
    os.environ["OTM_TRACER_NAME"] = tracer_name
    exporter = OtlpExporter(
        endpoint,
        protocol=protocol,
        headers=headers,
        timeout_s=timeout,
        compression=compression,
        certificate=certificate,
        client_certificate=client_certificate,
        client_key=client_key,
        insecure=insecure,
    )
    return exporter, service_name


def _set_up_jaeger(
    protocol: str,
    service_name: str | None = None,
    agent_host_name: str | None = None,
    agent_port: int | None = None,
    tracer_name: str = _DEFAULT_TRACER,
    collector_endpoint: str | None = None,
) -> _SetUp:
    os.environ["OTM_TRACER_NAME"] = tracer_name
    exporter = JaegerExporter(agent_host_name, agent_port, collector_endpoint, protocol=protocol)
    return exporter, service_name


def _set_up_jaeger_of_environment(*args: Any, **kwargs: Any) -> _SetUp:
    return _set_up_jaeger(_variable("OTEL_EXPORTER_JAEGER_PROTOCOL") or "udp/thrift.compact", *args, **kwargs)


def _set_up_console(service_name: str | None = None, tracer_name: str = _DEFAULT_TRACER, **_others: Any) -> _SetUp:
    os.environ["OTM_TRACER_NAME"] = tracer_name
    return ConsoleExporter(), service_name


def _set_up_nothing(service_name: str | None = None, **_others: Any) -> _SetUp:
    return None, service_name


_SET_UP: dict[Any, Any] = {
    OtmExporterType.JAEGER_THRIFT: setup_jaeger,
    OtmExporterType.JAEGER_PROTOBUF: functools.partial(setup_jaeger, exporter_type=OtmExporterType.JAEGER_PROTOBUF),
    OtmExporterType.ZIPKIN_JSON: setup_zipkin,
    OtmExporterType.ZIPKIN_PROTOBUF: functools.partial(setup_zipkin, exporter_type=OtmExporterType.ZIPKIN_PROTOBUF),
    OtmExporterType.OTLP_HTTP_PROTOBUF: functools.partial(_set_up_otlp, "http/protobuf"),
    OtmExporterType.OTLP_HTTP_JSON: functools.partial(_set_up_otlp, "http/json"),
    OtmExporterType.OTLP_GRPC: functools.partial(_set_up_otlp, "grpc"),
    _ByEnvironment.JAEGER: _set_up_jaeger_of_environment,
    _ByEnvironment.CONSOLE: _set_up_console,
    _ByEnvironment.NONE: _set_up_nothing,
}


def _variable(name: str) -> str:
    return os.environ.get(name, "").strip()


def _context(traceparent: str) -> _hiq.Context:
    context = _hiq.extract({"traceparent": traceparent}, "tracecontext")
    if context is None:
        raise _hiq.ConfigError(
            f"traceparent: `{traceparent}` is not one; use the form 00-<32 hex digits>-<16 hex digits>-01"
        )
    return context


# --- the pipeline meanwhile -----------------------------------------------------------------------

# Contexts that are open on a pipeline of their own making.
_own_contexts = 0


def _attach(exporter: Exporter | None, service_name: str | None, **settings: Any) -> int | None:
    """`settings` are those of a pipeline that is started here."""
    global _own_contexts
    if exporter is None or _variable("OTEL_SDK_DISABLED").lower() == "true":
        return None
    if _own_contexts or not _hiq.is_running():
        if not _own_contexts:
            own = {"runtime": tracing.runtime_attributes(), "exporters": [], **settings}
            tracing.start({**_service(service_name), **own})
        _own_contexts += 1
    elif service_name is not None:
        tracing.say(f"service_name `{service_name}` of HiQOpenTelemetryContext is not used: hiq.init() has set it")
    return _hiq.add_exporter(exporter.settings())


def _detach(handle: int | None) -> None:
    global _own_contexts
    if handle is None:
        return
    _hiq.remove_exporter(handle)
    if _own_contexts:
        _own_contexts -= 1
        if _own_contexts == 0:
            _hiq.shutdown()


def _service(name: str | None) -> dict[str, str]:
    """The argument, else the environment, else HiQ's name."""
    attributes = _variable("OTEL_RESOURCE_ATTRIBUTES").replace(" ", "")
    named = _variable("OTEL_SERVICE_NAME") or f",{attributes}".find(",service.name=") >= 0
    if name is None and named:
        return {}
    return {"service_name": name if name is not None else _DEFAULT_SERVICE}
