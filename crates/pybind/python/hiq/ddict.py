"""JSON and YAML as named tuples whose fields begin with `o_`, as HiQ reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["ddjson", "ddlist", "ddyaml"]

_TYPE_NAME = "GAMMA_DYNAMIC_DICT"


def ddlist(keys: Sequence[str] = (), values: Sequence[Any] = (), name: str = _TYPE_NAME) -> Any:
    """A named tuple of `keys` and `values`."""
    return _with_fields(dict(zip(keys, values, strict=False)), name)


def ddjson(data_or_path: str, name: str = _TYPE_NAME) -> Any:
    """The JSON text, or that of the file of this name."""
    import json

    if os.path.exists(data_or_path):
        with open(data_or_path, encoding="utf-8") as file:
            return _with_fields(json.load(file), name)
    return _with_fields(json.loads(data_or_path), name)


def ddyaml(data_or_path: str, name: str = _TYPE_NAME) -> Any:
    """The YAML file of this name (needs PyYAML, plain data only); another text is returned as it is."""
    if not os.path.exists(data_or_path):
        return data_or_path
    import yaml  # type: ignore[import-untyped,unused-ignore]

    with open(data_or_path, encoding="utf-8") as file:
        return _with_fields(yaml.safe_load(file), name)


def _with_fields(value: Any, name: str = _TYPE_NAME) -> Any:
    if isinstance(value, Mapping):
        from collections import namedtuple

        fields = {_field(key): _with_fields(item) for key, item in value.items()}
        return namedtuple(name, list(fields))(*fields.values())
    if isinstance(value, list):
        return [_with_fields(item) for item in value]
    return value


def _field(key: object) -> str:
    import re

    return "o_" + re.sub(r"[^0-9a-zA-Z_]+", "_", str(key))
