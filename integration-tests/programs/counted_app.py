"""A WSGI application that keeps an account of its calls, a file a process; hiq counts too."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import hiq

ACCOUNTS = Path(os.environ["ACCOUNTS"])


def answer(path: str) -> str:
    with (ACCOUNTS / str(os.getpid())).open("a") as account:
        account.write("answer\n")
    return price(len(path))


def price(length: int) -> str:
    with (ACCOUNTS / str(os.getpid())).open("a") as account:
        account.write("price\n")
    return str(length)


hiq.init(
    "counted",
    exporters=[],
    metrics=["prometheus"],
    conf=[[__name__, "", "answer", "answer"], [__name__, "", "price", "price"]],
)


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    text = f"{os.getpid()} {answer(environ['PATH_INFO'])}"
    start_response("200 OK", [("Content-Type", "text/plain"), ("Connection", "close")])
    return [text.encode()]
