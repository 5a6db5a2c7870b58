"""What the shop sells: products, bundles of products, and the categories they stand in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from . import journal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LAST_PIECES_SKU = "LAST-1"
LAST_PIECES_STOCK = 10
BROKEN_PICTURE_SKU = "DENT-1"
USUAL_STOCK = 100_000


@dataclass(frozen=True)
class Product:
    """One thing for sale. A bundle has parts and no price of its own."""

    sku: str
    name: str
    category: str
    price_cents: int
    picture: str
    stock: int
    parts: tuple[tuple[str, int], ...] = ()


@dataclass
class Category:
    """A shelf of products, and the shelves below it."""

    name: str
    skus: list[str] = field(default_factory=list)
    children: dict[str, Category] = field(default_factory=dict)

    def product_count(self) -> int:
        """How many products stand here and below."""
        with journal.inside("shop.catalogue.Category.product_count"):
            return len(self.skus) + sum(child.product_count() for child in self.children.values())

    def outline(self, depth: int = 0) -> list[str]:
        """The names of this shelf and those below it, indented."""
        below = (line for child in self.children.values() for line in child.outline(depth + 1))
        return [f"{'  ' * depth}{self.name} ({len(self.skus)})", *below]


def search(products: Iterable[Product], *words: str, category: str = "") -> Iterator[Product]:
    """Products of a category whose names have all the words, in the order of the catalogue."""
    with journal.inside("shop.catalogue.search") as entry:
        wanted = [word.casefold() for word in words]
        for product in products:
            name = product.name.casefold()
            if product.category.startswith(category) and all(word in name for word in wanted):
                with entry.paused():
                    yield product


def shelve(products: Iterable[Product]) -> Category:
    """The tree of categories that holds the products."""
    root = Category("all")
    for product in products:
        shelf = root
        for name in product.category.split("/"):
            shelf = shelf.children.setdefault(name, Category(name))
        shelf.skus.append(product.sku)
    return root


def similar(product: Product, products: Iterable[Product], limit: int = 3) -> list[str]:
    """The numbers of the products most like this one, by the letters their names share."""

    def unlikeness(other: Product) -> tuple[int, str]:
        return _edit_distance(product.name, other.name), other.sku

    others = [other for other in products if other.sku != product.sku]
    return [other.sku for other in sorted(others, key=unlikeness)[:limit]]


def stock_up(seed: int) -> list[Product]:
    """The whole catalogue, always the same for a seed."""
    random = Random(seed)
    singles = [_single(random, number) for number in range(48)]
    sets = [_bundle(random, f"SET-{number}", "set", singles) for number in range(6)]
    hampers = [_bundle(random, f"HAMPER-{number}", "hamper", sets) for number in range(3)]
    return [*singles, *sets, *hampers, *_oddities(random)]


_CATEGORIES = ("kitchen/knives", "kitchen/pans", "garden/tools", "garden/seeds", "desk", "toys")
_ADJECTIVES = ("blue", "sturdy", "folding", "copper", "little", "patient", "striped", "quiet")
_NOUNS = ("kettle", "spade", "puzzle", "ladle", "lamp", "trowel", "notebook", "whistle")


def _single(random: Random, number: int) -> Product:
    return Product(
        sku=f"P-{number}",
        name=f"{random.choice(_ADJECTIVES)} {random.choice(_NOUNS)} no. {number}",
        category=random.choice(_CATEGORIES),
        price_cents=random.randrange(199, 9_999),
        picture=_picture(random),
        stock=USUAL_STOCK,
    )


def _bundle(random: Random, sku: str, kind: str, parts: list[Product]) -> Product:
    chosen = random.sample(parts, 2)
    return Product(
        sku=sku,
        name=f"{random.choice(_ADJECTIVES)} {kind} of two",
        category="bundles",
        price_cents=0,
        picture=_picture(random),
        stock=USUAL_STOCK,
        parts=tuple((part.sku, random.randrange(1, 3)) for part in chosen),
    )


def _oddities(random: Random) -> list[Product]:
    picture = _picture(random)
    last = Product(LAST_PIECES_SKU, "signed poster", "desk", 4_900, picture, LAST_PIECES_STOCK)
    dented = Product(BROKEN_PICTURE_SKU, "dented tin", "desk", 99, '{"rings": ', USUAL_STOCK)
    return [last, dented]


def _picture(random: Random) -> str:
    return json.JSONEncoder().encode(
        {"rings": random.randrange(2, 9), "tint": [random.randrange(256) for _ in range(3)]}
    )


def _edit_distance(left: str, right: str) -> int:
    above = list(range(len(right) + 1))
    for row, letter in enumerate(left, start=1):
        current = [row]
        for column, other in enumerate(right, start=1):
            change = above[column - 1] + (letter != other)
            current.append(min(change, above[column] + 1, current[-1] + 1))
        above = current
    return above[-1]
