"""HiQ's constants: tags, tables of the extra metrics, keys, formats."""

from __future__ import annotations

from enum import Enum

__all__ = [
    "EXTERNAL_C_MODULE",
    "EXTRA_END_TIME_KEY",
    "EXTRA_START_TIME_KEY",
    "FORMAT_DATETIME",
    "FORMAT_TIMESTAMP",
    "GLOBAL_HIQ_TTL_S",
    "HIQ_C_SET",
    "HIQ_FUNC_DIO_RD",
    "HIQ_FUNC_DIO_WT",
    "HIQ_FUNC_NIO_GET",
    "HIQ_FUNC_NIO_POS",
    "HIQ_FUNC_NIO_WRT",
    "HIQ_FUNC_PREFIX",
    "HIQ_FUNC_SIO_RD",
    "HIQ_FUNC_SIO_WT",
    "HIQ_SHARED_MEMORY",
    "HIQ_TABLE_SIO_RD",
    "HIQ_TABLE_SIO_WT",
    "KEY_EXC_SUM",
    "KEY_EXC_TRA",
    "KEY_LATENCY",
    "KEY_MEMORY",
    "TAU_PKL_LOC",
    "TAU_TABLE_DIO_RD",
    "TAU_TABLE_DIO_WT",
    "TAU_TABLE_NIO_GET",
    "TAU_TABLE_NIO_POS",
    "TAU_TABLE_NIO_WRT",
    "TAU_TPL_LOC",
    "TRACING_TYPE_HIQ",
    "TRACING_TYPE_OCI",
    "TRACING_TYPE_OTM",
    "TRACING_TYPE_PROM",
    "TREE_ROOT_NAME",
    "TS_LEN",
    "ExtraMetrics",
    "OverHeadFormat",
]

KEY_LATENCY = "time"
KEY_MEMORY = "get_memory_mb"
KEY_EXC_SUM = "exception_summary"
KEY_EXC_TRA = "exception_trace"
EXTRA_START_TIME_KEY = "start"
EXTRA_END_TIME_KEY = "end"

TREE_ROOT_NAME = "root"
FORMAT_TIMESTAMP = "_timestamp_"
FORMAT_DATETIME = "_datetime_"
TS_LEN = 14

HIQ_FUNC_PREFIX = "__"
HIQ_FUNC_DIO_RD = "dio_r"
HIQ_FUNC_DIO_WT = "dio_w"
HIQ_FUNC_SIO_RD = "sio_r"
HIQ_FUNC_SIO_WT = "sio_w"
HIQ_FUNC_NIO_GET = "nio_get"
HIQ_FUNC_NIO_POS = "nio_pos"
HIQ_FUNC_NIO_WRT = "nio_wrt"

TAU_TABLE_DIO_RD = ["_io", "TextIOWrapper", "read", HIQ_FUNC_DIO_RD]
TAU_TABLE_DIO_WT = ["_io", "TextIOWrapper", "write", HIQ_FUNC_DIO_WT]
HIQ_TABLE_SIO_RD = ["os", "", "read", HIQ_FUNC_SIO_RD]
HIQ_TABLE_SIO_WT = ["os", "", "write", HIQ_FUNC_SIO_WT]
TAU_TABLE_NIO_GET = ["requests", "", "get", HIQ_FUNC_NIO_GET]
TAU_TABLE_NIO_POS = ["requests", "", "post", HIQ_FUNC_NIO_POS]
# HiQ's guide prints this name, its code never had it.
TAU_TABLE_NIO_WRT = ["requests", "", "post", HIQ_FUNC_NIO_WRT]

TRACING_TYPE_HIQ = "oci-hiq"
TRACING_TYPE_OCI = "oci-apm"
TRACING_TYPE_OTM = "opentelemetry"
TRACING_TYPE_PROM = "prometheus"

# Of no use here; programs that import them go on working.
TAU_TPL_LOC = "data/tau.tpl"
TAU_PKL_LOC = "data/tau.pk"
EXTERNAL_C_MODULE = "ctypes"
HIQ_SHARED_MEMORY = 4096
GLOBAL_HIQ_TTL_S = 60
HIQ_C_SET = {"_io.TextIOWrapper.read", "_io.TextIOWrapper.write"}


class ExtraMetrics(Enum):
    """What each span of a driver carries beside its times."""

    ARGS = 1
    FILE = 2
    FUNC = 3


class OverHeadFormat(Enum):
    """Microseconds, or a share of the traced time."""

    ABS = 1
    PCT = 2
