"""App files on a real node: the example, its document, events of other functions, one entry point by itself."""

from __future__ import annotations

from pathlib import Path

import httpx
import openapi_spec_validator
from nodes import Node

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "shop"
MIXED = """
import asyncio
from wisp import App, acall, call
app = App("mixed")

@app.get("/async")
async def summary():
    return (await acall("shop", None)).data

@app.get("/plain")
def plain():
    return call("shop", None).data

@app.get("/pieces")
async def pieces():
    for n in range(3):
        yield f"{n}\\n"
        await asyncio.sleep(0)
"""


def shop(node: Node) -> str:
    """Deploy the example; return its URL."""
    deployed = node.json("deploy", str(EXAMPLE))
    assert (deployed["name"], deployed["live"]["dialect"]) == ("shop", "app"), "named after the app"
    return node.url + "/fn/shop"


def ask(method: str, url: str, **given: object) -> httpx.Response:
    return httpx.request(method, url, timeout=30, trust_env=False, **given)  # type: ignore[arg-type]


def test_the_example_sells(shared: Node) -> None:
    url = shop(shared)
    assert [one["sku"] for one in ask("GET", url + "/products?cheaper_than=2").json()] == ["pen"]
    order = {"lines": [{"sku": "pen", "count": 2}, {"sku": "ink"}], "note": "soon"}
    placed = ask("POST", url + "/orders", json=order)
    assert (placed.status_code, placed.json()["total"], placed.json()["state"]) == (201, "6.90", "new")
    assert ask("GET", f"{url}/orders/{placed.json()['order_id']}").json() == placed.json()
    assert ask("HEAD", url + "/orders").status_code == 200
    short = ask("POST", url + "/orders", json={"lines": [{"sku": "ink", "count": 99}]})
    assert (short.status_code, short.json()["detail"]) == (409, "there are not 99 of ink")
    wrong = ask("POST", url + "/orders", json={"lines": [{"sku": "pen"}, {"count": "x"}]})
    assert (wrong.status_code, wrong.headers["content-type"]) == (400, "application/problem+json")
    assert wrong.json()["errors"] == [
        {"field": "body.lines[1].sku", "message": "is missing, expected text"},
        {"field": "body.lines[1].count", "message": 'expected an integer, got "x"'},
    ]
    assert ask("PUT", url + "/products/new", json={"sku": "new", "price": -1}).status_code == 400
    assert ask("PATCH", url + "/products").headers["allow"] == "GET, HEAD"
    assert ask("GET", url + "/nothing").status_code == 404


def test_its_document_is_valid_and_addresses_the_function(shared: Node) -> None:
    url = shop(shared)
    document = ask("GET", url + "/openapi.json").json()
    openapi_spec_validator.validate(document)
    assert document["servers"] == [{"url": "/fn/shop"}]
    port = shared.url.rpartition(":")[2]
    host = {"host": f"shop.localhost:{port}"}
    assert ask("GET", shared.url + "/openapi.json", headers=host).json()["servers"] == [{"url": "/"}]
    page = ask("GET", url + "/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<main>" in page.text


def test_the_entry_points_are_kept_and_shown(shared: Node) -> None:
    shop(shared)
    entries = {one["name"]: one for one in shared.json("show", "shop")["live"]["entries"]}
    assert entries["sweep"] == {"kind": "every", "name": "sweep", "schedule": "5m"}
    paid = {"kind": "on", "name": "mark_paid", "type": "payment.received", "options": {"retries": 5}}
    assert entries["mark_paid"] == paid
    shown = shared.cli("show", "shop").stdout.decode()
    for words in ("GET /orders/{order_id}", "every", "5m", "payment.received", "retries=5"):
        assert words in shown, shown


def test_other_functions_call_it_from_every_kind_of_callable(shared: Node) -> None:
    shop(shared)
    shared.deploy("mixed", MIXED)
    assert set(shared.get("/fn/mixed/async").json()) == {"orders", "paid"}
    assert set(shared.get("/fn/mixed/plain").json()) == {"orders", "paid"}
    assert shared.get("/fn/mixed/pieces").text == "0\n1\n2\n"
    nobody = shared.json("deploy", str(shared.write("quiet", MIXED.replace('"mixed"', '"quiet"'))))
    assert nobody["name"] == "quiet"
    source = "import wisp\ndef handle(event): return wisp.call('quiet', 1).data\n"
    shared.deploy("asker", source)
    failed = shared.get("/fn/asker")
    assert (failed.status_code, failed.json()["code"]) == (502, "function_error")
    assert "no entry point takes events of type 'wisp.call'" in failed.json()["detail"]


def test_one_entry_point_is_a_function_of_its_own(shared: Node) -> None:
    shared.deploy("list", (EXAMPLE / "shop.py").read_text(), "--name", "orders", "--handler", "list:app.list_orders")
    assert [one["name"] for one in shared.json("show", "orders")["live"]["entries"]] == ["list_orders"]
    assert ask("GET", shared.url + "/fn/orders/orders").json() == []
    assert ask("GET", shared.url + "/fn/orders/products").status_code == 404


def test_an_app_that_can_not_be_served_does_not_go_live(shared: Node) -> None:
    source = 'from wisp import App\napp = App("bad")\n@app.get("/{a}")\ndef f(b: int): ...\n'
    done = shared.cli("deploy", str(shared.write("bad", source)))
    assert done.returncode != 0
    assert b"GET /{a} (f): the path has {a}, which is no parameter of f" in done.stderr
    assert shared.get("/fn/bad").status_code == 404
