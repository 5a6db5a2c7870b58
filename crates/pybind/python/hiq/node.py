"""HiQ's tree node."""

from __future__ import annotations

from ._hiq import Node
from .tree import is_virtual_node

__all__ = ["Node", "is_virtual_node"]
