"""A small ASGI application for uvicorn: pages, echoes, a redirect, a stream and an error page."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

Message = dict[str, Any]
STREAM_PARTS = 5


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    kind, _, rest = scope["path"].strip("/").partition("/")
    if kind == "page":
        await answer(send, 200, [f"page {rest}".encode()])
    elif kind == "echo":
        body = await read_body(receive)
        await answer(send, 200, [json.dumps({"echoed": json.loads(body)}).encode()])
    elif kind == "moved":
        await answer(send, 307, [b""], [(b"location", f"/page/{rest}".encode())])
    elif kind == "stream":
        await answer(send, 200, [f"part {n} of {rest};".encode() for n in range(STREAM_PARTS)])
    else:
        await answer(send, 404, [b"nothing here"])


async def read_body(receive: Callable[[], Awaitable[Message]]) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def answer(
    send: Callable[[Message], Awaitable[None]],
    status: int,
    parts: list[bytes],
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers or []})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
