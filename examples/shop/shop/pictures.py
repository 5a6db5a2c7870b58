"""Product pictures, drawn from a recipe: PNG without a library."""

from __future__ import annotations

import json
import math
import struct
import zlib

from . import journal
from .codec import compressed

SIZE_PIXELS = 224
_PNG = b"\x89PNG\r\n\x1a\n"


def draw(recipe: str, *, size: int = SIZE_PIXELS) -> bytes:
    """A square PNG; raises `json.JSONDecodeError` for a damaged recipe."""
    with journal.inside("shop.pictures.draw"):
        wish = json.loads(recipe)
        tint = tuple(wish["tint"])
        rows = (_row(y, size, wish["rings"], tint) for y in range(size))
        header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
        pixels = compressed(b"".join(rows), level=9)
        return _PNG + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _row(y: int, size: int, rings: int, tint: tuple[int, ...]) -> bytes:
    pixels = bytearray(b"\0")  # this row is not filtered
    middle = size / 2
    for x in range(size):
        distance = math.hypot(x - middle, y - middle) / middle
        light = 0.5 + 0.5 * math.cos(distance * rings * math.pi)
        pixels.extend(int(part * light) for part in tint)
    return bytes(pixels)


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)
