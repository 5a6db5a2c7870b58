"""The shop's books: a SQLite file. A connection belongs to the thread that opened it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from . import journal
from .catalogue import Product
from .errors import OutOfStock, UnknownProduct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BUSY_TIMEOUT_SECONDS = 60.0

_SCHEMA = (
    """CREATE TABLE product (sku TEXT PRIMARY KEY, name TEXT, category TEXT, price_cents INTEGER,
       picture TEXT, stock INTEGER, parts TEXT)""",
    """CREATE TABLE sale (id INTEGER PRIMARY KEY, number INTEGER, total_cents INTEGER,
       invoice BLOB)""",
)
_COLUMNS = "sku, name, category, price_cents, picture, stock, parts"


class Storage:
    """One connection to the books."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
        self._execute("PRAGMA synchronous = OFF")

    @classmethod
    def create(cls, path: str, products: Iterable[Product]) -> Storage:
        """Open new books at ``path`` and enter the products."""
        with journal.inside("shop.storage.Storage.create"):
            storage = cls(path)
            # Readers and the one writer of the moment do not wait for each other.
            storage._execute("PRAGMA journal_mode = WAL")
            for statement in _SCHEMA:
                storage._execute(statement)
            storage._enter(products)
            return storage

    def close(self) -> None:
        """Give up the connection."""
        self._connection.close()

    def product(self, sku: str) -> Product:
        """The product with this number; raises `UnknownProduct`."""
        with journal.inside("shop.storage.Storage.product"):
            rows = self._rows(f"SELECT {_COLUMNS} FROM product WHERE sku = ?", sku)
            if not rows:
                raise UnknownProduct(sku)
            return _product(rows[0])

    def products(self) -> dict[str, Product]:
        """All products by number, in the order they were entered."""
        rows = self._rows(f"SELECT {_COLUMNS} FROM product ORDER BY rowid")
        return {row[0]: _product(row) for row in rows}

    def reserve(self, lines: Sequence[tuple[str, int]]) -> None:
        """Take the pieces off the stock, all or none; raises `OutOfStock`."""
        with journal.inside("shop.storage.Storage.reserve"), self._transaction():
            for sku, wanted in lines:
                self._take(sku, wanted)

    def record_sale(self, number: int, total_cents: int, invoice: bytes) -> None:
        """Enter a sale."""
        self._execute(
            "INSERT INTO sale (number, total_cents, invoice) VALUES (?, ?, ?)",
            (number, total_cents, invoice),
        )

    def sales(self) -> tuple[int, int]:
        """How many sales there were, and their sum in cents."""
        with journal.inside("shop.storage.Storage.sales"):
            [(count, cents)] = self._rows("SELECT count(*), total(total_cents) FROM sale")
            return count, int(cents)

    def _take(self, sku: str, wanted: int) -> None:
        rows = self._rows("SELECT stock FROM product WHERE sku = ?", sku)
        left = rows[0][0] if rows else 0
        if left < wanted:
            raise OutOfStock(sku, wanted, left)
        self._execute("UPDATE product SET stock = stock - ? WHERE sku = ?", (wanted, sku))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE queues the writers up: none of them finds out half-way that it must give up.
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._execute("ROLLBACK")
            raise
        self._execute("COMMIT")

    def _enter(self, products: Iterable[Product]) -> None:
        encode = json.JSONEncoder().encode
        rows = [
            (p.sku, p.name, p.category, p.price_cents, p.picture, p.stock, encode(p.parts))
            for p in products
        ]
        with self._transaction():
            self._connection.executemany("INSERT INTO product VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def _rows(self, statement: str, *values: object) -> list[Any]:
        cursor = self._execute(statement, values)
        with closing(cursor), journal.around("sqlite3.Cursor.fetchall"):
            return cursor.fetchall()

    def _execute(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        with journal.around("sqlite3.Connection.execute"):
            return self._connection.execute(statement, values)


def _product(row: tuple[Any, ...]) -> Product:
    sku, name, category, price_cents, picture, stock, encoded = row
    parts = tuple((part, count) for part, count in json.loads(encoded))
    return Product(sku, name, category, price_cents, picture, stock, parts)
