"""HiQ's helpers: memoizing, singletons, the environment, files, times as text."""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from . import _hiq
from ._charts import (
    bfloat16_supported,
    create_gantt_chart_memory,
    create_gantt_chart_time,
    draw_image,
    get_average_loss,
    get_percentage_loss,
    set_seed,
)
from ._commands import download_from_http, execute_cmd, get_proxies, post_http

if TYPE_CHECKING:
    import inspect

__all__ = [
    "ALL_IMG_DOC_TYPES",
    "DEFAULT_IMG_TYPES",
    "SilencePrint",
    "Singleton",
    "SingletonBase",
    "SingletonMeta",
    "bfloat16_supported",
    "create_gantt_chart_memory",
    "create_gantt_chart_time",
    "down_sample",
    "download_from_http",
    "draw_image",
    "ensure_folder",
    "execute_cmd",
    "get_average_loss",
    "get_cpu_info",
    "get_env_bool",
    "get_env_float",
    "get_env_int",
    "get_files_by_type",
    "get_home",
    "get_percentage_loss",
    "get_proxies",
    "get_time_by_time_zone",
    "get_time_str_with_tz",
    "is_hiqed",
    "lmk_data_handler",
    "memoize",
    "memoize_first",
    "parse_lambda",
    "post_http",
    "pretty_time_delta",
    "random_port",
    "random_str",
    "read_file",
    "set_seed",
    "signature",
    "str_to_filename",
    "ts_pair_to_dt",
    "ts_to_dt",
    "utc_to_pst",
    "write_file",
]

DEFAULT_IMG_TYPES = ["*.jpg", "*.jpeg", "*.png", "*.bmp", "*.tiff"]
ALL_IMG_DOC_TYPES = [*DEFAULT_IMG_TYPES, "*.webp", "*.pdf"]

_DATE_TIME = "%Y-%m-%d %H:%M:%S.%f"
# Smaller numbers are no times to HiQ.
_FIRST_TIMESTAMP = 816_639_732


# --- memoizing and singletons ---------------------------------------------------------------------


def memoize(func: Callable[..., Any]) -> Callable[..., Any]:
    """Remembers the answers to positional arguments, for ever."""
    answers: dict[tuple[Any, ...], Any] = {}

    def __x(*args: Any) -> Any:
        if args not in answers:
            answers[args] = func(*args)
        return answers[args]

    return __x


def memoize_first(func: Callable[..., Any]) -> Callable[..., Any]:
    """Remembers the answers by the first argument alone."""
    answers: dict[Any, Any] = {}

    def __x(*args: Any) -> Any:
        if args[0] not in answers:
            answers[args[0]] = func(*args)
        return answers[args[0]]

    return __x


class SingletonMeta(type):
    """Metaclass of classes that have one instance."""

    _instances: ClassVar[dict[type, Any]] = {}

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls not in SingletonMeta._instances:
            SingletonMeta._instances[cls] = super().__call__(*args, **kwargs)
        return SingletonMeta._instances[cls]


Singleton = SingletonMeta


class SingletonBase(metaclass=SingletonMeta):
    """Base of classes that have one instance."""


class SilencePrint:
    """Inside this context `print` prints nothing."""

    def __enter__(self) -> None:
        self.old_print = builtins.print
        builtins.print = lambda *_args, **_kwargs: None

    def __exit__(self, *_exc: object) -> None:
        builtins.print = self.old_print


# --- environment ----------------------------------------------------------------------------------


def get_env_bool(x: str, default: Any = None) -> bool:
    """Truth of a variable: `0`, `False` and the empty text are false, any other word is true."""
    value = os.environ.get(x, default)
    if not isinstance(value, str) or not value:
        return bool(value)
    import ast

    try:
        return bool(ast.literal_eval(value))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return True


def get_env_int(x: str, default: int = 0) -> int:
    """A variable as an integer."""
    return int(os.environ.get(x, default))


def get_env_float(x: str, default: float = 0) -> float:
    """A variable as a float."""
    return float(os.environ.get(x, default))


def get_home() -> str:
    """The user's home folder."""
    return os.path.expanduser("~")


def get_cpu_info(debug: bool = False) -> set[int]:
    """The processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    processors = affinity(0) if affinity else set(range(os.cpu_count() or 1))
    if debug:
        print(f"{len(processors)} CPUs are available: {processors}")
    return set(processors)


# --- times as text --------------------------------------------------------------------------------


def ts_to_dt(timestamp: float) -> str:
    """A moment in local time with microseconds; a number too small for a moment as it is."""
    if timestamp < _FIRST_TIMESTAMP:
        return str(timestamp)
    try:
        return datetime.fromtimestamp(timestamp).strftime(_DATE_TIME)
    except OverflowError:
        print(f"error: timestamp {timestamp} cased overflow")
        return ""


def ts_pair_to_dt(t1: float, t2: float) -> str:
    """Two moments in local time; the day is written once when it is the same."""
    first = datetime.fromtimestamp(t1).strftime(_DATE_TIME)
    second = datetime.fromtimestamp(t2).strftime(_DATE_TIME)
    same_day = first.split(" ")[0] == second.split(" ")[0]
    return f"{first} - {second.split(' ')[1] if same_day else second}"


def utc_to_pst(utc: str, format_: str = "%Y-%m-%dT%H:%M:%S+0000") -> str:
    """A UTC time text as Los Angeles time."""
    from datetime import timezone
    from zoneinfo import ZoneInfo

    moment = datetime.strptime(utc, format_).replace(tzinfo=timezone.utc)
    return str(moment.astimezone(ZoneInfo("America/Los_Angeles")))


def get_time_by_time_zone(time_zone: str = "US/Pacific") -> datetime:
    """Now, in a time zone."""
    from zoneinfo import ZoneInfo

    return datetime.now(tz=ZoneInfo(time_zone))


def get_time_str_with_tz(time_zone: str = "US/Pacific") -> str:
    """Now, in a time zone, as text."""
    return get_time_by_time_zone(time_zone).strftime("%Y-%m-%d %H:%M:%S.%Z")


def pretty_time_delta(seconds: float) -> str:
    """Whole seconds as `1d2h3m4s`."""
    sign = "-" if seconds < 0 else ""
    minutes, rest = divmod(abs(int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    return sign + "".join(f"{count}{unit}" for count, unit in parts)


# --- texts ----------------------------------------------------------------------------------------


def random_str(length_of_string: int = 12) -> str:
    """Random lower-case letters and digits."""
    import random
    import string

    return "".join(random.choices(string.ascii_lowercase + string.digits, k=length_of_string))


def random_port(start_port: int = 1024, end_port: int = 65535) -> int:
    """A random port number of the range, both ends included."""
    if not (1024 <= start_port <= 65535 and 1024 <= end_port <= 65535):
        raise ValueError("Port numbers must be in the range 1024-65535")
    if start_port > end_port:
        raise ValueError("start_port must be less than or equal to end_port")
    import random

    return random.randint(start_port, end_port)


def str_to_filename(s: str, repl: str = "_", suffix: str | None = None) -> str:
    """A text as a file name of letters and digits."""
    import re

    name = re.sub(r"__+", repl, re.sub(r"[^a-zA-Z0-9]", repl, s)).strip(repl) or random_str()
    return name if suffix is None else f"{name}.{suffix}"


_IMPORTING_PID = os.getpid()


def lmk_data_handler(data: dict[str, Any] | None = None, pid: int = _IMPORTING_PID) -> str:
    """A line of HiQ's log of calls."""
    data = data or {}
    id_, value, extra = data["id_"], data["value"], data["extra"]
    monkey = "🐵" if data["is_start"] else "🙈"
    moment = ts_to_dt(extra["time"]) if "time" in extra else ts_to_dt(value)
    line = f"{moment} - [{id_}] [🆔 {pid}] {monkey} [{data['name'][2:]}]"
    if "time" in extra:
        return f"{line} {value} {extra}"
    return f"{line} {extra}" if extra else line


# --- functions ------------------------------------------------------------------------------------


def is_hiqed(fun: Callable[..., Any], fun_name: str) -> bool:
    """True when `fun` is traced; else HiQ's guess from the text of `fun`."""
    if _hiq.is_traced(fun) or _hiq.is_traced(getattr(fun, "__func__", None)):
        return True
    text = str(fun)
    plain = f"{fun_name} at" in text or f"<method '{fun_name}' of" in text
    return not plain and not text.startswith(("<built-in function", "<bound method"))


def signature(
    obj: Callable[..., Any],
    *,
    follow_wrapped: bool = True,
    globals: Mapping[str, Any] | None = None,
    locals: Mapping[str, Any] | None = None,
    eval_str: bool = False,
) -> inspect.Signature:
    """Like `inspect.signature`; of a decorated method, that of the function within."""
    import inspect

    more: Any = {"follow_wrapped": follow_wrapped, "globals": globals, "locals": locals, "eval_str": eval_str}
    if not inspect.ismethod(obj):
        return inspect.Signature.from_callable(obj, **more)
    cells = [cell.cell_contents for cell in obj.__func__.__closure__ or ()]
    within = next((content for content in cells if inspect.isfunction(content)), inspect.unwrap(obj))
    return inspect.Signature.from_callable(within, **more)


def parse_lambda(l: Callable[..., Any]) -> str | None:  # noqa: E741
    """The source text of a lambda; None when there is no source."""
    import ast
    import inspect

    try:
        source = inspect.getsource(l).lstrip()
        tree = ast.parse(source)
    except (OSError, SyntaxError):
        return None
    found = next((node for node in ast.walk(tree) if isinstance(node, ast.Lambda)), None)
    return None if found is None else ast.get_source_segment(source, found)


# --- files ----------------------------------------------------------------------------------------


def read_file(
    file_path: str,
    binary_mode: bool = False,
    by_line: bool = True,
    filter_func: Callable[[str], bool] | None = None,
    as_json: bool = False,
    bytes_as_string: bool = True,
    raise_: bool = False,
    strip: bool = False,
) -> Any:
    """Lines (or text, bytes, JSON) of a file; None, or a ValueError if `raise_`, when it is no file.

    `bytes_as_string` is accepted and has no effect.
    """
    if not os.path.isfile(file_path):
        if raise_:
            raise ValueError(f"input path {file_path} is not a file")
        return None
    if binary_mode:
        with open(file_path, "rb") as raw:
            content: Any = raw.read()
    else:
        with open(file_path, encoding="utf-8") as file:
            content = file.read()
    if as_json:
        import json

        return json.loads(content)
    if by_line and not binary_mode:
        lines = content.splitlines()
        return list(filter(filter_func, lines)) if filter_func else lines
    return content.strip() if strip and isinstance(content, str) else content


def write_file(
    file_path: str,
    data: str | bytes,
    as_owner: str | None = None,
    as_group: str | None = None,
    append: bool = False,
    mod_: str = "644",
) -> None:
    """Writes (or appends) a file, makes its folder, and sets owner, group and mode where asked to."""
    if "/" in file_path:
        ensure_folder(file_path)
    with open(file_path, "ab" if append else "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode("utf-8"))
    import shutil

    if as_owner:
        shutil.chown(file_path, user=as_owner)
    if as_group:
        shutil.chown(file_path, group=as_group)
    if mod_ != "644":
        os.chmod(file_path, int(mod_, 8))


def ensure_folder(path_str: str) -> str:
    """Makes the folder of the file `path_str` and returns it."""
    folder = path_str if os.path.isdir(path_str) else os.path.dirname(path_str)
    try:
        if folder:
            os.makedirs(folder, exist_ok=True)
    except PermissionError:
        print(f"🦉 Warning: you have no permission to access path: {folder}")
        raise
    return folder


def get_files_by_type(
    folder_path: str | None = None,
    types: str | Iterable[str] = ALL_IMG_DOC_TYPES,
    include_folder_name: bool = False,
    sorting: bool = True,
    sort_by: int = 0,
    ascending: bool = True,
    sample_num: int | None = None,
    topk: int | None = None,
    recursive: bool = True,
    verbose: bool = True,
) -> list[tuple[Any, ...]]:
    """(bytes, name, path[, folder]) of the files below a folder (this one) whose names fit `types`, in any case."""
    import glob

    folder = os.getcwd() if folder_path is None else folder_path
    patterns = [types] if isinstance(types, str) else types
    paths = {
        path for pattern in patterns for path in glob.glob(f"{folder}/**/{_any_case(pattern)}", recursive=recursive)
    }
    found = [_file_entry(path, include_folder_name) for path in paths]
    if sorting:
        found.sort(key=lambda entry: entry[sort_by], reverse=not ascending)
    if len(found) > 2 and verbose:
        print(f"🦶 res[0]:{found[0]}, res[-1]:{found[-1]}")
    if topk:
        return found[:topk]
    if sample_num:
        return list(down_sample(found, sample_num))
    if len(found) > 1000 and verbose:
        print(f"😱 big number of files: {len(found)}")
    return found


def down_sample(a_list: Sequence[Any], k: int, debug: bool = False) -> Any:
    """`k` items at even distances, first and last among them."""
    if len(a_list) < k:
        print("💀" * 80)
        print(f"🦉 warning: k={k} is too big for a length-{len(a_list)} list in downsampling, return original list")
        return a_list
    step = (len(a_list) - 1) / (k - 1) if k > 1 else 0.0
    chosen = [int(i * step) for i in range(k)]
    if k > 1:
        chosen[-1] = len(a_list) - 1
    if debug:
        print(f"👻 original list size: {len(a_list)}, new list size:{len(chosen)}, idx: {chosen}")
    return [a_list[i] for i in chosen]


def _any_case(pattern: str) -> str:
    return "".join(f"[{c.lower()}{c.upper()}]" if c.isalpha() else c for c in pattern)


def _file_entry(path: str, with_folder: bool) -> tuple[Any, ...]:
    folder, name = os.path.split(path)
    entry = (os.path.getsize(path), name, path)
    return (*entry, os.path.basename(folder) or None) if with_folder else entry
