"""Arguments are recorded where asked for; what is named like a secret is not shown, however it was handed over."""

from __future__ import annotations

import functools
from typing import Any

import hiq
import pytest
from hiq.constants import ExtraMetrics
from hiq.testing import InMemoryExporter

SECRET = "hunter2"


def shown(module: Any, row: list[str], call: Any, capsys: pytest.CaptureFixture[str]) -> str:
    """What a driver that was asked for arguments prints of one call."""
    with hiq.HiQLatency([row], extra_metrics={ExtraMetrics.ARGS}) as driver:
        call(module)
        capsys.readouterr()
        driver.show()
    return capsys.readouterr().out


def shown_of(program: Any, source: str, call: Any, capsys: pytest.CaptureFixture[str], class_name: str = "") -> str:
    module = program(source)
    return shown(module, [module.__name__, class_name, "login", "login"], call, capsys)


@pytest.mark.parametrize(
    "name",
    [
        "password", "passwd", "db_pass", "passphrase", "pwd", "PASSWORD2", "client_secret", "token", "accessToken",
        "api_key", "apikey", "private_key", "aws_access_key_id", "authorization", "auth", "cookie", "set_cookie",
        "credentials", "sessionid", "jwt", "bearer",
    ],
)  # fmt: skip
def test_a_keyword_named_like_a_secret_is_not_shown(program, capsys, name: str) -> None:
    text = shown_of(program, "def login(**kw): pass\n", lambda m: m.login(**{"user": "bob", name: SECRET}), capsys)
    assert f"{{'kwargs': \"{{'user': 'str(bob)', '{name}': '***'}}\"}}" in text


@pytest.mark.parametrize("name", ["user", "author", "bypass", "compass", "tokenizer", "keyboard", "key", "passenger"])
def test_other_names_are_shown_as_hiq_shows_them(program, capsys, name: str) -> None:
    text = shown_of(program, "def login(**kw): pass\n", lambda m: m.login(**{name: "x"}), capsys)
    assert f"'{name}': 'str(x)'" in text


def test_a_positional_argument_is_known_by_the_name_in_the_signature(program, capsys) -> None:
    source = "def login(user, password, /, times, *tokens): pass\n"
    text = shown_of(program, source, lambda m: m.login("bob", SECRET, 3, SECRET, SECRET), capsys)
    assert "{'args': 'str(bob),***,int(3),***,***'}" in text


def test_self_and_cls_do_not_shift_the_names(program, capsys) -> None:
    source = """
        class A:
            def __repr__(self): return "a"
            {decorator}
            def login({first}user, password, where): pass
    """
    for decorator, first, own in [("", "self, ", "A(a),"), ("@classmethod", "cls, ", None), ("@staticmethod", "", "")]:
        text = shown_of(
            program,
            source.format(decorator=decorator, first=first),
            lambda m: m.A().login("bob", SECRET, "here"),
            capsys,
            class_name="A",
        )
        assert SECRET not in text, decorator
        assert "str(bob),***,str(here)" in text, decorator
        assert own is None or f"'args': '{own}str(bob)" in text, decorator


def test_names_are_found_under_decorators_and_partials(program, capsys) -> None:
    source = """
        import functools
        def wrapped(function):
            @functools.wraps(function)
            def call(*args, **kwargs): return function(*args, **kwargs)
            return call
        def plain(where, user, password): pass
        through_wraps = wrapped(plain)
        cached = functools.lru_cache(plain)
        class A:
            def method(self, where, user, password): pass
        bound = A().method
        partial = functools.partial(plain, "here")
    """
    module = program(source)
    for name in ("through_wraps", "cached", "bound"):
        row = [module.__name__, "", name, name]
        text = shown(module, row, lambda m, name=name: getattr(m, name)("here", "bob", SECRET), capsys)
        assert "{'args': 'str(here),str(bob),***'}" in text, name
    row = [module.__name__, "", "partial", "partial"]
    assert "{'args': 'str(bob),***'}" in shown(module, row, lambda m: m.partial("bob", SECRET), capsys)


def test_values_in_dicts_are_known_by_their_keys(program, capsys) -> None:
    def call(module: Any) -> None:
        module.login({"user": "bob", "password": SECRET, b"Authorization": b"Bearer x"}, [{"token": SECRET}])

    text = shown_of(program, "def login(form, more): pass\n", call, capsys)
    assert SECRET not in text
    assert "dict(k:['user', 'password', b'Authorization'],v:['str(bob)', '***', '***'])" in text.replace("\\", "")


def test_that_no_secret_was_given_may_be_seen(program, capsys) -> None:
    text = shown_of(program, "def login(**kw): pass\n", lambda m: m.login(password=None, token=""), capsys)
    assert "{'password': 'None', 'token': '***'}" in text


def test_signatures_that_cannot_be_read_leave_the_call_as_it_is(program, capsys) -> None:
    source = """
        class Odd:
            @property
            def __signature__(self): raise RuntimeError("no")
            def __call__(self, user): return user
        login = Odd()
    """
    module = program(source)
    row = [module.__name__, "", "login", "login"]
    assert "{'args': 'str(bob)'}" in shown(module, row, lambda m: m.login("bob"), capsys)


def test_exporters_get_no_secret_either(program) -> None:
    module = program("def login(user, password, **kw): pass\n")
    row = [module.__name__, "", "login", "login"]
    with InMemoryExporter() as spans, hiq.HiQLatency([row], extra_metrics={ExtraMetrics.ARGS}):
        module.login("bob", SECRET, token=SECRET)
        (span,) = spans.named("__login")
    assert span["attributes"]["hiq.args"] == "str(bob),***"
    assert SECRET not in str(span)


def test_spans_that_are_started_by_hand_hide_keywords_too(capsys) -> None:
    driver = hiq.HiQLatency(extra_metrics={ExtraMetrics.ARGS})
    driver.pre_processing("login", ("bob",), {"password": SECRET})
    driver.post_processing("login")
    driver.show()
    text = capsys.readouterr().out
    assert SECRET not in text
    assert "'password': '***'" in text


def test_more_names_are_taken_from_the_environment_and_none_switches_it_off(program, capsys, monkeypatch) -> None:
    def text() -> str:
        return shown_of(
            program, "def login(**kw): pass\n", lambda m: m.login(Iban="I", ssn="S", password="P", x="X"), capsys
        )

    monkeypatch.setenv("HIQ_REDACT_NAMES", " iban, ssn ,")
    assert "{'Iban': '***', 'ssn': '***', 'password': '***', 'x': 'str(X)'}" in text()
    monkeypatch.setenv("HIQ_REDACT_NAMES", "none")
    assert "{'Iban': 'str(I)', 'ssn': 'str(S)', 'password': 'str(P)', 'x': 'str(X)'}" in text()
    monkeypatch.delenv("HIQ_REDACT_NAMES")
    assert "{'Iban': 'str(I)', 'ssn': 'str(S)', 'password': '***', 'x': 'str(X)'}" in text()


def test_a_handler_of_the_program_decides_for_itself(program, capsys) -> None:
    module = program("def login(user, password): pass\n")
    seen: list[Any] = []

    @functools.wraps(hiq.hiq_utils.func_args_handler)
    def handler(arguments: Any, name: str) -> str:
        seen.append((arguments, name))
        return "mine"

    row = [module.__name__, "", "login", "login"]
    with hiq.HiQLatency([row], func_args_handler=handler, extra_metrics={ExtraMetrics.ARGS}) as driver:
        module.login("bob", SECRET)
        driver.show()
    assert seen == [(("bob", SECRET), "__login")]
    assert "{'args': 'mine'}" in capsys.readouterr().out
