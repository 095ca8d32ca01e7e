"""A small shop: typed products and orders, a timer, a handler of events. It forgets all when its instance ends."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

from wisp import App, HttpError

app = App("shop", version="1.0", description="Products, orders, and what happens to them.")


class State(enum.Enum):
    NEW = "new"
    PAID = "paid"


@dataclass
class Product:
    """Something that can be ordered."""

    sku: str
    price: Decimal
    stock: int = 0

    def __post_init__(self) -> None:
        if self.price < 0:
            raise ValueError("price must not be negative")


@dataclass
class Line:
    """How many of a product."""

    sku: str
    count: int = 1


@dataclass
class NewOrder:
    """What a customer sends."""

    lines: list[Line]
    note: str | None = None


@dataclass
class Order:
    """An order as the shop keeps it."""

    order_id: int
    lines: list[Line]
    total: Decimal
    note: str | None = None
    state: State = State.NEW
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


products = {"pen": Product("pen", Decimal("1.20"), 100), "ink": Product("ink", Decimal("4.50"), 10)}
orders: dict[int, Order] = {}
numbers = count(1)


@app.get("/products", tags=["products"])
def list_products(cheaper_than: Decimal | None = None) -> list[Product]:
    """List what there is to buy."""
    found = products.values()
    return [one for one in found if cheaper_than is None or one.price < cheaper_than]


@app.put("/products/{sku}", tags=["products"])
def put_product(sku: str, product: Product) -> Product:
    """Add or change a product."""
    if product.sku != sku:
        raise HttpError(409, f"the path says {sku}, the body {product.sku}")
    products[sku] = product
    return product


@app.post("/orders", status=201, tags=["orders"])
def create_order(order: NewOrder) -> Order:
    """Place an order.

    All of its products must be in stock.
    """
    if not order.lines:
        raise HttpError(400, "an order needs at least one line")
    for line in order.lines:
        product = products.get(line.sku)
        if product is None or product.stock < line.count:
            raise HttpError(409, f"there are not {line.count} of {line.sku}", sku=line.sku)
    for line in order.lines:
        products[line.sku].stock -= line.count
    total = sum((products[line.sku].price * line.count for line in order.lines), Decimal(0))
    placed = Order(next(numbers), order.lines, total, order.note)
    orders[placed.order_id] = placed
    return placed


@app.get("/orders/{order_id}", tags=["orders"])
def show_order(order_id: int) -> Order:
    """Show one order."""
    if order_id not in orders:
        raise HttpError(404, f"there is no order {order_id}")
    return orders[order_id]


@app.get("/orders", tags=["orders"])
def list_orders(state: State | None = None) -> list[Order]:
    """List orders, those of one state if it is given."""
    return [one for one in orders.values() if state is None or one.state is state]


@dataclass
class Payment:
    """What the bank tells."""

    order_id: int
    amount: Decimal


@app.on("payment.received", retries=5)
def mark_paid(payment: Payment) -> str:
    """Note that an order is paid."""
    order = orders.get(payment.order_id)
    if order is None:
        return f"there is no order {payment.order_id}"
    order.state = State.PAID
    return f"order {payment.order_id} is paid"


@app.on("wisp.call")
def summary() -> dict[str, int]:
    """Tell another function how many orders there are."""
    return {"orders": len(orders), "paid": sum(one.state is State.PAID for one in orders.values())}


@app.every("5m")
def sweep() -> None:
    """Forget paid orders."""
    for order_id in [key for key, one in orders.items() if one.state is State.PAID]:
        del orders[order_id]
