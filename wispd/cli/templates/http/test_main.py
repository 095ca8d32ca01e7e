import main

from wisp.testing import context, http_event


def test_it_greets():
    assert main.handle(http_event("GET", "/?name=you"), context()) == {"hello": "you"}


def test_a_long_name_is_refused():
    answer = main.handle(http_event("GET", "/?name=" + "x" * 51), context())
    assert answer.status == 400
