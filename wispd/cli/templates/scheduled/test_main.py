import main


def test_what_is_missing_is_found(capsys):
    assert main.restock() == {"missing": ["bread"]}
    assert "bread" in capsys.readouterr().out
