"""One span tree in, every tracing backend out.

Programs are traced without touching them: a conf names functions, hiq records their calls. HiQ's API is here
(`HiQLatency`, `HiQOpenTelemetryContext`, ...), and a modern one (`init`, `trace`, `current_span`, ...).
"""

from __future__ import annotations

from . import _installed as _installed  # First: a mixed installation fails in stranger ways later.
from . import metrics as metrics
from . import prometheus as prometheus
from ._hiq import (
    ConfigError,
    Context,
    ExportError,
    HiqError,
    Span,
    Tree,
    attach,
    capture,
    current_context,
    current_span,
    detach,
    extract,
    inject,
    record,
    suppress,
    trace,
)
from ._hiq import version as __version__
from ._mod import mod
from .base import HiQLatency, HiQMemory, HiQSimple
from .constants import *  # noqa: F403
from .ddict import ddjson, ddlist, ddyaml
from .distributed import HiQOpenTelemetryContext, OtmExporterType
from .exporters import (
    ChromeExporter,
    ConsoleExporter,
    FileExporter,
    JaegerExporter,
    KafkaExporter,
    OciApmExporter,
    OciStreamingExporter,
    OtlpExporter,
    ZipkinExporter,
)
from .hiq_utils import HiQStatusContext, get_global_hiq_status, set_global_hiq_status
from .logs import install_log_ids, remove_log_ids
from .memory import (
    get_memory_b,
    get_memory_gb,
    get_memory_kb,
    get_memory_mb,
    get_system_memory_usage,
    get_system_peak_memory,
)
from .metric_exporters import (
    OciMonitoringExporter,
    OtlpMetricExporter,
    PrometheusExporter,
    PushgatewayExporter,
    RemoteWriteExporter,
)
from .tracing import flush, init, instrument, shutdown, stats, uninstrument
from .tree import get_duration_from_hiq_string, get_graph_from_string
from .utils import (
    SilencePrint,
    SingletonBase,
    SingletonMeta,
    bfloat16_supported,
    create_gantt_chart_memory,
    create_gantt_chart_time,
    down_sample,
    download_from_http,
    draw_image,
    ensure_folder,
    execute_cmd,
    get_average_loss,
    get_env_bool,
    get_env_float,
    get_env_int,
    get_files_by_type,
    get_home,
    get_percentage_loss,
    get_proxies,
    get_time_str_with_tz,
    is_hiqed,
    lmk_data_handler,
    memoize,
    memoize_first,
    post_http,
    random_port,
    random_str,
    read_file,
    set_seed,
    str_to_filename,
    ts_pair_to_dt,
    ts_to_dt,
    utc_to_pst,
    write_file,
)

__all__ = [
    "ChromeExporter",
    "ConfigError",
    "ConsoleExporter",
    "Context",
    "ExportError",
    "FileExporter",
    "HiQLatency",
    "HiQMemory",
    "HiQOpenTelemetryContext",
    "HiQSimple",
    "HiQStatusContext",
    "HiqError",
    "JaegerExporter",
    "KafkaExporter",
    "OciApmExporter",
    "OciMonitoringExporter",
    "OciStreamingExporter",
    "OtlpExporter",
    "OtlpMetricExporter",
    "OtmExporterType",
    "PrometheusExporter",
    "PushgatewayExporter",
    "RemoteWriteExporter",
    "SilencePrint",
    "SingletonBase",
    "SingletonMeta",
    "Span",
    "Tree",
    "ZipkinExporter",
    "__version__",
    "attach",
    "bfloat16_supported",
    "capture",
    "create_gantt_chart_memory",
    "create_gantt_chart_time",
    "current_context",
    "current_span",
    "ddjson",
    "ddlist",
    "ddyaml",
    "detach",
    "down_sample",
    "download_from_http",
    "draw_image",
    "ensure_folder",
    "execute_cmd",
    "extract",
    "flush",
    "get_average_loss",
    "get_duration_from_hiq_string",
    "get_env_bool",
    "get_env_float",
    "get_env_int",
    "get_files_by_type",
    "get_global_hiq_status",
    "get_graph_from_string",
    "get_home",
    "get_memory_b",
    "get_memory_gb",
    "get_memory_kb",
    "get_memory_mb",
    "get_percentage_loss",
    "get_proxies",
    "get_system_memory_usage",
    "get_system_peak_memory",
    "get_time_str_with_tz",
    "init",
    "inject",
    "install_log_ids",
    "instrument",
    "is_hiqed",
    "lmk_data_handler",
    "memoize",
    "memoize_first",
    "metrics",
    "mod",
    "post_http",
    "prometheus",
    "random_port",
    "random_str",
    "read_file",
    "record",
    "remove_log_ids",
    "set_global_hiq_status",
    "set_seed",
    "shutdown",
    "stats",
    "str_to_filename",
    "suppress",
    "trace",
    "ts_pair_to_dt",
    "ts_to_dt",
    "uninstrument",
    "utc_to_pst",
    "write_file",
]

# HiQ's names for frameworks, by the module that has them: it is loaded when one is asked for.
_ELSEWHERE = {
    "HiQFastAPILatency": "framework.fastapi",
    "HiQFastAPILatencyMixin": "framework.fastapi",
    "HiQFastAPIMemory": "framework.fastapi",
    "HiQFlaskLatency": "server_flask",
    "HiQFlaskLatencyOtel": "server_flask",
    "HiQFlaskMemory": "server_flask",
    "HiQTransformerFullMemory": "framework.transformers",
    "HiQTransformerGPUMemory": "framework.transformers",
    "HiQTransformerLatency": "framework.transformers",
    "HiQTransformerMemory": "framework.transformers",
    "run_fastapi": "framework.fastapi",
}
_NOT_YET = {"print_model", "vis_help"}


def __getattr__(name: str) -> object:
    if name in _ELSEWHERE:
        import importlib

        found = getattr(importlib.import_module(f".{_ELSEWHERE[name]}", __name__), name)
        globals()[name] = found
        return found
    if name in _NOT_YET:
        raise AttributeError(f"hiq.{name} of HiQ is not in this build yet")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ELSEWHERE})
