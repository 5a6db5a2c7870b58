"""Functions that routes, registries, closures and other modules hold: traced there too, and given back."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import types
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hiq
import pytest
from conftest import python
from hiq.testing import InMemoryExporter

HOLDERS = """
    import atexit, collections, dataclasses, functools

    def work(x):
        log.append(x)
        return -x

    def wrapped(function):
        @functools.wraps(function)
        def closure(x):
            return function(x)
        return closure

    class Plain:
        def __init__(self, function):
            self.function = function

    class Slots:
        __slots__ = ("function", "unset")

        def __init__(self, function):
            self.function = function

    @dataclasses.dataclass(frozen=True)
    class Frozen:
        function: object

    class Closed(dict):
        def __setitem__(self, key, value):
            raise TypeError("nothing can be set")

    by_name = {"work": work}
    ordered = collections.OrderedDict(work=work)
    closed = Closed(work=work)
    everything = [len, work]
    closure = wrapped(work)
    plain = Plain(work)
    slots = Slots(work)
    frozen = Frozen(work)
    other_name = work
    by_function = {work: "kept under the function"}

    def with_default(x, *, function=work):
        return function(x)
"""
CALLS: dict[str, Callable[[Any, int], int]] = {
    "dict": lambda module, x: module.by_name["work"](x),
    "ordered dict": lambda module, x: module.ordered["work"](x),
    "dict that refuses": lambda module, x: module.closed["work"](x),
    "list": lambda module, x: module.everything[1](x),
    "closure": lambda module, x: module.closure(x),
    "attribute": lambda module, x: module.plain.function(x),
    "slot": lambda module, x: module.slots.function(x),
    "frozen dataclass": lambda module, x: module.frozen.function(x),
    "another name": lambda module, x: module.other_name(x),
    "keyword default": lambda module, x: module.with_default(x),
    "itself": lambda module, x: module.work(x),
}


@pytest.fixture
def spans() -> Iterator[Callable[[], list[str]]]:
    with InMemoryExporter() as exporter:
        yield lambda: [span["name"] for span in exporter]


def rows(module: types.ModuleType, *functions: str) -> list[list[str]]:
    return [[module.__name__, "", function, function] for function in functions]


def test_whoever_holds_a_function_calls_the_traced_one_and_has_the_identical_original_back(program, spans) -> None:
    module = program(HOLDERS)
    user = program(f"from {module.__name__} import work as imported\n")
    original, found = module.work, dict(module.by_function)
    calls = {**CALLS, "an import": lambda _, x: user.imported(x)}

    hiq.instrument(rows(module, "work"))
    for x, (holder, call) in enumerate(calls.items()):
        assert call(module, x) == -x, holder
    assert module.log == list(range(len(calls)))
    assert Counter(spans()) == {"__work": len(module.log)}
    assert module.by_function[module.work] == module.by_function[original] == "kept under the function"

    hiq.uninstrument()
    assert original is module.work is user.imported is module.by_name["work"] is module.ordered["work"]
    assert original is module.closed["work"] is module.everything[1] is module.plain.function is module.other_name
    assert original is module.slots.function is module.frozen.function is module.with_default.__kwdefaults__["function"]
    assert original is module.closure.__closure__[0].cell_contents
    assert list(module.by_function) == list(found)
    for call in calls.values():
        call(module, 1)
    assert len(spans()) == len(calls), "nothing is traced any more"


def test_what_the_program_takes_itself_while_it_is_traced_it_keeps(program, spans) -> None:
    """Also where the function was given to it before."""
    module = program("def work(): pass\nby_name = {'work': work}\nlisted = [work]\n")
    hiq.instrument(rows(module, "work"))
    hiq.uninstrument()
    original = module.by_name.pop("work")
    assert original is module.work
    hiq.instrument(rows(module, "work"))
    traced = module.by_name["work"] = module.work
    hiq.uninstrument()
    assert module.by_name["work"] is traced is not original
    assert module.listed[0] is module.work is original


def test_what_calls_a_function_and_cannot_be_changed_is_told(program, spans, caplog) -> None:
    module = program(
        """
        import functools
        def in_partial(x): log.append(x)
        def in_class(x): log.append(x)
        def nowhere(x): log.append(x)
        kept = functools.partial(in_partial, 1)
        class Shop:
            call = in_class
        """
    )
    hiq.instrument(rows(module, "in_partial", "in_class", "nowhere"))
    module.kept()
    module.Shop.call(2)
    module.in_partial(3)
    module.in_class(4)
    assert module.log == [1, 2, 3, 4]
    assert spans() == ["__in_partial", "__in_class"]
    told = [record.getMessage().partition(".")[2] for record in caplog.records]
    assert told == [
        "in_partial is not traced: by calls through a partial that was made before (others are)",
        "in_class is not traced: by calls through a class that was made before (others are)",
    ]


def test_a_copy_of_a_modules_names_stays_what_it_was(program, spans) -> None:
    module = program("def work(): pass\n")
    before = dict(vars(module))
    hiq.instrument(rows(module, "work"))
    assert before["work"] is not module.work
    assert before["work"] is hiq._hiq.original(module.work)


def test_a_function_that_its_module_alone_holds_costs_no_search(program, spans, monkeypatch) -> None:
    module = program("def work(): pass\nasync def later(): pass\ndef items(): yield\n")

    def search(*functions: Any) -> list[Any]:
        raise AssertionError(f"searched for {functions}")

    monkeypatch.setattr(gc, "get_referrers", search)
    hiq.instrument(rows(module, "work", "later", "items"))
    module.work()
    list(module.items())
    asyncio.run(module.later())
    assert spans() == ["__work", "__items", "__later"]


def test_a_driver_leaves_what_others_hold_alone_as_hiq_does(program) -> None:
    module = program(HOLDERS)
    original = module.work
    with hiq.HiQLatency(rows(module, "work")):
        assert module.by_name["work"] is original


def test_a_module_that_is_loaded_again_is_traced_again_until_it_is_taken_back(program, spans) -> None:
    module = program("def work(): log.append('work')\n")
    hiq.instrument(rows(module, "work"))
    module.work()
    importlib.reload(module).work()
    assert spans() == ["__work"] * 2
    hiq.uninstrument()
    importlib.reload(module).work()
    assert len(spans()) == 2


APPLICATIONS = """
import asyncio, json, sys
import click, fastapi, flask, httpx

log = []
pages = flask.Flask("pages")
api = fastapi.FastAPI()

@pages.before_request
def before():
    log.append("before")

@pages.get("/page")
def page():
    log.append("page")
    return helper()

@pages.errorhandler(404)
def lost(error):
    log.append("lost")
    return "lost", 404

def user():
    log.append("user")
    return "someone"

@api.get("/item")
async def item(user: str = fastapi.Depends(user)):
    log.append("item")
    return helper()

@api.get("/slow")
def slow():
    log.append("slow")
    return helper()

@click.command()
@click.option("--times", default=1)
def command(times):
    log.append("command")

def helper():
    log.append("helper")
    return "done"
"""
MAIN = """
import asyncio, json, sys
import httpx
import applications
from applications import api, command, log, pages

async def ask_api():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://here") as client:
        return [(await client.get(path)).json() for path in ("/item", "/slow")]

client = pages.test_client()
answers = [client.get("/page").text, client.get("/nowhere").status_code, *asyncio.run(ask_api())]
command.main([], standalone_mode=False)
# As a test of the program would: by the function that the program shows.
api.dependency_overrides[applications.user] = lambda: log.append("fake")
answers += asyncio.run(ask_api())
print(json.dumps([answers, log]))
"""


def test_the_views_of_flask_fastapi_and_click_are_traced_where_they_are_declared(tmp_path: Path) -> None:
    (tmp_path / "applications.py").write_text(APPLICATIONS)
    (tmp_path / "main.py").write_text(MAIN)
    (tmp_path / "conf.csv").write_text("applications,,*,*\n")
    plain = python("main.py", folder=tmp_path)
    run = python("-m", "hiq", "run", "--conf", "conf.csv", "--file", "out.jsonl", "main.py", folder=tmp_path)
    assert (run.returncode, run.stderr) == (0, plain.stderr)
    answers, log = json.loads(run.stdout)
    assert [answers, log] == json.loads(plain.stdout)
    assert answers == ["done", 404, "done", "done", "done", "done"]

    groups = [
        group
        for line in (tmp_path / "out.jsonl").read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for group in resource["scopeSpans"]
    ]
    traced = Counter(span["name"].strip("_") for group in groups for span in group["spans"])
    # Click keeps the function in a command, which stands in its name's place and is no function.
    assert traced == Counter(log) - Counter(["fake", "command"])
