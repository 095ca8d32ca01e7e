"""The document of an App: valid OpenAPI 3.1, and true."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import openapi_spec_validator
import pydantic

from wisp import App, Body, Cookie, Header, Query, Response
from wisp.runtime.apps.page import page
from wisp.runtime.apps.site import Site
from wisp.runtime.settings import Settings


@dataclass
class Item:
    """Something in an order."""

    sku: str
    price: float = 1.0


@dataclass
class Order:
    items: list[Item]
    again: Order | None = None


class Meter(msgspec.Struct):
    value: float
    next: Meter | None = None


class Model(pydantic.BaseModel):
    size: int
    inner: list[Model] = []


def shop() -> App:
    app = App("shop", version="1.2", description="Sells.")

    @app.get("/orders/{order_id}", tags=["orders"])
    def order(
        order_id: int, since: datetime | None = None, page: Annotated[int, Query(description="From 1")] = 1
    ) -> Order:
        """Show one order.

        With its items.
        """
        raise NotImplementedError

    @app.delete("/orders/{key}", status=204)
    def remove(
        key: int, token: Annotated[str, Header(alias="X-Token")], who: Annotated[str, Cookie()] = ""
    ) -> None: ...

    @app.post("/orders", status=201)
    def make(order: Order) -> list[Item]: ...

    @app.route("/both", methods=["GET", "POST"], name="both")
    def both() -> str: ...

    @app.put("/raw")
    def raw(content: bytes) -> bytes: ...

    @app.put("/text")
    def text(content: Annotated[str, Body()], kind: Literal["a", 1] = "a") -> Response: ...

    @app.get("/files/{rest:path}")
    def files(rest: str) -> Iterator[str]: ...

    @app.post("/meters")
    def meters(meter: Meter) -> Model: ...

    @app.patch("/models")
    def models(model: list[Model], key: UUID | None = None) -> dict[str, int] | None: ...

    @app.get("/hidden", hidden=True)
    def hidden() -> None: ...

    @app.on("order.created")
    def charge(order: Order) -> None: ...

    return app


def document_of(app: App, mount: str = "/fn/shop") -> Any:
    site = Site(app, Settings(function="shop", env={}, version=7))
    site.check()
    return json.loads(site._document(mount))


def test_the_document_is_valid() -> None:
    openapi_spec_validator.validate(document_of(shop()))
    openapi_spec_validator.validate(document_of(App("empty")))


def test_it_says_what_is_there() -> None:
    found = document_of(shop())
    assert found["info"] == {"title": "shop", "version": "1.2", "description": "Sells."}
    assert found["servers"] == [{"url": "/fn/shop"}]
    assert set(found["paths"]) == {
        "/orders/{order_id}", "/orders", "/both", "/raw", "/text", "/files/{rest}", "/meters", "/models",
    }  # fmt: skip
    order = found["paths"]["/orders/{order_id}"]
    assert (order["get"]["summary"], order["get"]["description"]) == ("Show one order.", "With its items.")
    assert order["get"]["tags"] == ["orders"]
    assert [(one["name"], one["in"], one["required"]) for one in order["get"]["parameters"]] == [
        ("order_id", "path", True), ("since", "query", False), ("page", "query", False),
    ]  # fmt: skip
    assert order["get"]["parameters"][2]["schema"] == {"type": "integer", "default": 1}
    # One template for one shape of path: the parameter is called as the first route calls it.
    assert [one["name"] for one in order["delete"]["parameters"]] == ["order_id", "x-token", "who"]
    assert set(order["delete"]["responses"]) == {"204", "400", "default"}
    assert found["paths"]["/both"]["post"]["operationId"] == "both_post"
    assert list(found["paths"]["/raw"]["put"]["requestBody"]["content"]) == ["application/octet-stream"]
    assert list(found["paths"]["/text"]["put"]["requestBody"]["content"]) == ["text/plain"]
    schemas = found["components"]["schemas"]
    assert {"Order", "Item", "Meter", "Model"} <= set(schemas)
    assert schemas["Item"]["description"] == "Something in an order."
    assert schemas["Item"]["required"] == ["sku"]
    made = found["paths"]["/orders"]["post"]["responses"]["201"]["content"]["application/json"]["schema"]
    assert made == {"type": "array", "items": {"$ref": "#/components/schemas/Item"}}


def test_classes_of_one_name_are_kept_apart() -> None:
    def made(kind: type) -> type:
        return dataclass(type("Same", (), {"__annotations__": {"x": kind}, "__module__": kind.__name__}))

    app = App("x")
    for kind in (int, str):

        def take(order: Any) -> None: ...

        take.__annotations__["order"] = made(kind)
        app.post(f"/{kind.__name__}", name=f"take_{kind.__name__}")(take)
    found = document_of(app)
    openapi_spec_validator.validate(found)
    kinds = {name: schema["properties"]["x"]["type"] for name, schema in found["components"]["schemas"].items()}
    assert sorted(kinds.values()) == ["integer", "string"]


def test_the_page_loads_nothing_from_elsewhere() -> None:
    status, block, body = page('<script>"evil"')
    assert status == 200
    assert isinstance(body, bytes)
    html = body.decode()
    assert '<script>"evil"' not in html
    assert "&lt;script&gt;" in html
    assert not re.search(r"https?://|//[a-z]|@import|url\(| src=|<link", html), "nothing comes from another host"
    policy = block.decode()
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "innerHTML" not in html
