"""The customers: an asyncio client that keeps a number of requests in flight."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import codec, journal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from .plan import Errand

CHUNK_BYTES = 4_096
REDRAW_SECONDS = 0.1


@dataclass(frozen=True)
class Answer:
    """What came back for an errand."""

    errand: Errand
    status: int
    payload: Any

    @property
    def as_expected(self) -> bool:
        """Whether the shop answered rightly."""
        return self.status in self.errand.statuses


class Damaged(Exception):
    """A body did not arrive as it was sent."""


async def visit(
    address: tuple[str, int], errands: Sequence[Errand], in_flight: int
) -> list[Answer]:
    """Run all the errands, that many at a time."""
    client = Client(*address)
    answers: list[Answer] = []
    waiting = iter(errands)
    progress = Progress(len(errands), answers)
    watching = asyncio.create_task(progress.watch(), name="progress")
    customers = [
        asyncio.create_task(_customer(client, waiting, answers), name=f"customer-{number}")
        for number in range(in_flight)
    ]
    try:
        await asyncio.gather(*customers)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    return answers


class Client:
    """Talks to one shop, a connection per errand."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def fetch(self, errand: Errand) -> Answer:
        """Run one errand; raises `Damaged`."""
        with journal.inside("shop.client.Client.fetch", request=errand.number):
            reader, writer = await asyncio.open_connection(self._host, self._port)
            try:
                writer.write(errand.as_bytes(self._host))
                await writer.drain()
                status, headers, body = await read_response(reader)
            finally:
                writer.close()
                await writer.wait_closed()
            return Answer(errand, status, await _open_parcel(headers, body))


async def read_response(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Status, headers by lower-case name, and body."""
    with journal.inside("shop.client.read_response"):
        status_line = (await reader.readline()).decode()
        headers = {}
        while line := (await reader.readline()).decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        chunks = [chunk async for chunk in body_chunks(reader)]
        return int(status_line.split()[1]), headers, b"".join(chunks)


async def body_chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The body as it comes in, until the other side has said everything."""
    with journal.inside("shop.client.body_chunks") as entry:
        while chunk := await reader.read(CHUNK_BYTES):
            with entry.paused():
                yield chunk


class Progress:
    """How far the crowd has come, shown on a terminal only."""

    def __init__(self, expected: int, answers: Sequence[Answer]) -> None:
        self._expected = expected
        self._answers = answers
        self._stream = sys.stderr

    async def watch(self) -> None:
        """Redraw until cancelled."""
        with journal.inside("shop.client.Progress.watch"):
            try:
                while True:
                    self._draw()
                    await asyncio.sleep(REDRAW_SECONDS)
            finally:
                self._wipe()

    def _draw(self) -> None:
        if self._stream.isatty():
            self._stream.write(f"\r{len(self._answers)} of {self._expected} answered")
            self._stream.flush()

    def _wipe(self) -> None:
        if self._stream.isatty():
            self._stream.write("\r\x1b[K")
            self._stream.flush()


async def _customer(client: Client, waiting: Iterator[Errand], answers: list[Answer]) -> None:
    for errand in waiting:
        answers.append(await client.fetch(errand))


async def _open_parcel(headers: dict[str, str], body: bytes) -> Any:
    if "x-checksum" not in headers:
        return body.decode()
    # Both take their time over a large body, so they do it beside the event loop.
    if headers["content-type"] != "application/json":
        payload: Any = body
        found = await asyncio.to_thread(codec.checksum, body)
    else:
        deflated = headers.get("content-encoding") == "deflate"
        payload, found = await asyncio.gather(
            asyncio.to_thread(codec.unpack, body, deflated=deflated),
            asyncio.to_thread(codec.checksum, body),
        )
    if found != headers["x-checksum"]:
        raise Damaged(f"a body of {len(body)} bytes has the checksum {found}")
    return payload
