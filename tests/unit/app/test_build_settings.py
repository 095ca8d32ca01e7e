"""What the operator's environment says about package indexes."""

from __future__ import annotations

from pathlib import Path

from wispd.app.settings import build_environment, load


def test_uv_and_pip_are_understood_and_uv_wins(tmp_path: Path) -> None:
    found = build_environment(
        {
            "UV_DEFAULT_INDEX": "https://one.example.org/simple",
            "PIP_INDEX_URL": "https://two.example.org/simple",
            "PIP_EXTRA_INDEX_URL": "https://three.example.org/simple https://four.example.org/simple",
            "PIP_FIND_LINKS": f"{tmp_path} {tmp_path}/missing",
            "PIP_CERT": "/etc/ssl/ca.pem",
            "UV_OFFLINE": "1",
        }
    )
    assert found == {
        "index_url": "https://one.example.org/simple",
        "extra_index_urls": ["https://three.example.org/simple", "https://four.example.org/simple"],
        "find_links": [str(tmp_path)],
        "ca_file": "/etc/ssl/ca.pem",
        "offline": True,
    }


def test_names_of_uv_s_indexes_are_dropped() -> None:
    found = build_environment({"UV_INDEX": "inner=https://one.example.org/simple https://two.example.org/?a=b"})
    assert found["extra_index_urls"] == ["https://one.example.org/simple", "https://two.example.org/?a=b"]


def test_nothing_set_changes_nothing(tmp_path: Path) -> None:
    assert build_environment({}) == {}
    (tmp_path / "wisp-node.toml").write_text('[build]\ntimeout_s = 5.0\nallow = ["10.0.0.1:443"]\n')
    settings = load(str(tmp_path), {})
    assert settings.build.timeout_s == 5.0
    assert settings.build.allow == ("10.0.0.1:443",)
