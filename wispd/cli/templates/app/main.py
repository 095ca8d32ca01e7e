"""An app: one function with many typed entry points."""

from dataclasses import dataclass

from wisp import App

app = App("{{name}}")
PRICES = {"tea": 3.50, "cup": 9.99}


@dataclass
class Order:
    product: str
    quantity: int = 1


@app.get("/products")
def products() -> dict:
    """List what there is."""
    return {"products": PRICES}


@app.post("/orders")
def order(order: Order) -> dict:
    """Price an order; types are checked before this runs."""
    if order.product not in PRICES:
        return {"error": f"there is no {order.product}"}
    return {"total": round(PRICES[order.product] * order.quantity, 2)}
