"""The spans that Python's encoders are measured with, of the kinds that the Rust side has."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

SPANS = 512
_ROOTS = 8
_MODULES = ("cart", "payment", "inventory", "model", "tokenizer", "session")
_FUNCTIONS = ("load", "predict", "add_item", "reserve", "authorize", "render", "commit")


def trees(rng: random.Random) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
    """Eight trees of names and attributes, 512 spans in all; the first of each is the root."""
    for _ in range(_ROOTS):
        yield (_span(rng) for _ in range(SPANS // _ROOTS))


def _span(rng: random.Random) -> tuple[str, dict[str, Any]]:
    kinds = rng.sample(_KINDS, rng.randint(4, 8))
    name = f"{rng.choice(_MODULES)}.{rng.choice(_FUNCTIONS)}"
    return name, {key: value(rng) for key, value in kinds}


def _query(rng: random.Random) -> str:
    columns, order = "id, sku, qty", rng.randrange(1, 10_000_000)
    return f"SELECT {columns} FROM order_lines WHERE order_id = {order} LIMIT {rng.randrange(100)}"


_KINDS = [
    ("http.request.method", lambda rng: rng.choice(["GET", "POST", "PUT", "DELETE"])),
    ("http.response.status_code", lambda rng: rng.choice([200, 201, 404, 500])),
    ("url.path", lambda rng: f"/api/v1/orders/{rng.randrange(1_000, 9_999_999)}"),
    ("server.address", lambda rng: rng.choice(["cart.internal", "payment.internal"])),
    ("server.port", lambda rng: rng.choice([80, 443, 8080, 5432])),
    ("db.system.name", lambda rng: rng.choice(["postgresql", "redis"])),
    ("db.query.text", _query),
    ("thread.id", lambda rng: rng.randrange(1, 1 << 47)),
    ("code.function.name", lambda rng: rng.choice(_FUNCTIONS)),
    ("code.line.number", lambda rng: rng.randrange(1, 4_000)),
    ("cache.hit", lambda rng: rng.random() < 0.5),
    ("model.score", lambda rng: rng.random()),
    ("user.id", lambda rng: f"{rng.getrandbits(32):08x}-{rng.getrandbits(48):012x}"),
    ("batch.size", lambda rng: rng.randrange(1, 512)),
    ("feature.flag", lambda rng: rng.choice(["control", "treatment-a", "treatment-b"])),
]
