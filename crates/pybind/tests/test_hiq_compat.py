"""HiQ's drivers and helpers, held against what HiQ 1.1.14 itself printed (see `crates/testkit/oracle`)."""

from __future__ import annotations

import inspect
import json
import os
import re
import time
from pathlib import Path

import hiq
import pytest
from conftest import SCENARIOS, names, python
from hiq.constants import KEY_LATENCY, ExtraMetrics, OverHeadFormat

GOLDEN = json.loads((Path(__file__).parent / "golden" / "hiq_driver.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("scenario", sorted(GOLDEN))
def test_a_scenario_prints_what_it_prints_with_hiq(scenario: str, tmp_path: Path) -> None:
    run = python(SCENARIOS / f"{scenario}.py", folder=tmp_path, PYTHONPATH=str(SCENARIOS), TZ="UTC")
    assert run.stderr == ""
    assert comparable(run.stdout) == GOLDEN[scenario]


def comparable(text: str) -> str:
    """As the script that wrote the golden file has it."""
    return re.sub(r"\[OH:\d+us\]", "[OH:?us]", text).replace(str(SCENARIOS), "SCENARIOS")


def test_drivers_have_hiqs_constructor() -> None:
    expected = [
        "hiq_table_or_path", "metric_funcs", "hiq_id_func", "func_args_handler", "target_path", "max_hiq_size", "verbose",
        "fast_fail", "tpl", "extra_hiq_table", "attach_timestamp", "extra_metrics", "lmk_path", "lmk_handler", "lmk_logger",
    ]  # fmt: skip
    assert list(inspect.signature(hiq.HiQLatency).parameters)[: len(expected)] == expected
    assert hiq.HiQSimple is hiq.HiQLatency


FUNCTIONS = """
    def main():
        log.append("main")
        return f1()

    def f1():
        log.append("f1")
        return 7
"""


def rows(module: object) -> list[list[str]]:
    name = module.__name__  # type: ignore[attr-defined]
    return [[name, "", "main", "main"], [name, "", "f1", "f1"]]


def test_a_second_show_prints_the_same(program, capsys) -> None:
    module = program(FUNCTIONS)
    with hiq.HiQLatency(rows(module)) as driver:
        module.main()
        driver.show()
        first = capsys.readouterr().out
        driver.show()
    assert first == capsys.readouterr().out
    assert "[OH:" in first
    assert first.count("__main") == 1


def test_the_roots_range_covers_calls_that_come_after_a_show(program, capsys) -> None:
    module = program(FUNCTIONS)
    with hiq.HiQLatency(rows(module)) as driver:
        module.main()
        driver.show()
        module.main()
        root = driver.get_metrics()[0].get_root()
        driver.get_metrics()[0].consolidate()
        (_, span, start, end) = driver.get_k0s_summary()[0]
        calls = root.nodes
    assert len(calls) == 2
    assert (start, end) == (calls[0].start, calls[1].end)
    assert span == pytest.approx(end - start)


def test_the_metric_time_is_the_wall_clock(program) -> None:
    module = program(FUNCTIONS)
    with hiq.HiQLatency(rows(module)) as driver:
        before = time.time()
        module.main()
        after = time.time()
        (_, _, start, end) = driver.get_k0s_summary(KEY_LATENCY)[0]
    slack = 0.001
    assert before - slack <= start <= end <= after + slack


def test_any_callable_works_as_a_metric_function(program) -> None:
    module = program(FUNCTIONS)

    class Gauge:
        value = 0

        def __call__(self) -> int:
            Gauge.value += 1
            return Gauge.value

        def read(self) -> int:
            return Gauge.value * 10

    with hiq.HiQLatency(rows(module), metric_funcs=[Gauge(), Gauge().read, lambda: 2.5]) as driver:
        module.main()
        assert list(driver.tau[None]) == ["Gauge", "read", "<lambda>"]
        assert driver.get_k0s_summary("Gauge") == [(None, 3.0, 1.0, 4.0)]
        assert driver.get_k0s_summary("read")[0][1:] == (30.0, 10.0, 40.0)


def test_a_metric_function_that_raises_does_not_reach_the_program(program) -> None:
    module = program(FUNCTIONS)

    def broken() -> float:
        raise RuntimeError("the metric is broken")

    with hiq.HiQLatency(rows(module), metric_funcs=[time.time, broken]) as driver:
        assert module.main() == 7
        assert names(driver.get_metrics()[0]) == [["__main", ["__f1"]]]


def test_memory_is_measured_without_psutil(program) -> None:
    module = program(
        """
        kept = []

        def main():
            kept.append(bytearray(b"x") * 50_000_000)
        """
    )
    with hiq.HiQMemory([[module.__name__, "", "main", "main"]]) as driver:
        module.main()
        assert list(driver.tau[None]) == ["time", "get_memory_mb"]
        (_, grown_mb, start, end) = driver.get_k0s_summary("get_memory_mb")[0]
    assert 45 < grown_mb < 60
    assert 5 < start < end < 10_000


def test_overhead_is_told_in_microseconds_and_as_a_share(program) -> None:
    module = program("def main():\n    return sum(range(1000))\n")
    with hiq.HiQLatency([[module.__name__, "", "main", "main"]]) as driver:
        assert driver.get_overhead_pct() == -1
        for _ in range(20_000):
            module.main()
        total_us = driver.get_overhead_us()
        assert isinstance(total_us, int)
        assert total_us > 0
        share = driver.get_overhead(OverHeadFormat.PCT)
        (_, span, _, _) = driver.get_k0s_summary()[0]
        assert share == pytest.approx(total_us / (span * 1e6), rel=0.2)
        assert driver.get_overhead(OverHeadFormat.ABS) == driver.overhead_us
        driver.reset()
        assert driver.get_overhead_us() >= total_us
        with pytest.raises(ValueError, match="wrong format"):
            driver.get_overhead("abs")


def test_a_swallowed_exception_gives_none(program) -> None:
    module = program(
        """
        def fails():
            log.append("fails")
            raise KeyError("gone")
        """
    )
    with hiq.HiQLatency([[module.__name__, "", "fails", "fails"]], fast_fail=False) as driver:
        assert module.fails() is None
        assert names(driver.get_metrics()[0]) == [["__fails"]]
    with pytest.raises(KeyError):
        module.fails()


def test_base_exceptions_close_their_spans(program) -> None:
    module = program(
        """
        def stop():
            raise KeyboardInterrupt

        def main():
            log.append("main")
        """
    )
    with hiq.HiQLatency([[module.__name__, "", "stop", "stop"], [module.__name__, "", "main", "main"]]) as driver:
        with pytest.raises(KeyboardInterrupt):
            module.stop()
        module.main()
        assert names(driver.get_metrics()[0]) == [["__stop"], ["__main"]]


def test_the_very_exception_object_goes_on(program) -> None:
    module = program(
        """
        class Odd(Exception):
            def __init__(self, a, b):
                super().__init__(a)

        raised = []

        def fails():
            error = Odd(1, 2)
            raised.append(error)
            raise error
        """
    )
    with hiq.HiQLatency([[module.__name__, "", "fails", "fails"]]), pytest.raises(module.Odd) as caught:
        module.fails()
    assert caught.value is module.raised[0]
    files = [entry.path for entry in caught.traceback]
    assert not any(Path(str(path)).parent == Path(hiq.__file__).parent for path in files)


def test_extra_metrics_may_be_set_while_enabled(program, capsys) -> None:
    module = program("def main(x):\n    return x\n")
    driver = hiq.HiQLatency([[module.__name__, "", "main", "main"]])
    module.main(1)
    driver.set_extra_metrics([ExtraMetrics.ARGS])
    module.main(2)
    driver.set_extra_metrics([])
    module.main(3)
    driver.show()
    driver.disable()
    shown = capsys.readouterr().out
    assert shown.count("'args'") == 1
    assert "'args': 'int(2)'" in shown


def test_only_the_driver_that_asked_shows_arguments_callers_and_traces(program, capsys) -> None:
    module = program("def main(x):\n    raise ValueError(x)\n")
    row = [[module.__name__, "", "main", "main"]]
    asking = hiq.HiQLatency(row, extra_metrics={ExtraMetrics.ARGS, ExtraMetrics.FUNC, ExtraMetrics.FILE}, verbose=True)
    other = hiq.HiQLatency(row)
    with asking, other, pytest.raises(ValueError):
        module.main(x=1)
    capsys.readouterr()
    other.show()
    assert "({'exception_summary': ValueError(1)})\n" in capsys.readouterr().out
    asking.show()
    shown = capsys.readouterr().out
    for extra in ("'kwargs'", "'file'", "'function'", "'exception_trace'"):
        assert extra in shown


def test_log_monkey_file_adds_the_file(program, capsys, monkeypatch) -> None:
    module = program("def main():\n    return 1\n")
    monkeypatch.setenv("LOG_MONKEY_FILE", "0")
    with hiq.HiQLatency([[module.__name__, "", "main", "main"]]) as driver:
        module.main()
        driver.show()
    assert f"{__file__}:" in capsys.readouterr().out


def test_attach_timestamp_puts_times_on_other_trees(program) -> None:
    module = program(FUNCTIONS)
    values = iter(range(100))
    with hiq.HiQLatency(rows(module), metric_funcs=[time.time, lambda: next(values)], attach_timestamp=True) as driver:
        before = time.time()
        module.main()
        after = time.time()
        other, timed = driver.tau[None]["<lambda>"], driver.tau[None]["time"]
    (node,) = other.get_root().nodes
    assert before - 0.001 <= node.extra["start"] <= node.extra["end"] <= after + 0.001
    assert timed.get_root().nodes[0].extra == {}


def test_a_verbose_driver_tells_the_traceback(program, capsys) -> None:
    module = program("def fails():\n    raise ValueError('told')\n")
    with hiq.HiQLatency([[module.__name__, "", "fails", "fails"]], verbose=True) as driver:
        with pytest.raises(ValueError, match="told"):
            module.fails()
        node = driver.get_metrics()[0].get_root().nodes[0]
    assert "process 🆔" in capsys.readouterr().out
    assert "line 3, in fails" in node.extra["exception_trace"]


def test_the_global_status_is_obeyed_at_enabling_and_at_each_call(program, tmp_path) -> None:
    # In a folder of its own: the real switch is everybody's.
    (tmp_path / "shop.py").write_text("def main():\n    return 1\n", encoding="utf-8")
    (tmp_path / "switch.py").write_text(
        """
import hiq, shop
hiq.set_global_hiq_status(False, debug=True)
hiq.set_global_hiq_status(0, debug=True)
driver = hiq.HiQLatency([["shop", "", "main", "main"]])
print(driver.enabled, shop.main(), driver.empty(), hiq.get_global_hiq_status())
with hiq.HiQStatusContext():
    print(hiq.get_global_hiq_status(), driver.enable_hiq().enabled, shop.main(), driver.empty())
    with hiq.HiQStatusContext(False) as nothing:
        print(nothing, hiq.get_global_hiq_status(), shop.main(), len(driver.get_metrics()[0].get_root().nodes))
    shop.main()
print(hiq.get_global_hiq_status(), shop.main(), len(driver.get_metrics()[0].get_root().nodes))
        """,
        encoding="utf-8",
    )
    run = python("switch.py", folder=tmp_path, HIQ_STATUS_DIR=str(tmp_path))
    assert run.stderr == ""
    assert run.stdout.splitlines() == [
        "😤 set global hiq to False",
        "😇 set global hiq to 0",
        "🌚 global hiq switch is off",
        "False 1 True False",
        "True True 1 False",
        "None False 1 1",
        "False 1 2",
    ]
    again = python(
        "-c", "import hiq; print(hiq.get_global_hiq_status())", folder=tmp_path, HIQ_STATUS_DIR=str(tmp_path)
    )
    assert again.stdout == "False\n"


def test_these_tests_have_a_switch_that_nobody_else_turns() -> None:
    with hiq.HiQStatusContext(not hiq.get_global_hiq_status()):
        pass
    folder = Path(os.environ["HIQ_STATUS_DIR"])
    assert [file.name for file in folder.iterdir()] == [f"hiq-status-{os.getuid()}-hiq"]
    assert folder.stat().st_uid == os.getuid() and folder.stat().st_mode & 0o077 == 0


def test_hiq_enabled_counts_while_nobody_has_set_the_status(tmp_path) -> None:
    code = "import hiq; print(hiq.get_global_hiq_status(), hiq.get_global_hiq_status('other', True))"
    for value, expected in (("0", "False True"), ("False", "False True"), ("1", "True True"), ("yes", "True True")):
        run = python("-c", code, folder=tmp_path, HIQ_STATUS_DIR=str(tmp_path), HIQ_ENABLED=value)
        assert run.stdout.strip() == expected


def test_mod_gives_none_and_says_why(capsys) -> None:
    assert hiq.mod("json") is json
    assert hiq.mod("json", "dumps") is json.dumps
    assert hiq.mod("no_such_module") is None
    shown = capsys.readouterr().out
    assert shown.startswith("mod,129,no_such_module: ModuleNotFoundError: No module named 'no_such_module'\n")
    assert hiq.mod("json", "no_such", verbose=False) is None
    assert hiq.mod("", verbose=False) is None
    assert capsys.readouterr().out == ""


def test_what_is_not_in_this_build_says_so() -> None:
    with pytest.raises(AttributeError, match="not in this build yet"):
        hiq.print_model
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        hiq.nonsense


def test_names_are_where_programs_of_hiqs_users_import_them_from() -> None:
    import hiq.base
    import hiq.hiq_utils

    for module in (hiq.base, hiq.hiq_utils):
        assert module.TAU_TABLE_DIO_RD == ["_io", "TextIOWrapper", "read", "dio_r"]
        assert module.ExtraMetrics is ExtraMetrics
    for name in (
        "HiQIdGenerator",
        "call_decorated",
        "get_hiq_table",
        "is_hiqed",
        "total_gpu_memory_mb",
        "Tree",
        "Jack",
    ):
        assert hasattr(hiq.base, name)
    assert issubclass(hiq.HiQMemory, hiq.base.LogMonkeyKing)


def test_the_first_call_is_not_charged_for_getting_ready(tmp_path: Path) -> None:
    (tmp_path / "target.py").write_text("def trivial(): pass\n")
    code = """
import hiq, target
driver = hiq.HiQLatency(hiq_table_or_path=[["target", "", "trivial", "trivial"]])
target.trivial()
[call] = driver.get_metrics()[0].get_root().nodes
print(call.end - call.start)
"""
    # Finding out how fast the counter runs takes 1 ms. One of many, since a busy machine may take its time as well.
    assert any(float(python("-c", code, folder=tmp_path).stdout) < 0.001 for _ in range(20))
