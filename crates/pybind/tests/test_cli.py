"""The command line: a program under `hiq run` does what it does under `python`, and is traced."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import python

TRACED = ["-m", "hiq", "run"]


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__DOT__", ".").replace("__IN__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")


def spans_in(path: Path) -> list[dict]:
    """The spans of a file of OTLP JSON requests, read without hiq."""
    spans = []
    for line in path.read_text(encoding="utf-8").splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                spans += [{**span, "resource": resource["resource"]} for span in scope["spans"]]
    return spans


def span_names(path: Path) -> list[str]:
    return sorted(span["name"] for span in spans_in(path))


PROGRAMS = {
    "prints its surroundings": """
        import sys, os
        print(sorted(globals()), __name__, __file__, __package__, __doc__, __spec__ and __spec__.name, type(__loader__))
        print(sys.argv, sys.path[0], sys.modules["__main__"].__dict__ is globals(), __builtins__ is sys.modules["builtins"])
        print(sys.flags, os.getcwd(), locals() is globals())
        """,
    "raises": """
        '''A docstring.'''
        def fail():
            raise ValueError("x")
        print(__doc__)
        fail()
        """,
    "raises from": """
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise KeyError("k") from error
        """,
    "has a syntax error": "def broken(:\n",
    "exits with a number": "import sys; sys.exit(7)",
    "exits with a text": "import sys; sys.exit('a text')",
    "exits with nothing": "raise SystemExit",
    "is interrupted": "raise KeyboardInterrupt",
    "has a hook for exceptions": """
        import sys
        def hook(kind, value, trace):
            frames = []
            while trace:
                frames.append(trace.tb_frame.f_code.co_name)
                trace = trace.tb_next
            print("hook", kind, value, frames)
        sys.excepthook = hook
        raise ValueError("x")
        """,
    "looks at its exit": """
        import atexit, sys, threading, time
        started = threading.Event()
        def end():
            print("end", sys.modules["__main__"].value, sys.excepthook is sys.__excepthook__)
            print("last", getattr(sys, "last_value", None), getattr(sys, "last_traceback", None) is not None)
        atexit.register(end)
        value = 5
        def late():
            started.wait()
            print("late", value)
        threading.Thread(target=late).start()
        started.set()
        raise RuntimeError("over")
        """,
    "pickles what it defines": """
        import pickle
        class Thing:
            pass
        def function():
            pass
        again = pickle.loads(pickle.dumps((Thing(), function)))
        print(type(again[0]) is Thing, again[1] is function)
        """,
    "imports a module that fails": "import failing\n",
    "imports a missing module": "import no_such_module_anywhere\n",
}


@pytest.mark.parametrize("form", ["script", "module", "script, main traced", "module, main traced"])
@pytest.mark.parametrize("title", PROGRAMS)
def test_a_program_does_what_it_does_under_python(title: str, form: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        program__DOT__py=PROGRAMS[title],
        failing__DOT__py="def f():\n    raise ImportError('cannot')\nf()\n",
        conf__DOT__csv="failing,,f,f\njson,,dumps,dumps\n" + ("program,,nobody,nobody\n" if "traced" in form else ""),
    )
    command = ["-m", "program", "a", "--b"] if "module" in form else ["program.py", "a", "--b"]
    plain = python(*command, folder=tmp_path)
    traced = python(*TRACED, "--conf", "conf.csv", *command, folder=tmp_path, OTEL_TRACES_EXPORTER="none")
    assert traced.returncode == plain.returncode
    if form == "script, main traced" or form == "script":
        assert (expected(traced.stdout, form), without_notes(traced.stderr)) == (
            expected(plain.stdout, form),
            plain.stderr,
        )
    else:
        # When the main module of `-m` is watched, it is run without runpy, whose frames are missing then.
        assert expected(traced.stdout, form) == expected(plain.stdout, form)
        assert without_runpy(without_notes(traced.stderr)) == without_runpy(plain.stderr)


def expected(text: str, form: str) -> str:
    if "traced" not in form:
        return text
    # A watched main module has its names in a mapping that passes them on, and is run without runpy.
    text = text.replace(" True\n", " False\n") if "sys.flags" in text else text
    return text.replace("['_run_module_as_main', '_run_code', ", "[")


def without_notes(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if "program.nobody is not traced" not in line)


def without_runpy(text: str) -> str:
    lines = text.splitlines()
    frames = [i for i, line in enumerate(lines) if "runpy" in line and line.startswith("  File ")]
    skipped = {i for frame in frames for i in (frame, frame + 1) if i == frame or lines[i].startswith("    ")}
    return "\n".join(line for i, line in enumerate(lines) if i not in skipped)


def test_a_missing_script_is_refused_as_python_refuses_it(tmp_path: Path) -> None:
    for command in (["nothing.py"], ["-m", "no_such_module"]):
        plain = python(*command, folder=tmp_path)
        traced = python(*TRACED, *command, folder=tmp_path, OTEL_TRACES_EXPORTER="none")
        assert (traced.returncode, traced.stderr) == (plain.returncode, plain.stderr)


def test_a_folder_and_an_archive_run(tmp_path: Path) -> None:
    import zipfile

    code = "import sys, helper\nprint(sys.argv, sys.path[0], __name__, helper.f())\n"
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text(code, encoding="utf-8")
    (tmp_path / "app" / "helper.py").write_text("def f():\n    return 1\n", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        for name in ("__main__.py", "helper.py"):
            archive.write(tmp_path / "app" / name, name)
    write(tmp_path, conf__DOT__csv="helper,,f,help\n")
    for target in ("app", "app.zip"):
        plain = python(target, "x", folder=tmp_path)
        traced = python(*TRACED, "--conf", "conf.csv", "--file", f"{target}.jsonl", target, "x", folder=tmp_path)
        assert (traced.stdout, traced.stderr, traced.returncode) == (plain.stdout, plain.stderr, 0)
        assert span_names(tmp_path / f"{target}.jsonl") == ["__help"]


def test_functions_are_traced_before_anybody_can_take_them_by_name(tmp_path: Path) -> None:
    write(
        tmp_path,
        conf__DOT__csv="shop.core,,price,price\nshop.core,Cart,add,add\nshop,,price,never\njson,,dumps,dumps\nmain,,main,main\n",
        main__DOT__py="""
            from json import dumps
            from shop.core import Cart, price

            def main():
                print(dumps(price(2)), Cart().add(3))

            if __name__ == "__main__":
                main()
            """,
    )
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "shop" / "core.py").write_text(
        "def price(x):\n    return x * 2\n\nclass Cart:\n    def add(self, x):\n        return price(x)\n",
        encoding="utf-8",
    )
    run = python(*TRACED, "--conf", "conf.csv", "--file", "out.jsonl", "main.py", folder=tmp_path)
    assert (run.returncode, run.stdout) == (0, "4 6\n")
    assert run.stderr.splitlines() == [
        f"hiq: {tmp_path}/conf.csv:3: shop.price is not traced: module 'shop' has no attribute 'price'"
    ]
    spans = {span["spanId"]: span for span in spans_in(tmp_path / "out.jsonl")}
    edges = sorted((span["name"], spans.get(span.get("parentSpanId"), {}).get("name")) for span in spans.values())
    assert edges == [
        ("__add", "__main"), ("__dumps", "__main"), ("__main", None), ("__price", "__add"), ("__price", "__main"),
    ]  # fmt: skip


def test_what_the_main_module_defines_is_traced_as_soon_as_it_is_defined(tmp_path: Path) -> None:
    write(
        tmp_path,
        conf__DOT__yaml="""
            - {module: __main__, class: "", function: plain, name: plain}
            - {module: script, class: "", function: decorated, name: decorated}
            - {module: script, class: Thing, function: "*", name: "thing_*"}
            - {module: __main__, class: "", function: nowhere, name: nowhere}
            """,
        script__DOT__py="""
            import functools, pickle

            def plain():
                return 1

            def decorate(f):
                @functools.wraps(f)
                def wrapper():
                    return f()
                return wrapper

            @decorate
            def decorated():
                return plain()

            class Thing:
                def run(self):
                    return decorated()
                def _hidden(self):
                    return 0

            def plain():
                return 2

            if True:
                values = [Thing().run() for _ in range(2)]
            print(values, Thing()._hidden(), pickle.loads(pickle.dumps(plain)) is plain, sorted(vars())[:1], "plain" in dir())
            """,
    )
    plain = python("script.py", folder=tmp_path)
    run = python(*TRACED, "--conf", "conf.yaml", "--file", "out.jsonl", "script.py", folder=tmp_path)
    assert run.stdout == plain.stdout
    assert run.stderr == (
        f"hiq: {tmp_path}/conf.yaml:5: __main__.nowhere is not traced: the program does not define nowhere\n"
    )
    assert span_names(tmp_path / "out.jsonl") == sorted(["__thing_run", "__decorated", "__plain"] * 2)


def test_the_resource_says_what_runs(tmp_path: Path) -> None:
    write(tmp_path, program__DOT__py="import json; json.dumps(1)", conf__DOT__csv="json,,dumps,dumps\n")
    run = python(
        *TRACED, "--conf", "conf.csv", "--service-name", "my-shop", "--file", "out.jsonl", "program.py", folder=tmp_path
    )
    assert (run.stderr, run.returncode) == ("", 0)
    (span,) = spans_in(tmp_path / "out.jsonl")
    resource = {item["key"]: item["value"] for item in span["resource"]["attributes"]}
    assert resource["service.name"] == {"stringValue": "my-shop"}
    assert resource["process.runtime.name"] == {"stringValue": sys.implementation.name}
    assert resource["process.runtime.version"] == {"stringValue": sys.version.split()[0]}
    assert resource["process.runtime.description"] == {"stringValue": sys.version}


def test_log_records_of_the_program_carry_the_ids(tmp_path: Path) -> None:
    write(
        tmp_path,
        conf__DOT__csv="program,,work,work\n",
        program__DOT__py="""
            import logging
            logging.basicConfig(format="%(otelTraceID)s %(otelSpanID)s %(message)s")
            def work():
                logging.warning("inside")
            logging.warning("outside")
            work()
            """,
    )
    run = python(*TRACED, "--conf", "conf.csv", "--log-ids", "--file", "out.jsonl", "program.py", folder=tmp_path)
    (span,) = spans_in(tmp_path / "out.jsonl")
    assert run.stderr.splitlines() == ["0 0 outside", f"{span['traceId']} {span['spanId']} inside"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_processes_are_traced_and_flush_at_their_end(method: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        conf__DOT__csv="work,,task,task\nwork,,inner,inner\nmain,,in_main,in_main\n",
        work__DOT__py="""
            import os
            def inner(x):
                return x + 1
            def task(x):
                with open(f"log-{os.getpid()}", "a") as log:
                    log.write("task\\ninner\\n")
                return inner(x)
            """,
        main__DOT__py=f"""
            import multiprocessing, os
            from concurrent.futures import ProcessPoolExecutor
            from work import task

            def in_main(x):
                with open(f"log-{{os.getpid()}}", "a") as log:
                    log.write("in_main\\n")
                return x

            if __name__ == "__main__":
                multiprocessing.set_start_method({method!r})
                process = multiprocessing.Process(target=task, args=(1,))
                process.start()
                process.join()
                with ProcessPoolExecutor(2) as pool:
                    print(list(pool.map(task, range(5))), list(pool.map(in_main, range(2))))
            """,
    )
    plain = python("main.py", folder=tmp_path)
    for log in tmp_path.glob("log-*"):
        log.unlink()
    run = python(*TRACED, "--conf", "conf.csv", "--file", "out.jsonl", "main.py", folder=tmp_path)
    assert (
        (run.returncode, run.stdout, run.stderr)
        == (plain.returncode, plain.stdout, plain.stderr)
        == (0, "[1, 2, 3, 4, 5] [0, 1]\n", "")
    )
    logs = {log.name.removeprefix("log-"): log.read_text().split() for log in tmp_path.glob("log-*")}
    recorded: dict[str, list[str]] = {}
    for span in spans_in(tmp_path / "out.jsonl"):
        pid = next(item["value"]["intValue"] for item in span["resource"]["attributes"] if item["key"] == "process.pid")
        recorded.setdefault(str(pid), []).append(span["name"].removeprefix("__"))
    assert {pid: sorted(names) for pid, names in recorded.items()} == {
        pid: sorted(names) for pid, names in logs.items()
    }


def test_options_behind_the_program_are_its_own(tmp_path: Path) -> None:
    write(tmp_path, program__DOT__py="import sys; print(sys.argv[1:])")
    options = ["--conf", "x", "-m", "y", "--", "--file", "-h"]
    for command in (["program.py"], ["-m", "program"], ["--", "program.py"]):
        run = python(*TRACED, *command, *options, folder=tmp_path, OTEL_TRACES_EXPORTER="none")
        assert (run.stdout, run.stderr) == (f"{options}\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "a script, or -m and a module, is needed"),
        (["run", "-m"], "a script, or -m and a module, is needed"),
        (["run", "--conf", "missing.yaml", "x.py"], "missing.yaml: there is no such conf file"),
        (["run", "--conf", "bad.csv", "x.py"], "bad.csv:2"),
        (["run", "--protocol", "carrier-pigeon", "x.py"], "invalid choice: 'carrier-pigeon'"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        ([], "the following arguments are required: COMMAND"),
        (["conf", "check", "missing.yaml"], "missing.yaml: there is no such conf file"),
        (["conf", "suggest", "no_such_package"], "no_such_package: cannot be imported"),
    ],
)
def test_wrong_use_ends_with_2_before_anything_runs(arguments: list[str], said: str, tmp_path: Path) -> None:
    write(tmp_path, bad__DOT__csv="json,,dumps,dumps\njson,,loads\n", x__DOT__py="print('ran')")
    run = python("-m", "hiq", *arguments, folder=tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert said in run.stderr
    assert "Traceback" not in run.stderr


def test_a_bad_endpoint_is_refused_before_anything_runs(tmp_path: Path) -> None:
    write(tmp_path, x__DOT__py="print('ran')")
    run = python(*TRACED, "--endpoint", "not a url", "x.py", folder=tmp_path)
    assert (run.returncode, run.stdout) == (2, "")
    assert "not a url" in run.stderr


def test_conf_check_finds_what_a_run_would_miss(tmp_path: Path) -> None:
    write(
        tmp_path,
        good__DOT__yaml="- {module: shop, class: Cart, function: add, name: add}\n- {module: json, class: '', function: 'dump*', name: '*'}\n",
        bad__DOT__csv=(
            "shop,Cart,ad,add\nshop,Card,add,add2\nshopp,,f,f\njson,,dumps,d\nshop,Cart,total,t\nshop,Cart,add,one\nshop,Cart,add,two\n"
        ),
        shop__DOT__py="""
            class Cart:
                def add(self): pass
                @property
                def total(self): return 1
            """,
    )
    run = python("-m", "hiq", "conf", "check", "good.yaml", folder=tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, "good.yaml: 2 rows, 3 targets, 0 problems\n", "")
    run = python("-m", "hiq", "conf", "check", "bad.csv", folder=tmp_path)
    assert run.returncode == 2
    assert run.stdout == "bad.csv: 7 rows, 2 targets, 5 problems\n"
    assert run.stderr.splitlines() == [
        "bad.csv:1:3: shop.Cart.ad is not there: type object 'Cart' has no attribute 'ad'; did you mean add?",
        "bad.csv:2:2: shop.Card.add is not there: module 'shop' has no attribute 'Card'; did you mean Cart?",
        "bad.csv:3:1: shopp.f is not there: No module named 'shopp'; did you mean shop?",
        "bad.csv:5:3: shop.Cart.total cannot be traced: total is a property: its value is computed by a function that could be named instead",
        "bad.csv:7:3: shop.Cart.add is the target of line 6 as well; remove one of the rows",
    ]


def test_conf_check_refuses_what_a_run_refuses_with_the_same_words(tmp_path: Path) -> None:
    rows = {
        "builtins,list,__len__,l": "list.__len__ cannot be traced: the interpreter calls it through a slot, not by its name; "
        "trace a method or the caller",
        "functools,partial,__call__,p": "partial.__call__ cannot be traced: the interpreter calls it through a slot, not by "
        "its name; trace a method or the caller",
        "builtins,bool,bit_length,b": "bit_length is inherited from int, name that type in the row",
        "shop,Cart,total,t": "total is a cached property: its value is computed by a function that could be named instead",
    }
    write(
        tmp_path,
        bad__DOT__csv="\n".join(rows) + "\n",
        shop__DOT__py="""
            import functools
            class Cart:
                @functools.cached_property
                def total(self): return 1
            """,
    )
    check = python("-m", "hiq", "conf", "check", "bad.csv", folder=tmp_path)
    assert (check.returncode, check.stdout) == (2, "bad.csv: 4 rows, 0 targets, 4 problems\n")
    run = python(*TRACED, "--conf", "bad.csv", "--file", "out.jsonl", "shop.py", folder=tmp_path)
    for place, (row, reason) in enumerate(rows.items(), 1):
        target = ".".join(row.split(",")[:3])
        assert f"bad.csv:{place}:3: {target} cannot be traced: {reason}" in check.stderr.splitlines()
        if not target.startswith("shop."):
            said = f"hiq: {tmp_path}/bad.csv:{place}: {target} is not traced: {reason}"
            assert said in run.stderr.splitlines(), run.stderr


def test_a_module_that_raises_while_it_loads_is_no_missing_one(tmp_path: Path) -> None:
    write(
        tmp_path,
        conf__DOT__csv="broken,,price,p\nneedy,,price,n\n",
        broken__DOT__py="import os\n\ndef price(): pass\nos.nothing\n",
        needy__DOT__py="import nowhere_to_be_found\n",
    )
    place = f"{tmp_path / 'broken.py'}:4"
    reason = f"AttributeError: module 'os' has no attribute 'nothing' ({place})"
    check = python("-m", "hiq", "conf", "check", "conf.csv", folder=tmp_path)
    assert check.stderr.splitlines() == [
        f"conf.csv:1:1: broken cannot be imported: {reason}",
        f"conf.csv:2:1: needy cannot be imported: No module named 'nowhere_to_be_found' ({tmp_path / 'needy.py'}:1)",
    ]
    suggest = python("-m", "hiq", "conf", "suggest", "broken", folder=tmp_path)
    assert (suggest.returncode, suggest.stdout) == (2, "")
    assert suggest.stderr == f"hiq: broken: cannot be imported: {reason}\n"


@pytest.mark.parametrize("ends", ["pass", "raise SystemExit(0)", "raise SystemExit(3)", "1 / 0"])
def test_a_row_whose_module_is_not_there_is_told_of_when_the_program_ends(ends: str, tmp_path: Path) -> None:
    write(
        tmp_path,
        conf__DOT__csv="nomod.sub,,f,f\nshop,,base,base\nshop.none,,g,g\njson,,dumps,d\nwave,Wave_read,close,c\npkg.late,,h,h\n",
        program__DOT__py=f"""
            import os, sys, shop
            try:
                import nomod
            except ImportError:
                pass
            shop.base()
            if os.fork() == 0:
                sys.exit()
            os.wait()
            {ends}
            """,
        shop__DOT__py="def base(): pass\n",
    )
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").write_text("raise AssertionError('nobody asked for it')\n", encoding="utf-8")
    (tmp_path / "pkg" / "late.py").write_text("", encoding="utf-8")
    plain = python("program.py", folder=tmp_path)
    run = python(*TRACED, "--conf", "conf.csv", "--file", "out.jsonl", "program.py", folder=tmp_path)
    assert (run.returncode, run.stdout) == (plain.returncode, plain.stdout)
    assert [line for line in run.stderr.splitlines() if line.startswith("hiq: ")] == [
        f"hiq: {tmp_path}/conf.csv:1: nomod.sub.f is not traced: No module named 'nomod'",
        f"hiq: {tmp_path}/conf.csv:3: shop.none.g is not traced: No module named 'shop.none'",
    ]
    assert span_names(tmp_path / "out.jsonl") == ["__base"]


def test_conf_check_tells_all_errors_of_form(tmp_path: Path) -> None:
    write(tmp_path, bad__DOT__csv="json,,dumps\njson,,loads,a b\njson,,load,load\n")
    run = python("-m", "hiq", "conf", "check", "bad.csv", folder=tmp_path)
    assert run.returncode == 2
    lines = run.stderr.splitlines()
    assert [line.partition(": ")[0].split(":")[:2] for line in lines] == [["bad.csv", "1"], ["bad.csv", "2"]]
    assert run.stdout == "bad.csv: 1 rows, 1 targets, 2 problems\n"


@pytest.mark.parametrize("form", ["yaml", "json", "csv"])
def test_conf_suggest_proposes_what_check_accepts_and_run_traces(form: str, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("from json import dumps\n\ndef top():\n    pass\n", encoding="utf-8")
    (tmp_path / "shop" / "__main__.py").write_text("print('must not run')\n", encoding="utf-8")
    (tmp_path / "shop" / "_private.py").write_text("print('must not run')\n", encoding="utf-8")
    (tmp_path / "shop" / "broken.py").write_text("raise RuntimeError('broken')\n", encoding="utf-8")
    (tmp_path / "shop" / "core.py").write_text(
        textwrap.dedent(
            """
            import functools
            class Cart:
                def add(self): pass
                def _hidden(self): pass
                def __call__(self): pass
                def __len__(self): return 0
                @staticmethod
                def make(): return Cart()
                @classmethod
                def load(cls): pass
                @property
                def total(self): return 0
                @functools.cached_property
                def sum(self): return 0
                part = functools.partialmethod(add)
                async def send(self): pass
            class Odd(str): pass
            class Bag:
                def add(self): pass
            def add(): pass
            def total(): pass
            constant = 3
            """
        ),
        encoding="utf-8",
    )
    run = python("-m", "hiq", "conf", "suggest", "shop", "--format", form, folder=tmp_path)
    assert run.returncode == 0
    assert run.stderr == "hiq: shop.broken is left out: RuntimeError: broken\n"
    (tmp_path / f"conf.{form}").write_text(run.stdout, encoding="utf-8")
    if form == "json":
        rows = [tuple(row[key] for key in ("module", "class", "function", "name")) for row in json.loads(run.stdout)]
        assert rows == [
            ("shop", "", "top", "top"),
            ("shop.core", "", "add", "core_add"),
            ("shop.core", "", "total", "total"),
            ("shop.core", "Bag", "add", "Bag_add"),
            ("shop.core", "Cart", "__call__", "Cart_call"),
            ("shop.core", "Cart", "add", "Cart_add"),
            ("shop.core", "Cart", "load", "load"),
            ("shop.core", "Cart", "make", "make"),
            ("shop.core", "Cart", "send", "send"),
        ]
    check = python("-m", "hiq", "conf", "check", f"conf.{form}", folder=tmp_path)
    assert check.stdout == f"conf.{form}: 9 rows, 9 targets, 0 problems\n"


@pytest.mark.parametrize("package", ["functools", "types", "collections"])
def test_what_is_suggested_of_the_standard_library_is_accepted_and_traced(package: str, tmp_path: Path) -> None:
    run = python("-m", "hiq", "conf", "suggest", package, "--format", "csv", folder=tmp_path)
    assert run.returncode == 0
    write(tmp_path, conf__DOT__csv=run.stdout, program__DOT__py=f"import {package}, importlib\n")
    rows = len(run.stdout.splitlines())
    assert rows > 3
    check = python("-m", "hiq", "conf", "check", "conf.csv", folder=tmp_path)
    assert check.stdout == f"conf.csv: {rows} rows, {rows} targets, 0 problems\n"
    run = python(*TRACED, "--conf", "conf.csv", "--file", "out.jsonl", "program.py", folder=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")


def test_the_version_is_told(tmp_path: Path) -> None:
    run = python("-m", "hiq", "--version", folder=tmp_path)
    assert run.stdout.startswith("hiq 0.")
