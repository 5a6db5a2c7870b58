"""How answers travel: JSON, deflated when the other side takes it, with a checksum."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any

from . import journal


def pack(payload: object, *, deflate: bool, **options: Any) -> bytes:
    """The body that carries ``payload``; the options are those of `json.dumps`."""
    with journal.inside("shop.codec.pack"):
        with journal.around("json.dumps"):
            text = json.dumps(payload, **options)
        body = text.encode()
        return compressed(body) if deflate else body


def unpack(body: bytes, *, deflated: bool) -> Any:
    """What `pack` was given, back."""
    with journal.inside("shop.codec.unpack"):
        return json.loads(zlib.decompress(body) if deflated else body)


def checksum(body: bytes) -> str:
    """Tells a body that arrived whole."""
    with journal.inside("shop.codec.checksum"):
        return hashlib.sha256(body).hexdigest()


def compressed(body: bytes, level: int = 6) -> bytes:
    """The bytes, deflated."""
    with journal.around("zlib.compress"):
        return zlib.compress(body, level=level)
