"""Invoices: written while the order is being booked, kept compressed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from . import journal
from .codec import compressed
from .pricing import TAX, Money, unit_price

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .catalogue import Product

Line = tuple[str, int, int]


def build_invoice(
    number: int, lines: Sequence[tuple[str, int]], products: Mapping[str, Product]
) -> bytes:
    """The invoice for order ``number``, as it is kept in the books."""
    with journal.inside("shop.invoices.build_invoice"):
        printed = []
        for sku, count, cents in invoice_lines(lines, products):
            tax_cents = Money.rounded(cents * TAX)
            printed.append(
                f"{count:3} x {sku:<12} {Money.text(cents):>12} (tax {Money.text(tax_cents)})"
            )
        with journal.around("json.dumps"):
            text = json.dumps({"number": number, "lines": printed}, indent=1)
        return compressed(text.encode())


def invoice_lines(
    lines: Sequence[tuple[str, int]], products: Mapping[str, Product]
) -> Iterator[Line]:
    """Number, count and price in cents of each line of an order."""
    with journal.inside("shop.invoices.invoice_lines") as entry:
        for sku, count in lines:
            line = sku, count, count * unit_price(sku, products)
            with entry.paused():
                yield line
