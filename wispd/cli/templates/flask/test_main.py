import main


def test_it_greets():
    assert main.app.test_client().get("/?name=you").json == {"hello": "you"}


def test_it_answers_what_it_gets():
    assert main.app.test_client().post("/echo", json=[1, 2]).json == [1, 2]
