import main


def test_an_order_is_priced():
    assert main.order(main.Order("tea", 2)) == {"total": 7.0}


def test_an_unknown_product_is_said():
    assert "error" in main.order(main.Order("car"))
