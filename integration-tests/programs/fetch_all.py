"""An asyncio client on httpx: `python fetch_all.py URL` asks for many pages, several at a time."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Sequence

import httpx

ROUNDS = 20
IN_FLIGHT = 8


async def main(url: str) -> int:
    gate = asyncio.Semaphore(IN_FLIGHT)
    async with httpx.AsyncClient(base_url=url, follow_redirects=True, trust_env=False) as client:
        lines = await asyncio.gather(*(ask(gate, errand) for errand in errands(client)))
    print("\n".join(lines))
    return 0


def errands(client: httpx.AsyncClient) -> Sequence[Awaitable[httpx.Response]]:
    asked = []
    for number in range(ROUNDS):
        for kind in ("page", "moved", "stream", "nowhere"):
            asked.append(client.get(f"/{kind}/{number}"))
        asked.append(client.post("/echo", json={"number": number, "text": "ä"}))
    asked.append(client.get("gopher://nobody.invalid/"))
    return asked


async def ask(gate: asyncio.Semaphore, errand: Awaitable[httpx.Response]) -> str:
    async with gate:
        try:
            answer = await errand
        except httpx.UnsupportedProtocol as error:
            return f"refused: {error}"
    return f"{answer.request.method} {answer.url.path} {answer.status_code} {answer.text}"


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
