"""The global switch, HiQ's conf as a table, ids of trees, arguments as text."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from . import _hiq
from ._redact import HIDDEN, hidden_positions, is_secret
from .constants import *  # noqa: F403 (programs find them here)
from .constants import TRACING_TYPE_HIQ, TRACING_TYPE_OTM
from .utils import get_env_bool

__all__ = [
    "DEFAULT_HIQ_STATUS",
    "HIQ_STATUS_CACHED",
    "FlaskReqIdGenerator",
    "HiQIdGenerator",
    "HiQStatusContext",
    "call_decorated",
    "func_args_handler",
    "get_global_hiq_status",
    "get_hiq_table",
    "get_tau_id",
    "read_csv_to_list",
    "set_global_hiq_status",
    "silent_import",
]

DEFAULT_HIQ_STATUS = get_env_bool("HIQ_ENABLED", True)
# Reading the switch costs no system call here, so there is nothing to cache; programs may set it all the same.
HIQ_STATUS_CACHED = get_env_bool("HIQ_STATUS_CACHED", False)


# --- the global switch ----------------------------------------------------------------------------


def set_global_hiq_status(on: Any = True, name: str = "hiq", debug: bool = False) -> bool | None:
    """Switches tracing on or off in all processes of this user. False when that is not permitted, else None."""
    was_set = _hiq.status_get(name, True) == _hiq.status_get(name, False)
    if not _hiq.status_set(name, bool(on)):
        return False
    if debug:
        print(f"{'😇' if was_set else '😤'} set global hiq to {on}")
    return None


def get_global_hiq_status(name: str = "hiq", default: bool = DEFAULT_HIQ_STATUS) -> bool:
    """The switch; `default` while nobody has set it."""
    return _hiq.status_get(name, default)


class HiQStatusContext:
    """Sets the global switch inside a `with` block and puts it back. Other processes may set it meanwhile."""

    def __init__(self, target_status_on: bool = True, debug: bool = False) -> None:
        self.original_hiq_status = get_global_hiq_status()
        self.target_on = target_status_on
        self.set = False
        self.debug = debug

    def __enter__(self) -> None:
        if self.original_hiq_status != self.target_on:
            set_global_hiq_status(self.target_on, debug=self.debug)
            self.set = True

    def __exit__(self, *_exc: object) -> None:
        if self.set:
            set_global_hiq_status(self.original_hiq_status, debug=self.debug)


# --- conf -----------------------------------------------------------------------------------------


def get_hiq_table(hiq_table_or_path: Any) -> list[Any]:
    """The rows of a conf file as [module, class, function, name]; a list is returned as it is."""
    if isinstance(hiq_table_or_path, list):
        return hiq_table_or_path
    if not isinstance(hiq_table_or_path, str):
        raise Exception(f"bad data:{hiq_table_or_path}")
    if not os.path.exists(hiq_table_or_path):
        raise Exception(f"😓 file {hiq_table_or_path} doesn't exist.")
    rows = _hiq.load_conf(hiq_table_or_path)
    return [[row["module"], row["class"], row["function"], row["name"]] for row in rows]


def read_csv_to_list(file_path: str) -> list[list[str]]:
    """The cells of a CSV file; nothing when it cannot be read."""
    import csv

    try:
        with open(file_path, encoding="utf-8", newline="") as file:
            return list(csv.reader(file, skipinitialspace=True))
    except (OSError, ValueError, csv.Error):
        return []


# --- ids of trees ---------------------------------------------------------------------------------


def get_tau_id(server_name: str | None = None) -> Any:
    """HiQ's default id of a tree: None, so that all calls share one; in a flask server the request's id."""
    if server_name != "flask":
        return None
    flask = silent_import("flask")
    if flask is None or not flask.has_request_context():
        return None
    return flask.request.environ.get("HTTP_X_REQUEST_ID")


class HiQIdGenerator:
    """Gives one id, made with the object: microseconds since 1970 and a digit."""

    counter = 0

    def __init__(self) -> None:
        self._id = f"{time.time_ns() // 1000}{HiQIdGenerator.counter % 10}"
        HiQIdGenerator.counter += 1

    def __call__(self) -> str:
        return self._id


class FlaskReqIdGenerator:
    """Gives the id of flask's current request."""

    def __call__(self) -> Any:
        import flask  # type: ignore[import-not-found,import-untyped,unused-ignore]

        inside = flask.has_request_context()
        return flask.request.environ.get("HTTP_X_REQUEST_ID") if inside else "flask-req"


# --- arguments as text ----------------------------------------------------------------------------


def func_args_handler(x: Any, func_name: str | None = None) -> str:
    """Positional arguments (a tuple) or keyword arguments (a dict) as a short text.

    Values under names like `password` or `token` are not shown, see `HIQ_REDACT_NAMES`."""
    return arguments_text(x, func_name, None)


def arguments_text(x: Any, _func_name: str | None, function: Any) -> str:
    """The same; positional arguments of `function` have names as well."""
    if isinstance(x, tuple):
        hidden = () if function is None else hidden_positions(function, len(x))
        return ",".join(_secret_text(value) if i in hidden else _value_text(value) for i, value in enumerate(x))
    if isinstance(x, dict):
        return str({key: _named_text(key, value) for key, value in x.items()})
    raise ValueError(f"input has wrong type: {type(x)}")


_TEXT_CHARS = 100
_LIST_ITEMS = 11
_DICT_KEYS = 3
_DEPTH = 3


def _named_text(name: Any, value: Any, depth: int = 1) -> str:
    # Keys of other kinds may not be hashable twice alike: they are no names.
    is_hidden = isinstance(name, (str, bytes)) and is_secret(name)
    return _secret_text(value) if is_hidden else _value_text(value, depth)


def _secret_text(value: Any) -> str:
    return "None" if value is None else HIDDEN


def _value_text(value: Any, depth: int = 1) -> str:
    if depth == _DEPTH:
        return "..."
    if value is None:
        return "None"
    if isinstance(value, str):
        return f"str({value[:_TEXT_CHARS]})" + ("..." if len(value) > _TEXT_CHARS else "")
    if isinstance(value, bytes):
        return f"bytes({len(value)})"
    if isinstance(value, dict):
        return _dict_text(value, depth)
    if isinstance(value, list):
        items = [_value_text(item, depth + 1) for item in value[:_LIST_ITEMS]]
        items += ["..."] if len(value) >= _LIST_ITEMS else []
        return f"list({len(value)},{','.join(items)})"
    return _foreign_text(value) or _plain_text(value)


def _dict_text(value: dict[Any, Any], depth: int) -> str:
    keys = list(value)[:_DICT_KEYS]
    values = [_named_text(key, value[key], depth + 1) for key in keys]
    more = "..." if len(value) > _DICT_KEYS else ""
    return f"dict(k:{keys}{more},v:{values}{more})"


def _foreign_text(value: Any) -> str | None:
    """Arrays, tables, tensors and models, of packages that the program itself has loaded."""
    if _is_of(value, "numpy", "ndarray"):
        return f"ndarry{_shape(value)}"
    if _is_of(value, "torch", "Tensor"):
        return f"tensor({_shape(value)})"
    if _is_of(value, "torch.nn", "Module"):
        return f"nn({value._get_name()}({sum(p.numel() for p in value.parameters())}))"
    if _is_of(value, "pandas", "DataFrame"):
        return f"pandas({_shape(value)})"
    return None


def _is_of(value: Any, module: str, name: str) -> bool:
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _shape(value: Any) -> str:
    return str(value.shape).replace(" ", "")


def _plain_text(value: Any) -> str:
    inside = len(value) if hasattr(value, "__len__") else value
    return f"{type(value).__name__}({inside})"


# --- the rest -------------------------------------------------------------------------------------


def call_decorated(
    f: Callable[..., Any], args: Any = None, kwargs: Any = None, tracing_type: str = TRACING_TYPE_HIQ
) -> Any:
    """Calls `f`, inside a span named like it when `tracing_type` is `opentelemetry`."""
    if tracing_type == TRACING_TYPE_OTM:
        with _hiq.trace(f.__name__):
            return f(*(args or ()), **(kwargs or {}))
    return f(*(args or ()), **(kwargs or {}))


def silent_import(module_name: str) -> Any:
    """The module, or None when it cannot be imported."""
    try:
        return importlib.import_module(module_name)
    except Exception:  # Whatever a module raises while it loads.
        return None
