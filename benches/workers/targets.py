"""A module that knows nothing of tracing: what is declared in it is traced from outside.

Every role has a function of its own: no two share what the interpreter has learnt of their code.
"""

from __future__ import annotations

from collections.abc import Callable


def bare() -> None:
    pass


def declared() -> None:
    pass


def held() -> None:
    pass


def removed() -> None:
    pass


def decorated() -> None:
    pass


def hooked() -> None:
    pass


def hold(batch: Callable[[int], int], n: int) -> int:
    """The root of what a driver holds."""
    return batch(n)


class Cart:
    def bare(self) -> None:
        pass

    def declared(self) -> None:
        pass

    def hooked(self) -> None:
        pass


def bare_failing() -> None:
    raise ValueError("order 8 not found")


def declared_failing() -> None:
    raise ValueError("order 8 not found")


async def bare_step() -> None:
    pass


async def declared_step() -> None:
    pass


def bare_fib(n: int) -> int:
    return n if n < 2 else bare_fib(n - 1) + bare_fib(n - 2)


def declared_fib(n: int) -> int:
    return n if n < 2 else declared_fib(n - 1) + declared_fib(n - 2)


def hooked_fib(n: int) -> int:
    return n if n < 2 else hooked_fib(n - 1) + hooked_fib(n - 2)
