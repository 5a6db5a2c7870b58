"""`hiq.mod`."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["mod"]


def mod(module_name: str = "", attr: str = "", verbose: bool = True) -> Any:
    """The module, or an attribute of it; None when that fails, which is told of if `verbose`. Never raises."""
    try:
        module = importlib.import_module(module_name)
        return getattr(module, attr) if attr else module
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        if verbose:
            # The number is a line of HiQ's C++ core, which its users see in front of such messages.
            print(f"mod,129,{module_name}: {type(error).__name__}: {error}")
            _print_stack(error)
        return None


def _print_stack(error: BaseException) -> None:
    import traceback

    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    if frames:
        print("\nAt:")
        for frame in reversed(frames):
            print(f"  {frame.filename}({frame.lineno}): {frame.name}")
        print()
