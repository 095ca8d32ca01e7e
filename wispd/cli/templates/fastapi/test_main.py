import main
from fastapi.testclient import TestClient

client = TestClient(main.app)


def test_an_order_is_priced():
    assert client.post("/orders", json={"product": "tea", "quantity": 2}).json() == {"total": 7.0}


def test_an_unknown_product_is_not_found():
    assert client.post("/orders", json={"product": "car"}).status_code == 404
