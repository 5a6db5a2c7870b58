"""The same application as ASGI."""

from __future__ import annotations

import hashlib
import importlib
import os
from collections.abc import Awaitable, Callable
from typing import Any

counted_app: Any = importlib.import_module("counted_app")


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    # As long as this one is busy, the others accept.
    hashlib.pbkdf2_hmac("sha256", b"word", b"salt", 20_000)
    text = f"{os.getpid()} {counted_app.answer(scope['path'])}"
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text.encode()})
