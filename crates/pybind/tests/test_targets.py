"""Which targets are traced, what they look like meanwhile, and that the identical original comes back.

What was called is what the traced program itself wrote into its `log`.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import inspect
import pickle
import sqlite3
import zlib
from collections import Counter

import hiq
import pytest
from hiq.testing import InMemoryExporter

PROGRAM = """
    import functools

    def function(a, /, b=2, *args, c, **more):
        log.append("function")
        return a, b, args, c, more

    class Base:
        def method(self, x):
            log.append("method")
            return "method", type(self).__name__, x

        @staticmethod
        def static(x):
            log.append("static")
            return "static", x

        @classmethod
        def klass(cls, x):
            log.append("klass")
            return "klass", cls.__name__, x

        def __call__(self, x):
            log.append("__call__")
            return "called", x

        def __init__(self, x=0):
            log.append("__init__")
            self.x = x

        @property
        def prop(self):
            return 1

        @functools.cached_property
        def cached(self):
            return 1

        part = functools.partialmethod(method, 1)

        class Inner:
            def deep(self):
                log.append("deep")
                return "deep"

    class Sub(Base):
        pass

    def decorate(f):
        @functools.wraps(f)
        def wrapper(*args):
            return f(*args)
        return wrapper

    @decorate
    def decorated():
        log.append("decorated")
        return "decorated"

    @functools.lru_cache(maxsize=None)
    def cached(x):
        log.append("cached")
        return x

    lam = lambda x: log.append("lam") or x
    part = functools.partial(function, 1, c=3)
    built_in = len
    thing = Base()
    constant = 3

    async def coroutine(x):
        log.append("coroutine")
        return x

    def generator(n):
        log.append("generator")
        yield from range(n)

    async def async_generator(n):
        log.append("async_generator")
        for i in range(n):
            yield i
"""


@pytest.fixture
def spans():
    with InMemoryExporter() as exporter:
        yield exporter


def traced_names(spans: InMemoryExporter) -> list[str]:
    return [span["name"] for span in sorted(spans, key=lambda span: span["start_unix_nanos"])]


def logged(module) -> list[str]:
    return [f"__{name}" if not name.startswith("__") else name for name in module.log]


TARGETS = {
    "function": ("", "function", lambda m: m.function(1, c=3)),
    "function, all kinds of arguments": ("", "function", lambda m: m.function(1, 5, 6, 7, c=3, d=4)),
    "method": ("Base", "method", lambda m: m.Base(1).method(4)),
    "method, through the class": ("Base", "method", lambda m: m.Base.method(m.Base(), 4)),
    "method, of a subclass's instance": ("Base", "method", lambda m: m.Sub().method(4)),
    "inherited method, on the subclass": ("Sub", "method", lambda m: m.Sub().method(4)),
    "static method, through the class": ("Base", "static", lambda m: m.Base.static(4)),
    "static method, through an instance": ("Base", "static", lambda m: m.Base().static(4)),
    "static method, inherited": ("Sub", "static", lambda m: (m.Sub.static(4), m.Sub().static(5))),
    "class method, through the class": ("Base", "klass", lambda m: m.Base.klass(4)),
    "class method, through an instance": ("Base", "klass", lambda m: m.Base().klass(4)),
    "class method, through a subclass": ("Base", "klass", lambda m: m.Sub.klass(4)),
    "class method, inherited": ("Sub", "klass", lambda m: (m.Sub.klass(4), m.Sub().klass(4))),
    "__call__": ("Base", "__call__", lambda m: m.Base()(4)),
    "__init__": ("Base", "__init__", lambda m: m.Base(9).x),
    "method of an inner class": ("Base.Inner", "deep", lambda m: m.Base.Inner().deep()),
    "decorated function": ("", "decorated", lambda m: m.decorated()),
    "cached function": ("", "cached", lambda m: (m.cached(1), m.cached.cache_info().currsize)),
    "lambda": ("", "lam", lambda m: m.lam(2)),
    "partial": ("", "part", lambda m: m.part(7)),
    "callable object": ("", "thing", lambda m: (m.thing(5), m.thing.x)),
    "method of an object": ("thing", "method", lambda m: m.thing.method(5)),
    "coroutine": ("", "coroutine", lambda m: asyncio.run(m.coroutine(5))),
    "generator": ("", "generator", lambda m: list(m.generator(3))),
    "async generator": ("", "async_generator", lambda m: asyncio.run(collect(m.async_generator(3)))),
}

# What the log calls the function that is behind a target.
BEHIND = {"part": "function", "thing": "__call__"}


async def collect(items) -> list:
    return [item async for item in items]


@pytest.mark.parametrize("title", TARGETS)
def test_a_target_answers_as_before_and_is_traced_once_a_call(title: str, program, spans) -> None:
    class_name, function, call = TARGETS[title]
    plain = program(PROGRAM)
    expected = call(plain)

    module = program(PROGRAM)
    hiq.instrument([[module.__name__, class_name, function, function]])
    module.log.clear()
    result = call(module)

    assert result == expected
    calls = module.log.count(BEHIND.get(function, function))
    assert calls > 0
    name = function if function.startswith("__") else f"__{function}"
    assert Counter(traced_names(spans)) == {name: calls}


@pytest.mark.parametrize("title", TARGETS)
def test_the_identical_original_comes_back(title: str, program) -> None:
    class_name, function, call = TARGETS[title]
    module = program(PROGRAM)
    owner = functools.reduce(getattr, filter(None, class_name.split(".")), module)
    before = dict(vars(owner))
    hiq.instrument([[module.__name__, class_name, function, function]])
    assert vars(owner)[function] is not before.get(function)
    hiq.uninstrument()
    assert list(vars(owner)) == list(before)
    assert all(vars(owner)[name] is value for name, value in before.items())
    call(module)


def select_one() -> list:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        return connection.execute("select 1").fetchall()


C_TARGETS = {
    "C function": ("zlib", "", "compress", lambda: zlib.compress(b"abc", level=1)),
    "method of a C type": ("datetime", "date", "isoformat", lambda: datetime.date(2020, 1, 2).isoformat()),
    "method of a C type, unbound": ("datetime", "date", "isoformat", lambda: datetime.date.isoformat(datetime.date(1, 1, 1))),
    "method of a C type, of a subclass": ("datetime", "date", "isoformat", lambda: datetime.datetime(2020, 1, 2).date().isoformat()),
    "class method of a C type": ("datetime", "date", "fromisoformat", lambda: datetime.date.fromisoformat("2020-01-02")),
    "class method of a C type, of a subclass": ("datetime", "date", "fromordinal", lambda: Day.fromordinal(5).tag),
    "static method of a C type": ("builtins", "str", "maketrans", lambda: "abc".translate(str.maketrans("a", "b"))),
    "C connection": ("sqlite3", "Connection", "execute", select_one),
    "C cursor": ("sqlite3", "Cursor", "fetchall", select_one),
}  # fmt: skip


class Day(datetime.date):
    tag = "a day"


@pytest.mark.parametrize("title", C_TARGETS)
def test_c_targets_are_traced_and_restored(title: str, spans) -> None:
    module, class_name, function, call = C_TARGETS[title]
    expected = call()
    owner = __import__(module)
    owner = getattr(owner, class_name) if class_name else owner
    before = vars(owner)[function]
    hiq.instrument([[module, class_name, function, function]])
    try:
        result = call()
    finally:
        hiq.uninstrument()
    assert result == expected
    assert vars(owner)[function] is before
    assert traced_names(spans) == [f"__{function}"]
    assert call() == expected


def test_code_attributes_say_where_the_function_is(program, spans) -> None:
    module = program(PROGRAM)
    hiq.instrument(
        [
            [module.__name__, "Sub", "method", "m"],
            [module.__name__, "", "decorated", "dd"],
            ["zlib", "", "crc32", "crc"],
        ]
    )
    module.Sub().method(1)
    module.decorated()
    zlib.crc32(b"x")
    source = inspect.getsource(module).splitlines()
    found = {span["name"]: span["attributes"] for span in spans}
    line = source.index("    def method(self, x):") + 1
    assert found["m"] == {
        "code.function.name": f"{module.__name__}.Base.method",
        "code.file.path": module.__file__,
        "code.line.number": line,
    }
    assert found["__dd"]["code.line.number"] == source.index("@decorate") + 1
    assert found["__crc"] == {"code.function.name": "zlib.crc32"}


REFUSED = {
    "property": ("Base", "prop", "prop is a property"),
    "cached property": ("Base", "cached", "cached is a cached property"),
    "partial method": ("Base", "part", "part is a partialmethod"),
    "class": ("", "Base", "Base is a class, name its __init__"),
    "constant": ("", "constant", "a callable is needed"),
    "missing function": ("", "nope", "has no attribute 'nope'"),
    "missing method": ("Base", "nope", "type object 'Base' has no attribute 'nope'"),
    "missing class": ("Nope", "method", "has no attribute 'Nope'"),
    "inherited slot": ("Base.Inner", "__init__", "inherited from object"),
    "of the metaclass": ("Base", "mro", "belongs to the metaclass type"),
}


@pytest.mark.parametrize("title", REFUSED)
def test_what_cannot_be_traced_is_told_in_one_line_and_the_rest_is_traced(title: str, program, capsys) -> None:
    class_name, function, reason = REFUSED[title]
    module = program(PROGRAM)
    before = dict(vars(module)), dict(vars(module.Base))
    name = module.__name__
    driver = hiq.HiQLatency([[name, class_name, function, "bad"], [name, "", "lam", "lam"]])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"🦉 {name}.{class_name}.{function} is not traced(")
    assert reason in line
    module.lam(1)
    assert not driver.empty()
    driver.disable_hiq()
    assert (dict(vars(module)), dict(vars(module.Base))) == before
    assert not hasattr(driver, "o___bad")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            ["builtins", "list", "__len__", "n"],
            "list.__len__ cannot be traced: the interpreter calls it through a slot",
        ),
        (["builtins", "bool", "bit_length", "n"], "bit_length is inherited from int, name that type in the row"),
        (["no_such_module", "", "f", "n"], "No module named 'no_such_module'"),
        (["json", "", "no_such", "n"], "module 'json' has no attribute 'no_such'"),
    ],
)
def test_refusals_outside_the_program(row: list[str], reason: str, capsys) -> None:
    driver = hiq.HiQLatency([row])
    (line,) = capsys.readouterr().out.splitlines()
    assert line == f"🦉 {row[0]}.{row[1]}.{row[2]} is not traced({line.partition('(')[2]}"
    assert reason in line
    driver.disable_hiq()


def test_a_module_that_fails_while_it_loads_is_told_of(tmp_path, monkeypatch, capsys) -> None:
    for name, code, reason in (
        ("dies", "raise RuntimeError('boom')", "RuntimeError: boom"),
        ("exits", "exit(3)", "SystemExit: 3"),
    ):
        (tmp_path / f"program_{name}.py").write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        hiq.HiQLatency([[f"program_{name}", "", "f", "f"]]).disable()
        assert capsys.readouterr().out == f"🦉 program_{name}..f is not traced({reason})\n"


# --- looks ----------------------------------------------------------------------------------------


def test_introspection_sees_what_it_saw_before(program) -> None:
    plain, module = program(PROGRAM), program(PROGRAM)
    for function in ("function", "coroutine", "generator", "async_generator", "lam", "decorated", "cached"):
        hiq.instrument([[module.__name__, "", function, function]])
        ours, theirs = getattr(module, function), getattr(plain, function)
        assert inspect.signature(ours) == inspect.signature(theirs)
        for question in (
            inspect.isfunction, inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction,
            inspect.isroutine, inspect.ismethod, inspect.isbuiltin, callable,
        ):  # fmt: skip
            assert question(ours) == question(theirs), (function, question)
        for attribute in ("__name__", "__qualname__", "__doc__", "__defaults__", "__kwdefaults__", "__annotations__"):
            assert getattr(ours, attribute, None) == getattr(theirs, attribute, None)
        assert ours.__class__ is theirs.__class__
        assert str(ours).split(" at ")[0] == str(theirs).split(" at ")[0]
        assert inspect.getsource(ours) == inspect.getsource(theirs)


def test_attributes_are_read_set_and_deleted_on_the_original(program) -> None:
    module = program(PROGRAM)
    original = module.function
    original.note = 1
    hiq.instrument([[module.__name__, "", "function", "function"]])
    assert module.function.note == 1
    module.function.note = 2
    module.function.more = 3
    del module.function.more
    assert vars(original) == {"note": 2}
    assert module.function == original
    assert hash(module.function) == hash(original)
    assert {original: 1}[module.function] == 1


def test_traced_functions_pickle_by_reference(program) -> None:
    module = program(PROGRAM)
    name = module.__name__
    hiq.instrument(
        [[name, "", "function", "function"], [name, "Base", "static", "static"], [name, "Base", "klass", "klass"]]
    )
    for value in (module.function, module.Base.static, module.Base.klass):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            again = pickle.loads(pickle.dumps(value, protocol))
            assert again == value
    assert pickle.loads(pickle.dumps(module.function)) is module.function
    data = pickle.dumps(module.function)
    hiq.uninstrument()
    assert pickle.loads(data) is module.function


DESCRIPTORS = """
    import functools

    class Bound:
        "A decorator class, as many libraries have one."
        def __init__(self, function):
            self.function = function

        def __get__(self, instance, owner=None):
            return self if instance is None else functools.partial(self.function, instance)

        def __call__(self, *args):
            log.append("on the class")
            return "on the class", args

    class Callable:
        def __call__(self, *args):
            log.append("object")
            return args

    class Data(Bound):
        def __set__(self, instance, value):
            log.append("set")

    class Lazy:
        def __get__(self, instance, owner=None):
            return lambda: 1

    class Later:
        def __init__(self, function):
            self.function = function

        def __get__(self, instance, owner=None):
            return self.function if instance is None else self.function.__get__(instance, owner)

        def __call__(self):
            raise AssertionError("nobody calls the descriptor itself")

    class Shop:
        @Bound
        def bound(self, x):
            log.append("bound")
            return type(self).__name__, x

        @Later
        async def later(self, x):
            log.append("later")
            return x

        size = len
        plain = Callable()

        @Data
        def data(self):
            return "data"

        lazy = Lazy()
"""


def test_what_a_descriptor_of_the_program_gives_is_traced(program) -> None:
    module = program(DESCRIPTORS)
    shop, names = module.Shop(), ["bound", "later", "size", "plain"]
    before = {name: vars(module.Shop)[name] for name in names}

    def use() -> list[object]:
        return [
            shop.bound(1),
            module.Shop.bound(2),
            asyncio.run(shop.later(3)),
            shop.size([1, 2]),
            module.Shop.size("abc"),
            shop.plain(4),
        ]

    expected = use()
    logged = Counter(module.log)
    assert logged == {"bound": 1, "on the class": 1, "later": 1, "object": 1}
    with InMemoryExporter() as exporter, hiq.HiQLatency([[module.__name__, "Shop", name, name] for name in names]):
        assert use() == expected
        kept = shop.bound
        seen = Counter(span["name"] for span in exporter.spans())
    assert seen == {"__bound": 2, "__later": 1, "__size": 2, "__plain": 1}
    assert {name: vars(module.Shop)[name] for name in names} == before
    # Taken while it was traced: it goes on as a pass-through.
    with InMemoryExporter() as exporter:
        assert kept(5) == ("Shop", 5)
        assert not exporter.spans()


def test_descriptors_that_cannot_be_stood_in_for_are_refused_by_name(program, capsys) -> None:
    module = program(DESCRIPTORS)
    shop = module.Shop()
    with hiq.HiQLatency([[module.__name__, "Shop", "data", "data"], [module.__name__, "Shop", "lazy", "lazy"]]):
        shop.data = 1
        assert shop.data() == "data"
        assert shop.lazy() == 1
    assert module.log == ["set"]
    name = f"🦉 {module.__name__}.Shop"
    fix = "name the function that it gives"
    assert capsys.readouterr().out.splitlines() == [
        f"{name}.data is not traced(data is a descriptor, Data, which decides on assignments too: {fix})",
        f"{name}.lazy is not traced(lazy is a descriptor, Lazy, which cannot be called itself: {fix})",
    ]
