"""The key function of a driver runs at the end of each root call, whatever that call ended with."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from types import ModuleType

import hiq
import pytest
from conftest import names

PROGRAM = """
import asyncio

async def answers(value):
    await asyncio.sleep(0)
    log.append(value)
    return value

async def fails(value):
    await asyncio.sleep(0)
    raise KeyError(value)

def counts(upto):
    yield from range(upto)
    return "counted"

def breaks(value):
    raise ValueError(value)
"""


class Number(int):
    """A key whose comparison is Python code."""

    def __eq__(self, other: object) -> bool:
        return int(self) == other

    __hash__ = int.__hash__


def test_results_and_exceptions_survive_the_key_function(program: Callable[..., ModuleType]) -> None:
    module = program(PROGRAM)
    rows = [[module.__name__, "", name, name] for name in ("answers", "fails", "counts", "breaks")]
    count = itertools.count()
    driver = hiq.HiQLatency(rows, hiq_id_func=lambda: Number(next(count)), max_hiq_size=10)

    async def main() -> list[object]:
        calls = [module.answers(1), module.fails("no"), module.answers(2)]
        return await asyncio.gather(*calls, return_exceptions=True)

    first, failed, last = asyncio.run(main())
    assert (first, last) == (1, 2)
    assert module.log == [1, 2]
    assert isinstance(failed, KeyError)
    assert failed.args == ("no",)

    generator = module.counts(2)
    assert [next(generator), next(generator)] == [0, 1]
    with pytest.raises(StopIteration) as stopped:
        next(generator)
    assert stopped.value.value == "counted"
    with pytest.raises(ValueError, match="oh"):
        module.breaks("oh")

    driver.disable_hiq()
    roots = sorted(names(tree)[0][0] for tree in driver.get_metrics())
    assert roots == ["__answers", "__answers", "__breaks", "__counts", "__fails"]


def test_a_key_function_that_fails_gives_key_none_and_nothing_else(program: Callable[..., ModuleType]) -> None:
    module = program(PROGRAM)

    def no_key() -> object:
        raise RuntimeError("no key today")

    driver = hiq.HiQLatency([[module.__name__, "", "answers", "answers"]], hiq_id_func=no_key)
    assert asyncio.run(module.answers(3)) == 3
    driver.disable_hiq()
    assert list(driver.get_k0s()) == [None]
