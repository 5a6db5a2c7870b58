"""What `time()` of an instrument does as a decorator."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["timed"]


def timed(timer: Callable[[], Any], func: Any) -> Any:
    """`func`, each call of which runs in a new `timer()`; a coroutine or generator from its first step to its end."""
    if isinstance(func, (staticmethod, classmethod)):
        return type(func)(timed(timer, func.__func__))
    if inspect.isasyncgenfunction(func):
        raise TypeError(
            f"{func.__qualname__} is an async generator function: time what is done with its values instead"
        )
    if inspect.iscoroutinefunction(func):

        @functools.wraps(func)
        async def timed_coroutine(*args: Any, **kwargs: Any) -> Any:
            with timer():
                return await func(*args, **kwargs)

        return timed_coroutine
    if inspect.isgeneratorfunction(func):

        @functools.wraps(func)
        def timed_generator(*args: Any, **kwargs: Any) -> Any:
            with timer():
                return (yield from func(*args, **kwargs))

        return timed_generator

    @functools.wraps(func)
    def timed_call(*args: Any, **kwargs: Any) -> Any:
        with timer():
            return func(*args, **kwargs)

    return timed_call
