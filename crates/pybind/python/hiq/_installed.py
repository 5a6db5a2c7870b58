"""Refuses to run from a folder that two distributions share."""

from __future__ import annotations

import os

_HERE = os.path.dirname(os.path.abspath(__file__))
_SITE = os.path.dirname(_HERE)
_OTHERS = ("hiq_python-", "hiq-python-")

if any(name.startswith(_OTHERS) and name.endswith((".dist-info", ".egg-info")) for name in os.listdir(_SITE)):
    raise ImportError(
        f"hiq-bridge and hiq-python are both installed in {_SITE}, and both are the package `hiq`: "
        "their files are mixed. "
        "Keep one: pip uninstall -y hiq-python hiq-bridge, then pip install hiq-bridge"
    )
