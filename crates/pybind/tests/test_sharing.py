"""Several drivers on one target, aliases, wrappers of others, wildcards, and switching while threads are inside."""

from __future__ import annotations

import importlib.util
import sys
import threading

import hiq
import pytest
from conftest import names
from hiq.testing import InMemoryExporter
from test_targets import PROGRAM, traced_names


@pytest.fixture
def spans():
    with InMemoryExporter() as exporter:
        yield exporter


# --- several drivers, aliases, wrappers of others -----------------------------------------------------


@pytest.mark.parametrize("first_out", [0, 1])
def test_drivers_share_a_target_in_any_order_each_under_its_own_name(first_out: int, program) -> None:
    module = program(PROGRAM)
    before = dict(vars(module))
    drivers = [hiq.HiQLatency([[module.__name__, "", "function", name]]) for name in ("one", "two")]
    module.function(1, c=1)
    drivers[first_out].disable_hiq()
    assert module.function is not before["function"]
    module.function(1, c=1)
    other = drivers[1 - first_out]
    other.disable_hiq()
    module.function(1, c=1)
    assert vars(module) == before
    assert module.function is before["function"]
    counts = [len(driver.get_metrics()[0].get_root().nodes) for driver in drivers]
    assert counts[first_out] == 1
    assert counts[1 - first_out] == 2
    assert [driver.get_metrics()[0].get_root().nodes[0].name for driver in drivers] == ["__one", "__two"]


def test_a_shared_call_is_one_span_for_the_pipeline(program, spans) -> None:
    module = program(PROGRAM)
    row = [module.__name__, "", "function", "function"]
    with hiq.HiQLatency([row]), hiq.HiQLatency([row]):
        hiq.instrument([row])
        module.function(1, c=1)
    assert traced_names(spans) == ["__function"]


def test_each_driver_hangs_its_spans_under_its_own(program) -> None:
    module = program(
        """
        def a(): return b()
        def b(): return c()
        def c(): return log.append("c")
        """
    )
    name = module.__name__
    outer = hiq.HiQLatency([[name, "", "a", "a"], [name, "", "c", "c"]])
    inner = hiq.HiQLatency([[name, "", "b", "b"], [name, "", "c", "c"]])
    module.a()
    assert shape(outer) == [["a", ["c"]]]
    assert shape(inner) == [["b", ["c"]]]
    outer.disable()
    inner.disable()


def shape(driver: hiq.HiQLatency) -> list:
    return names(driver.get_metrics()[0])


def test_somebody_who_wrapped_over_us_is_left_alone(program, spans) -> None:
    module = program(PROGRAM)
    original = module.function
    hiq.instrument([[module.__name__, "", "function", "function"]])
    ours = module.function

    def foreign(*args, **kwargs):
        return "foreign", ours(*args, **kwargs)

    module.function = foreign
    hiq.uninstrument()
    assert module.function is foreign
    assert module.function(1, c=2)[0] == "foreign"
    assert traced_names(spans) == []
    # They take theirs away again, and put back what they found.
    hiq.instrument([[module.__name__, "", "function", "function"]])
    module.function(1, c=2)
    assert traced_names(spans) == ["__function"]
    module.function = ours
    hiq.uninstrument()
    assert module.function is original


def test_an_alias_taken_while_enabled_passes_through_and_works_at_the_next_enabling(program, spans) -> None:
    module = program(PROGRAM)
    row = [module.__name__, "", "function", "function"]
    hiq.instrument([row])
    alias = module.function
    hiq.uninstrument()
    assert alias(1, c=2) == module.function(1, c=2)
    assert traced_names(spans) == []
    hiq.instrument([row])
    alias(1, c=2)
    assert traced_names(spans) == ["__function"]


def test_an_alias_may_be_a_target_of_its_own_and_is_traced_once(program, spans) -> None:
    module = program(PROGRAM)
    hiq.instrument([[module.__name__, "", "function", "function"]])
    user = program(f"from {module.__name__} import function\n")
    hiq.instrument([[user.__name__, "", "function", "used"]])
    user.function(1, c=2)
    module.function(1, c=2)
    assert traced_names(spans) == ["__used", "__function"]


def test_a_driver_names_the_modules_that_still_hold_the_original(program, caplog) -> None:
    module = program(PROGRAM)
    user = program(f"from {module.__name__} import function as f\n")
    with hiq.HiQLatency([[module.__name__, "", "function", "function"], [module.__name__, "", "lam", "lam"]]):
        pass
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("hiq", "WARNING")
    assert f"{module.__name__}.function is not traced where it is called from {user.__name__}:" in record.getMessage()


def test_two_rows_for_one_target_trace_it_once(program, spans, caplog) -> None:
    module = program(PROGRAM)
    name = module.__name__
    hiq.instrument([[name, "", "function", "one"], [name, "", "function", "two"]])
    module.function(1, c=2)
    assert traced_names(spans) == ["__one"]
    assert "cannot be hiqed twice" in caplog.text


# --- wildcards --------------------------------------------------------------------------------------


def test_wildcards_take_the_modules_own_public_functions(program, spans) -> None:
    module = program(
        """
        from json import dumps
        def get_a(): log.append("get_a")
        def get_b(): log.append("get_b")
        def _get_c(): log.append("_get_c")
        def put(): log.append("put")
        class get_d: pass
        """
    )
    hiq.instrument([[module.__name__, "", "get_*", "*"]])
    module.get_a(), module.get_b(), module._get_c(), module.put(), module.get_d(), module.dumps(1)
    assert traced_names(spans) == ["__get_a", "__get_b"]


def test_wildcards_take_methods_of_classes_and_explicit_rows_say_the_name(program, spans) -> None:
    module = program(PROGRAM)
    name = module.__name__
    hiq.instrument([[name, "Base", "*", "base_*"], [name, "Base", "static", "mine"]])
    thing = module.Base()
    thing.method(1), thing.static(2), thing.klass(3), thing(4), thing.prop
    assert traced_names(spans) == ["__base_method", "__mine", "__base_klass"]


def test_a_wildcard_for_classes(program, spans) -> None:
    module = program(
        "class A:\n    def run(self): pass\nclass AB:\n    def run(self): pass\nclass B:\n    def run(self): pass\n"
    )
    hiq.instrument([[module.__name__, "A*", "run", "run"]])
    module.A().run(), module.AB().run(), module.B().run()
    assert traced_names(spans) == ["__run", "__run"]


def test_a_wildcard_that_fits_nothing_is_told_of(program, caplog) -> None:
    module = program(PROGRAM)
    hiq.instrument([[module.__name__, "", "zzz*", "*"]])
    assert f"{module.__name__}.zzz* is not traced: no function fits the wildcard" in caplog.text


# --- threads ------------------------------------------------------------------------------------------


def test_enabling_and_disabling_while_other_threads_are_inside(program) -> None:
    module = program(PROGRAM)
    original = module.function
    stop, failures = threading.Event(), []

    def work() -> None:
        while not stop.is_set():
            try:
                assert module.function(1, 2, 3, c=4, d=5) == (1, 2, (3,), 4, {"d": 5})
            except BaseException as error:
                failures.append(error)
                raise

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    driver = hiq.HiQLatency([[module.__name__, "", "function", "function"]])
    for _ in range(200):
        driver.disable_hiq()
        driver.enable_hiq()
    driver.disable_hiq()
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert module.function is original


def test_two_threads_enable_different_drivers_on_one_target(program) -> None:
    module = program(PROGRAM)
    original = module.function
    barrier = threading.Barrier(4)

    def switch() -> None:
        barrier.wait()
        driver = hiq.HiQLatency([[module.__name__, "", "function", "function"]])
        for _ in range(100):
            module.function(1, c=2)
            driver.disable_hiq()
            driver.enable_hiq()
        driver.disable_hiq()

    threads = [threading.Thread(target=switch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert module.function is original


def test_c_modules_are_no_aliases(caplog) -> None:
    hiq.HiQLatency([["os", "", "getpid", "getpid"]]).disable()
    assert "posix" not in caplog.text


def test_modules_that_wait_for_their_first_use_are_not_woken(program, tmp_path, monkeypatch) -> None:
    """As `importlib.util.LazyLoader` makes them, and lazy_loader on top of it."""
    (tmp_path / "lazy_one.py").write_text("raise AssertionError('woken')")
    spec = importlib.util.spec_from_file_location("lazy_one", tmp_path / "lazy_one.py")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    lazy = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "lazy_one", lazy)
    spec.loader.exec_module(lazy)
    module = program(PROGRAM)

    with InMemoryExporter(), hiq.HiQLatency([[module.__name__, "", "function", "function"]]) as driver:
        module.function(1, c=1)

    assert len(driver.get_metrics()[0].get_root().nodes) == 1
    with pytest.raises(AssertionError, match="woken"):
        lazy.anything


def test_a_wildcard_leaves_objects_alone_that_are_more_than_called(program, spans) -> None:
    module = program(
        """
        import functools
        from typing import NewType
        class Registry:
            def __init__(self): self.items = {"one": 1}
            def __call__(self, x): log.append("registry"); return x
            def __getitem__(self, name): return self.items[name]
            def __contains__(self, name): return name in self.items
        class Decorator:
            def __init__(self, function): functools.update_wrapper(self, function)
            def __call__(self, x): log.append("decorated"); return self.__wrapped__(x)
        registry = Registry()
        registry.__module__ = __name__
        UserId = NewType("UserId", int)
        @Decorator
        def decorated(x): return x
        @functools.lru_cache
        def cached(x): log.append("cached"); return x
        partial = functools.partial(print, end="")
        partial.__module__ = __name__
        """
    )
    hiq.instrument([[module.__name__, "", "*", "*"]])
    assert registry_answers(module) == (1, True, 5)
    assert module.UserId | None == module.UserId | None
    assert (module.decorated(3), module.cached(4)) == (3, 4)
    module.partial("")
    assert module.log == ["registry", "decorated", "cached"]
    assert traced_names(spans) == ["__decorated", "__cached", "__partial"]


def registry_answers(module) -> tuple[int, bool, int]:
    return module.registry["one"], "one" in module.registry, module.registry(5)
