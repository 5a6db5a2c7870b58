"""What the customers are going to ask for: always the same for a seed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import cycle, islice
from random import Random
from typing import TYPE_CHECKING

from .catalogue import BROKEN_PICTURE_SKU, LAST_PIECES_SKU, LAST_PIECES_STOCK
from .pricing import COUPONS

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Errand:
    """One request to make, and the statuses that are right answers to it."""

    number: int
    kind: str
    method: str
    path: str
    body: bytes
    statuses: tuple[int, ...]

    def as_bytes(self, host: str) -> bytes:
        """The request as it goes over the wire."""
        head = (
            f"{self.method} {self.path} HTTP/1.0",
            f"Host: {host}",
            "Accept-Encoding: deflate",
            f"X-Request-Number: {self.number}",
            f"Content-Length: {len(self.body)}",
            "",
            "",
        )
        return "\r\n".join(head).encode() + self.body


def plan_errands(requests: int, seed: int) -> list[Errand]:
    """As many errands as asked for, of all kinds once there are eleven, in mixed order."""
    random = Random(seed)
    kinds = list(islice(cycle(_MIX), requests))
    random.shuffle(kinds)
    return [_KINDS[kind](random, number) for number, kind in enumerate(kinds, start=1)]


def _search(random: Random, number: int) -> Errand:
    words = random.choice(("blue", "kettle", "no", "sturdy+lamp", "nowhere"))
    return _get(number, "search", f"/products?words={words}")


def _page(random: Random, number: int) -> Errand:
    sku = random.choice((_single(random), f"HAMPER-{random.randrange(3)}"))
    return _get(number, "page", f"/products/{sku}")


def _missing_page(_: Random, number: int) -> Errand:
    return _get(number, "missing page", "/products/P-9999", status=404)


def _picture(random: Random, number: int) -> Errand:
    return _get(number, "picture", f"/products/{_single(random)}/picture.png")


def _broken_picture(_: Random, number: int) -> Errand:
    path = f"/products/{BROKEN_PICTURE_SKU}/picture.png"
    return _get(number, "broken picture", path, status=500)


def _categories(_: Random, number: int) -> Errand:
    return _get(number, "categories", "/categories")


def _order(random: Random, number: int) -> Errand:
    coupon = random.choice((None, *COUPONS))
    return _post(number, "order", _basket(random), coupon, path="/orders")


def _gift(random: Random, number: int) -> Errand:
    return _post(number, "gift", _basket(random), None, path="/gift-orders")


def _last_piece(_: Random, number: int) -> Errand:
    # All want the same, so it does not matter to the books who comes too late.
    line = {"sku": LAST_PIECES_SKU, "count": 1}
    return _post(number, "last piece", [line], None, statuses=(201, 409))


def _too_many(_: Random, number: int) -> Errand:
    line = {"sku": LAST_PIECES_SKU, "count": LAST_PIECES_STOCK + 1}
    return _post(number, "too many", [line], None, statuses=(409,))


def _unknown_coupon(random: Random, number: int) -> Errand:
    return _post(number, "unknown coupon", _basket(random), "PLEASE", statuses=(400,))


_KINDS: dict[str, Callable[[Random, int], Errand]] = {
    "search": _search,
    "page": _page,
    "missing page": _missing_page,
    "picture": _picture,
    "broken picture": _broken_picture,
    "categories": _categories,
    "order": _order,
    "gift": _gift,
    "last piece": _last_piece,
    "too many": _too_many,
    "unknown coupon": _unknown_coupon,
}

_MIX = (
    *_KINDS,
    *(6 * ["search"]),
    *(6 * ["page"]),
    *(5 * ["picture"]),
    *(7 * ["order"]),
    *(2 * ["last piece"]),
    *("categories", "gift", "too many"),
)


def _get(number: int, kind: str, path: str, *, status: int = 200) -> Errand:
    return Errand(number, kind, "GET", path, b"", (status,))


def _post(
    number: int,
    kind: str,
    lines: list[dict[str, object]],
    coupon: str | None,
    *,
    path: str = "/orders",
    statuses: tuple[int, ...] = (201,),
) -> Errand:
    order = {"lines": lines, "coupon": coupon}
    body = json.JSONEncoder().encode(order).encode()
    return Errand(number, kind, "POST", path, body, statuses)


def _basket(random: Random) -> list[dict[str, object]]:
    skus = [_single(random) for _ in range(random.randrange(1, 4))]
    skus.append(f"SET-{random.randrange(6)}")
    return [{"sku": sku, "count": random.randrange(1, 4)} for sku in skus]


def _single(random: Random) -> str:
    return f"P-{random.randrange(48)}"
