"""A FastAPI app, served as it is."""

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI(title="{{name}}")
PRICES = {"tea": 3.50, "cup": 9.99}


class Order(BaseModel):
    product: str
    quantity: int = 1


@app.get("/products")
async def products() -> dict[str, float]:
    return PRICES


@app.post("/orders")
async def order(order: Order) -> dict[str, float]:
    if order.product not in PRICES:
        raise HTTPException(404, f"there is no {order.product}")
    return {"total": round(PRICES[order.product] * order.quantity, 2)}
