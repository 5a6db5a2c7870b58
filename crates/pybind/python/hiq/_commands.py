"""HiQ's helpers that run commands and fetch pages. None of them uses a shell, and TLS is verified."""

from __future__ import annotations

import os
import sys
from typing import IO, Any

__all__ = ["download_from_http", "execute_cmd", "get_proxies", "post_http"]

_JSON_HEADERS = {"client-id": "hiq-client", "Content-Type": "application/json"}
_FRAME = "*" * 80


def execute_cmd(
    command: str,
    split: bool = True,
    verbose: bool = True,
    check: bool = False,
    shell: bool = False,
    timeout: float = 600,
    stderr_log: IO[Any] | None = None,
    debug: bool = False,
    keep_delim: bool = False,
    env: dict[str, str] | None = None,
    error_file: str | None = None,
    append_error: bool = False,
    runtime_output: bool = False,
) -> Any:
    """Runs a command without a shell; returns its lines, the text if not `split`, the code if `runtime_output`.

    What it writes to stderr goes to `error_file`, which is kept when it is not empty. After `timeout` seconds: None.
    `keep_delim` is accepted and has no effect.
    """
    if shell:
        raise ValueError("shell=True is not supported: name the program, or start the shell yourself")
    import subprocess

    from .utils import random_str

    words = _words(command)

    error_file = error_file or f".error.{random_str()}.log"
    if verbose:
        print(f"🏃‍♂️ command: {' '.join(words)}, error_file: {error_file}")
    if runtime_output:
        return _run_and_repeat(words, timeout, env)
    errors = stderr_log or open(error_file, "w", encoding="utf-8")  # noqa: SIM115
    try:
        finished = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=errors, check=check, timeout=timeout or None, env=env
        )
        text = finished.stdout.decode("utf-8").strip()
        said = _text_of(error_file)
        if said and debug:
            print("☠️ error:", said.encode())
        return _answer(text, said if append_error else "", split)
    except subprocess.TimeoutExpired:
        print(f"🏃‍♂️ command timed-out after {timeout} seconds: {command}")
        return None
    finally:
        errors.close()
        if not debug:
            _clear_away(error_file, verbose)


def get_proxies() -> dict[str, str]:
    """The proxies that the lower-case environment variables name."""
    names = {"http": "http_proxy", "https": "https_proxy", "ftp": "ftp_proxy", "no_proxy": "no_proxy"}
    return {key: os.environ.get(name, "") for key, name in names.items()}


def download_from_http(
    uri: str,
    local_file_path: str,
    display: bool = False,
    enable_proxy: bool = True,
    auth: tuple[str, str] | None = None,
) -> str:
    """Writes what `uri` answers into a file and returns its path. `display` shows the progress on stderr."""
    import urllib.request

    if auth is not None and len(auth) != 2:
        raise ValueError(f"auth information is wrong: {len(auth)} parts, (user, password) is needed")
    request = urllib.request.Request(uri)
    if auth is not None:
        from base64 import b64encode

        token = b64encode(":".join(auth).encode()).decode("ascii")
        request.add_header("Authorization", f"Basic {token}")
    handlers = [] if enable_proxy else [urllib.request.ProxyHandler({})]
    try:
        with (
            urllib.request.build_opener(*handlers).open(request) as answer,
            open(local_file_path, "wb") as file,
        ):
            _copy(answer, file, int(answer.headers.get("content-length") or 0) if display else 0)
    except OSError as error:
        _say(error)
        raise
    return local_file_path


def post_http(
    url: str,
    data: Any,
    auth: Any = None,
    headers: dict[str, str] | None = None,
    timeout: float = 60,
    trust_env: bool = True,
    enable_proxy: bool = True,
) -> Any:
    """Posts `data` (a dict as JSON) and returns the answer of the package `requests`, which must be there."""
    import json

    import requests  # type: ignore[import-not-found,import-untyped,unused-ignore]

    try:
        session = requests.Session()
        session.trust_env = trust_env
        return session.post(
            url,
            data=json.dumps(data) if isinstance(data, dict) else data,
            headers=_JSON_HEADERS if headers is None else headers,
            timeout=timeout,
            proxies=get_proxies() if enable_proxy else {},
            auth=auth or None,
        )
    except Exception as error:
        _say(error)
        raise


def _words(command: str) -> list[str]:
    """Blanks divide words, but for those in double quotes; no other character means anything."""
    import re

    return [word.replace('"', "") for word in re.findall(r'(?:[^\s"]|"[^"]*"?)+', command)]


def _run_and_repeat(words: list[str], timeout: float, env: dict[str, str] | None) -> int:
    import subprocess
    import threading

    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
    # The limit holds for a silent command as well, which the loop below would wait for.
    limit = threading.Timer(timeout, process.kill) if timeout > 0 else None
    if limit is not None:
        limit.start()
    with process:
        for line in process.stdout or ():
            print(line.decode(errors="replace").rstrip())
    if limit is not None:
        if not limit.is_alive():
            print(f"Command timeout after {timeout} seconds. command: {' '.join(words)}")
        limit.cancel()
    return process.returncode


def _answer(text: str, said: str, split: bool) -> Any:
    if not split:
        return text + said
    return [*text.split("\n"), *([said] if said else [])]


def _text_of(path: str) -> str:
    # As bytes: a driver that counts text files shall not count ours.
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def _clear_away(path: str, verbose: bool) -> None:
    if not os.path.exists(path):
        return
    said = _text_of(path)
    if not said:
        os.unlink(path)
        if verbose:
            print(f"{path} is empty and removed")
    elif verbose:
        print(_FRAME, said, _FRAME, sep="\n")


def _copy(source: Any, target: IO[bytes], shown_total: int) -> None:
    done = 0
    while block := source.read(1 << 19):
        target.write(block)
        done += len(block)
        if shown_total:
            sys.stderr.write(f"\r{done * 100 // shown_total} %")
    if shown_total:
        sys.stderr.write("\n")


def _say(error: BaseException) -> None:
    import traceback

    print(f"🦉 error: {error}")
    traceback.print_exc(file=sys.stdout)
