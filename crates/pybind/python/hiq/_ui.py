"""HiQ's pages: which requests a driver holds, and the tree of one. They load nothing from elsewhere."""

from __future__ import annotations

import os
import platform
from html import escape
from typing import Any
from urllib.parse import quote

from . import _hiq
from .constants import FORMAT_DATETIME
from .memory import get_memory_gb, get_system_memory_usage, get_system_peak_memory
from .utils import get_time_str_with_tz, ts_to_dt

__all__: list[str] = []

_GIB = 1 << 30
_STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 70em; color: #222 }
table { border-collapse: collapse; width: 100% } td, th { padding: .2em .6em; border-bottom: 1px solid #ddd }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
pre { overflow-x: auto; background: #f6f6f6; padding: 1em } form { display: inline } b { background: #d9ecb0 }
"""


def drivers_page(driver: Any, token: str) -> str:
    """The requests that are held, the state of the process, and the switch."""
    rows = "\n".join(_row(*summary) for summary in driver.get_k0s_summary())
    body = f"""<h1>HiQ <small>{escape(_hiq.version)}</small></h1>
<p>HiQ: {"🟢 Enabled" if driver.enabled else "🔴 Disabled"}, {_switch(driver.enabled, token)}
{_machine()}</p>
<table><tr><th align=left>Req ID<th class=number>Latency<th class=number>Start<th class=number>End
{rows}
</table>"""
    return _page("HiQ UI", body)


def tree_page(driver: Any, req_id: str) -> str:
    """The tree of a request."""
    tree = driver.get_metrics_by_k0(None if req_id == "None" else req_id)
    # HiQ's spelling.
    text = tree.get_graph(FORMAT_DATETIME) if tree else f"Error: The reqeust id({req_id}) is invalid!"
    shown = "-" if req_id == "None" else req_id
    return _page("HiQ Latency", f"<h1>{escape(shown)}</h1>\n<pre>{escape(text, quote=False)}</pre>")


def _page(title: str, body: str) -> str:
    head = f"<meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
    return f"<!DOCTYPE html>\n<html><head>{head}</head>\n<body>\n{body}\n</body></html>\n"


def _row(key: Any, span: float, start: float, end: float) -> str:
    link = f'<a href="latency/{quote(str(key), safe="")}">🌲 {escape(str(key))}</a>'
    cells = "".join(f"<td class=number>{value}" for value in (span, ts_to_dt(start), ts_to_dt(end)))
    return f"<tr><td>{link}{cells}"


def _switch(is_enabled: bool, token: str) -> str:
    action = "disable" if is_enabled else "enable"
    return (
        f'<form method=post action="hiq_{action}"><input type=hidden name=token value="{escape(token)}">'
        f"<button>{action}</button></form>"
    )


def _machine() -> str:
    facts = [
        f"CPU Type: <b>{escape(_cpu())}</b>",
        f"CPU Load: {os.getloadavg()[0]:.2f}",
        f"Process Memory: {get_memory_gb():.2f}GB",
        f"Current System Memory Usage: <b>{get_system_memory_usage() / _GIB:.2f}GB</b>",
    ]
    peak = get_system_peak_memory()
    if peak > 0:
        facts.append(f"Peak System Memory Usage: <b>{peak / _GIB:.2f}GB</b>")
    return ",\n".join([*facts, f"Generated at: {get_time_str_with_tz()}"])


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        name = ""
    return name or platform.processor() or platform.machine()
