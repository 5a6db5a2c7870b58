"""What can go wrong with a request through no fault of the shop, and the status each answers."""

from __future__ import annotations


class ShopError(Exception):
    """A request that cannot be served as asked."""

    status = "400 Bad Request"


class BadOrder(ShopError):
    """The order cannot be read."""


class UnknownCoupon(ShopError):
    """The coupon is none of ours."""

    def __init__(self, code: str) -> None:
        super().__init__(f"no coupon has the code {code!r}")


class UnknownPage(ShopError):
    """Nothing answers at this address."""

    status = "404 Not Found"


class UnknownProduct(ShopError):
    """No product has this number."""

    status = "404 Not Found"

    def __init__(self, sku: str) -> None:
        super().__init__(f"no product has the number {sku!r}")


class OutOfStock(ShopError):
    """More was ordered than is left."""

    status = "409 Conflict"

    def __init__(self, sku: str, wanted: int, left: int) -> None:
        super().__init__(f"{wanted} of {sku} wanted, {left} left")
        self.sku = sku
        self.wanted = wanted
        self.left = left
