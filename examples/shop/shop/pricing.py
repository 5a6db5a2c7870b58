"""What things cost."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

from . import journal
from .errors import UnknownCoupon

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor

    from .catalogue import Product

COUPONS = {"SPRING": 0.10, "STAFF": 0.25}
BUNDLE_DISCOUNT = 0.08
TAX = 0.19


class Money:
    """Sums of money are whole cents."""

    @staticmethod
    def rounded(cents: float, *, step: int = 1) -> int:
        """The nearest multiple of ``step`` cents."""
        with journal.inside("shop.pricing.Money.rounded"):
            return round(cents / step) * step

    @staticmethod
    def text(cents: int) -> str:
        """For people to read."""
        return f"{cents // 100}.{cents % 100:02}"


def total_price(
    lines: Sequence[tuple[str, int]],
    products: Mapping[str, Product],
    /,
    *,
    pool: Executor,
    coupon: str | None = None,
) -> int:
    """Cents for all the lines, the coupon taken off; the lines are priced side by side."""
    with journal.inside("shop.pricing.total_price"):
        rate = coupon_rate(coupon)
        skus = [sku for sku, _ in lines]
        prices = pool.map(journal.carry(unit_price), skus, repeat(products))
        full = sum(price * count for price, (_, count) in zip(prices, lines, strict=True))
        return Money.rounded(full * (1 - rate), step=5)


def unit_price(sku: str, products: Mapping[str, Product]) -> int:
    """Cents for one piece; a bundle costs a little less than its parts, which may be bundles."""
    with journal.inside("shop.pricing.unit_price"):
        product = products[sku]
        if not product.parts:
            return product.price_cents
        parts = sum(unit_price(part, products) * count for part, count in product.parts)
        return Money.rounded(parts * (1 - BUNDLE_DISCOUNT))


def coupon_rate(code: str | None) -> float:
    """The share of the price that a coupon takes off."""
    if code is None:
        return 0.0
    try:
        return COUPONS[code]
    except KeyError:
        raise UnknownCoupon(code) from None
