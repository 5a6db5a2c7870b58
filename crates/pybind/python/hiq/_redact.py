"""Arguments whose names say that they are secrets: by keyword, by the signature's name, by a dict's key."""

from __future__ import annotations

import functools
import os
import re
import types
from collections.abc import Iterator
from typing import Any

__all__ = ["HIDDEN", "hidden_positions", "is_secret", "read_environment"]

# What is shown in the place of a value.
HIDDEN = "***"

_SECRETS = (
    r"pass(?:word|wd|phrase|code)|pwd|secret|token(?!i[sz])|credential|authori[sz]ation|cookie|bearer|jwt"
    r"|session[_-]?id|(?:api|private|access|signing|encryption)[_-]?key|(?:^|[_-])(?:pass|auth)$"
)
_VARIABLE = "HIQ_REDACT_NAMES"


def read_environment() -> None:
    """`HIQ_REDACT_NAMES`: parts of more names, with commas; `none`: everything is shown."""
    global _given
    given = os.environ.get(_VARIABLE, "")
    if given != _given:
        _given = given
        _pattern.cache_clear()
        is_secret.cache_clear()


@functools.lru_cache(maxsize=4096)
def is_secret(name: Any) -> bool:
    """Whether the value under this name (a text, or the bytes of one) is hidden."""
    text = name.decode("latin-1") if isinstance(name, bytes) else name
    pattern = _pattern()
    return isinstance(text, str) and pattern is not None and pattern.search(text) is not None


def hidden_positions(function: Any, count: int) -> frozenset[int]:
    """Which of the first `count` positional arguments are hidden by the names that the function gives them."""
    hidden: set[int] = set()
    for names, rest in _signatures(function):
        given = [*names[:count], *[rest] * (count - len(names))]
        hidden.update(position for position, name in enumerate(given) if is_secret(name))
    return frozenset(hidden)


_given = ""


@functools.lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str] | None:
    more = [name.strip() for name in _given.split(",") if name.strip()]
    if more == ["none"]:
        return None
    return re.compile("|".join([_SECRETS, *map(re.escape, more)]), re.IGNORECASE)


def _signatures(function: Any) -> Iterator[tuple[tuple[str, ...], str]]:
    """Names of positional arguments, and that of all further ones; of what is wrapped as well: it may say more."""
    if type(function) is types.FunctionType:
        code = function.__code__
        takes_more = code.co_flags & _TAKES_MORE
        rest = code.co_varnames[code.co_argcount + code.co_kwonlyargcount] if takes_more else ""
        yield code.co_varnames[: code.co_argcount], rest
        if "__wrapped__" not in function.__dict__:
            return
    import inspect

    try:
        parameters = inspect.signature(function).parameters.values()
    except Exception:  # It has none that can be read, or the program's own code fails.
        return
    named = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    rests = [parameter.name for parameter in parameters if parameter.kind is inspect.Parameter.VAR_POSITIONAL]
    yield tuple(parameter.name for parameter in parameters if parameter.kind in named), "".join(rests)


# `inspect.CO_VARARGS`
_TAKES_MORE = 0x04
