"""Copies of a context hold what it held when they were made, whatever the steps in it write and set afterwards.

The copies are the interpreter's own: `contextvars.copy_context` may be ours, which attaches more to them."""

from __future__ import annotations

import contextvars
import functools
import itertools
import random
import types
from _contextvars import copy_context as copied
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar
from typing import Any

import hiq
import pytest
from recorder import Edge, edges, runs, spans, traced

pytestmark = pytest.mark.usefixtures("memory")

# More than a root of the interpreter's tree of variables has room for.
OTHERS: list[ContextVar[int]] = [ContextVar(f"other {number}") for number in range(40)]


def in_context_of_its_own(test: Callable[[], None]) -> None:
    Context().run(test)


def raw() -> Any:
    """What the variable of ours holds in the running context."""
    return next((value for variable, value in copied().items() if variable.name == "hiq_context"), None)


def noting(notes: list[Any], note: Callable[[], Any]) -> Any:
    async def work() -> None:
        notes.append(note())

    return work


@functools.cache
def variable_of_ours() -> ContextVar[Any]:
    def find() -> ContextVar[Any]:
        hiq.attach(hiq.extract({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}))
        return next(variable for variable in copied() if variable.name == "hiq_context")

    return Context().run(find)


@functools.cache
def close_to_ours(levels: int) -> ContextVar[int]:
    """A variable that the interpreter's tree of them keeps where ours is, so many levels down: five bits of a hash for each."""

    def place(variable: ContextVar[Any]) -> int:
        return (hash(variable) ^ hash(variable) >> 32) % 32**levels

    made = (ContextVar[int](f"close {number}") for number in itertools.count())
    return next(variable for variable in made if place(variable) == place(variable_of_ours()))


def sets_close_ones(kept: Context) -> Context:
    for levels in (1, 2, 3):
        close_to_ours(levels).set(3)
    return kept


def sets_close_ones_in_it(kept: Context) -> Context:
    kept.run(sets_close_ones, kept)
    return kept


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
def test_the_steps_of_a_context_that_nobody_shares_write_in_one_place(levels: int) -> None:
    """Or each of them would make new trees of variables, twice."""

    def steps() -> None:
        notes: list[int] = []
        if levels:
            close_to_ours(levels).set(1)
        for number in range(4):
            runs(traced(noting(notes, lambda: id(raw())), f"work {number}", "coroutine")())
        assert len(set(notes)) == 1
        assert id(raw()) == notes[0]
        assert hiq.current_context() is None

    in_context_of_its_own(steps)
    assert edges(spans()) == {(f"work {number}", None): 1 for number in range(4)}


def sets_another_in_it(kept: Context) -> Context:
    """The copy has a tree of its own then, and shares what is in it."""
    kept.run(OTHERS[0].set, 1)
    return kept


def sets_another(kept: Context) -> Context:
    """The context has a tree of its own then."""
    OTHERS[1].set(1)
    return kept


def sets_many(kept: Context) -> Context:
    for other in OTHERS:
        other.set(2)
    return kept


def sets_many_in_it(kept: Context) -> Context:
    for other in OTHERS:
        kept.run(other.set, 2)
    return kept


def copies_it(kept: Context) -> Context:
    return kept.copy()


def does_nothing(kept: Context) -> Context:
    return kept


AFTERWARDS = [
    does_nothing,
    sets_another_in_it,
    sets_another,
    sets_many,
    sets_many_in_it,
    sets_close_ones,
    sets_close_ones_in_it,
    copies_it,
]


@pytest.mark.parametrize(
    "before", [does_nothing, sets_many, sets_close_ones], ids=["few variables", "many variables", "close variables"]
)
@pytest.mark.parametrize("afterwards", AFTERWARDS, ids=lambda function: function.__name__.replace("_", " "))
def test_a_copy_that_is_made_in_a_step_keeps_its_place(
    before: Callable[[Context], Context], afterwards: Callable[[Context], Context]
) -> None:
    def child() -> None: ...

    leaf = traced(child, "leaf")

    def steps() -> None:
        before(copied())
        kept: list[Context] = []
        between: list[Context] = []
        for number in range(4):
            work = noting(kept, lambda: afterwards(copied()))
            runs(traced(work, f"work {number}", "coroutine")())
            between.append(afterwards(copied()))
        for context in kept:
            context.run(leaf)
        assert [context.run(hiq.current_context) for context in between] == [None] * 4

    in_context_of_its_own(steps)
    assert edges(spans()) == {(f"work {number}", None): 1 for number in range(4)} | {
        ("leaf", f"work {number}"): 1 for number in range(4)
    }


def test_a_copy_that_a_call_makes_inside_a_step_keeps_the_place_of_the_step() -> None:
    """A call attaches nothing: it has ended when the copy is used."""

    def child() -> None: ...

    leaf = traced(child, "leaf")

    def steps() -> None:
        kept: list[Context] = []
        call = traced(lambda: kept.append(copied()), "call")

        async def calls() -> None:
            call()

        for number in range(2):
            runs(traced(calls, f"work {number}", "coroutine")())
        for context in kept:
            context.run(leaf)

    in_context_of_its_own(steps)
    assert edges(spans()) == {
        (name, parent): 1
        for number in range(2)
        for name, parent in ((f"work {number}", None), ("call", f"work {number}"), ("leaf", f"work {number}"))
    }


def test_what_an_iterator_over_the_variables_still_comes_to_is_as_it_was() -> None:
    def child() -> None: ...

    leaf = traced(child, "leaf")

    def steps() -> None:
        views: list[Iterator[tuple[ContextVar[Any], Any]]] = []
        work = noting(views, lambda: iter(copied().items()))
        for number in range(2):
            runs(traced(work, f"work {number}", "coroutine")())
        for view in views:
            for variable, value in view:
                if variable.name == "hiq_context":
                    token = variable.set(value)
                    leaf()
                    variable.reset(token)

    in_context_of_its_own(steps)
    assert edges(spans()) == {
        ("work 0", None): 1,
        ("work 1", None): 1,
        ("leaf", "work 0"): 1,
        ("leaf", "work 1"): 1,
    }


def test_what_an_attachment_takes_back_is_what_was_there() -> None:
    """The token of an attachment has it, whatever steps write meanwhile."""

    def child() -> None: ...

    leaf = traced(child, "leaf")
    remote = hiq.extract({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})

    def steps() -> None:
        async def attaches() -> None:
            token = hiq.attach(remote)
            runs(traced(noting([], lambda: None), "inner", "coroutine")())
            hiq.detach(token)
            copied().run(lambda: copies.append(copied()))

        copies: list[Context] = []
        runs(traced(attaches, "outer", "coroutine")())
        assert hiq.current_context() is None
        copies[0].run(leaf)

    in_context_of_its_own(steps)
    assert edges(spans()) == {("outer", None): 1, ("inner", "outer"): 1, ("leaf", "outer"): 1}


@pytest.mark.parametrize("copies", [False, True], ids=["alone", "copied before"])
def test_what_an_attachment_that_outlives_a_step_takes_back_is_the_place_of_that_step(copies: bool) -> None:
    def child() -> None: ...

    leaf = traced(child, "leaf")
    remote = hiq.extract({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})

    def steps() -> None:
        async def attaches() -> None:
            if copies:
                kept.append(copied())
            # As `hiq.attach` does, which tells OpenTelemetry as well.
            variable = next(each for each in copied() if each.name == "hiq_context")
            tokens.append((variable, variable.set(remote)))

        kept: list[Context] = []
        tokens: list[tuple[ContextVar[Any], contextvars.Token[Any]]] = []
        runs(traced(attaches, "work", "coroutine")())
        leaf()
        variable, token = tokens[0]
        variable.reset(token)
        leaf()
        for context in kept:
            context.run(leaf)

    in_context_of_its_own(steps)
    assert edges(spans()) == {("work", None): 1, ("leaf", None): 1, ("leaf", "work"): 1 + copies}


def test_who_asks_where_it_is_while_an_exception_is_recorded_learns_it() -> None:
    def child() -> None: ...

    leaf = traced(child, "leaf")

    def steps() -> None:
        class Asked(Exception):
            def __str__(self) -> str:
                kept.append(copied())
                return "asked"

        async def fails() -> None:
            raise Asked

        kept: list[Context] = []
        for number in range(2):
            with pytest.raises(Asked):
                runs(traced(fails, f"work {number}", "coroutine")())
        for context in kept:
            context.run(leaf)

    in_context_of_its_own(steps)
    assert edges(spans()) == {
        ("work 0", None): 1,
        ("work 1", None): 1,
        ("leaf", "work 0"): 1,
        ("leaf", "work 1"): 1,
    }


def test_a_foreign_value_is_put_back_as_it_is() -> None:
    def steps() -> None:
        variables: list[ContextVar[Any]] = []
        finds = noting(variables, lambda: next(each for each in copied() if each.name == "hiq_context"))
        runs(traced(finds, "first", "coroutine")())
        foreign = object()
        variables[0].set(foreign)
        for name in ("second", "third"):
            runs(traced(noting([], lambda: None), name, "coroutine")())
            assert variables[0].get() is foreign

    in_context_of_its_own(steps)
    assert edges(spans()) == {("first", None): 1, ("second", None): 1, ("third", None): 1}


class Work:
    """The places that one coroutine is in, the innermost last; the variable holds that while the coroutine makes a step."""

    def __init__(self, place: ContextVar[str | None], name: str) -> None:
        self.place = place
        self.names = [name]
        self.blocks: list[Any] = []
        self.resume()

    def resume(self) -> None:
        self.token = self.place.set(self.names[-1])

    def enter(self, name: str) -> None:
        self.blocks.append(hiq.trace(name))
        self.blocks[-1].__enter__()
        self.names.append(name)
        self.place.set(name)

    def leave(self) -> None:
        self.blocks.pop().__exit__(None, None, None)
        self.names.pop()
        self.place.set(self.names[-1])

    @types.coroutine
    def waits(self) -> Iterator[None]:
        self.place.reset(self.token)
        yield
        self.resume()

    async def awaits(self, inner: Any) -> None:
        while True:
            try:
                inner.send(None)
            except StopIteration:
                return
            await self.waits()


class Programs:
    """Coroutines that are stepped by hand in contexts that are copied and changed at random. A variable of the programs' own is
    set and reset where ours is: what it holds somewhere is what the interpreter keeps there."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.place: ContextVar[str | None] = ContextVar("place", default=None)
        self.others = [*OTHERS, *(close_to_ours(levels) for levels in (1, 2, 3) for _ in range(5))]
        self.contexts = [Context() for _ in range(3)]
        self.waiting: list[tuple[Any, bool]] = []
        self.steps = 0
        self.seen: list[Edge] = []
        self.made = 0
        self.leaf = traced(self.note_leaf, "leaf")

    def note_leaf(self) -> None:
        self.seen.append(("leaf", self.place.get()))

    def name(self, kind: str) -> str:
        self.made += 1
        return f"{kind} {self.made}"

    def begin(self, depth: int) -> Any:
        name = self.name("work")
        called_in = self.place.get()

        async def body() -> None:
            # What was called where nothing was open hangs where it is stepped first.
            self.seen.append((name, called_in or self.place.get()))
            work = Work(self.place, name)
            for _ in range(self.chance.randrange(1, 4)):
                for _ in range(self.chance.randrange(5)):
                    await self.act(work, depth)
                await work.waits()
                while work.blocks and self.chance.randrange(2):
                    work.leave()
                    self.leaf()
            while work.blocks:
                work.leave()
            self.place.reset(work.token)

        return traced(body, name, "coroutine")()

    async def act(self, work: Work, depth: int) -> None:
        kind = self.chance.randrange(8)
        if kind < 2:
            self.keep()
        elif kind == 2:
            self.change()
        elif kind == 3:
            self.leaf()
        elif kind == 4:
            self.step_one()
        elif kind == 5:
            self.seen.append((block := self.name("block"), self.place.get()))
            work.enter(block)
        elif kind == 6 and depth:
            self.waiting.append((self.begin(depth - 1), True))
        elif kind == 7 and depth:
            await work.awaits(self.begin(depth - 1))

    def keep(self) -> None:
        if len(self.contexts) > 6:
            self.contexts.pop(self.chance.randrange(len(self.contexts)))
        self.contexts.append(copied())

    def change(self) -> None:
        change = self.chance.choice(self.others).set
        if self.chance.randrange(2):
            change(self.made)
        else:
            in_one_of(self.chance, self.contexts, change, self.made)

    def step_one(self) -> None:
        if not self.waiting:
            return
        one, is_fresh = self.waiting.pop(self.chance.randrange(len(self.waiting)))
        # What makes its first step inside another one hangs there, whatever context that is in.
        stays = (is_fresh and self.steps > 0) or self.chance.randrange(2)
        self.steps += 1
        try:
            if stays:
                one.send(None)
            else:
                in_one_of(self.chance, self.contexts, one.send, None)
            self.waiting.append((one, False))
        except StopIteration:
            pass
        finally:
            self.steps -= 1

    def run(self) -> None:
        for _ in range(60):
            kind = self.chance.randrange(6)
            if kind == 0:
                self.waiting.append((in_one_of(self.chance, self.contexts, self.begin, 2), True))
            elif kind == 1:
                in_one_of(self.chance, self.contexts, self.leaf)
            elif kind == 2:
                self.change()
            elif kind == 3:
                in_one_of(self.chance, self.contexts, self.keep)
            else:
                self.step_one()
        while self.waiting:
            self.step_one()
        for kept in self.contexts:
            kept.run(self.leaf)


def in_one_of(chance: random.Random, contexts: list[Context], function: Callable[..., Any], *args: Any) -> Any:
    """In the running one where that which was chosen is entered already."""
    chosen = chance.choice(contexts)
    entered = True
    try:
        chosen.run(lambda: None)
    except RuntimeError:
        entered = False
    return chosen.run(function, *args) if entered else function(*args)


@pytest.mark.parametrize("seed", range(60))
def test_random_programs(seed: int) -> None:
    programs = Programs(seed)
    contextvars.Context().run(programs.run)
    assert edges(spans()) == Counter(programs.seen)
