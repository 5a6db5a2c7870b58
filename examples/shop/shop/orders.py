"""Orders: read, priced, booked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from . import invoices, journal
from .errors import BadOrder, UnknownProduct
from .pricing import total_price

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from .storage import Storage

AnyOrder = TypeVar("AnyOrder", bound="Order")


@dataclass(frozen=True)
class Receipt:
    """What the customer gets back."""

    number: int
    total_cents: int
    invoice_bytes: int
    note: str


@dataclass(frozen=True)
class Order:
    """What a customer asks for."""

    number: int
    lines: list[tuple[str, int]]
    coupon: str | None

    extra_cents = 0
    note = "thank you"

    @classmethod
    def from_json(cls: type[AnyOrder], number: int, body: bytes) -> AnyOrder:
        """Read an order, of the class this is called on; raises `BadOrder`."""
        with journal.inside("shop.orders.Order.from_json"):
            try:
                fields = json.loads(body)
                lines = [(str(line["sku"]), int(line["count"])) for line in fields["lines"]]
                coupon = fields.get("coupon")
            except (ValueError, TypeError, LookupError, AttributeError) as error:
                raise BadOrder(f"this is not an order: {error}") from error
            if not lines or any(count < 1 for _, count in lines):
                raise BadOrder("an order has lines, and each asks for one piece or more")
            return cls(number, lines, coupon)


@dataclass(frozen=True)
class GiftOrder(Order):
    """An order wrapped in paper."""

    extra_cents = 350
    note = "wrapped with care"


def place_order(order: Order, storage: Storage, pool: Executor) -> Receipt:
    """Book the order; raises what stands in the way of it."""
    with journal.inside("shop.orders.place_order"):
        products = storage.products()
        for sku, _ in order.lines:
            if sku not in products:
                raise UnknownProduct(sku)
        total = total_price(order.lines, products, pool=pool, coupon=order.coupon)
        total += order.extra_cents
        storage.reserve(order.lines)
        build = journal.carry(invoices.build_invoice)
        invoice = pool.submit(build, order.number, order.lines, products).result()
        storage.record_sale(order.number, total, invoice)
        return Receipt(order.number, total, len(invoice), order.note)
