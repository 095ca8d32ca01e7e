"""Settings: where they come from, which one wins, what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from wispd.app import settings
from wispd.base.errors import Fault


def test_defaults_are_those_of_the_product(tmp_path: Path) -> None:
    known = settings.load(str(tmp_path), {})
    assert (known.host, known.port, known.admin_host, known.admin_port) == ("127.0.0.1", 8080, "127.0.0.1", 8081)
    assert known.limits.concurrency == 1000
    assert known.limits.body_bytes == 6 * 1024 * 1024
    assert known.limits.package_zip_bytes == 50 * 1024 * 1024
    assert known.limits.package_bytes == 250 * 1024 * 1024
    assert known.drain_s == 30


def test_flags_win_over_the_file_and_none_is_not_given(tmp_path: Path) -> None:
    (tmp_path / settings.FILE_NAME).write_text('port = 1\nhost = "::1"\n[limits]\nconcurrency = 7\n')
    known = settings.load(str(tmp_path), {"port": 2, "host": None})
    assert (known.port, known.host, known.limits.concurrency) == (2, "::1", 7)


def test_the_data_directory_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings.load("here", {}).data_dir == str(tmp_path / "here")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("prot = 1", "prot"), ('port = "x"', "port"), ("port = \n", "line 1"), ("[limits]\nx = 1", "limits")],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, wanted: str) -> None:
    (tmp_path / settings.FILE_NAME).write_text(text)
    with pytest.raises(Fault) as refused:
        settings.load(str(tmp_path), {})
    assert refused.value.code == "invalid_argument"
    assert settings.FILE_NAME in refused.value.message
    assert wanted in refused.value.message


def test_the_environment_names_a_place_and_a_remote_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WISP_DATA", "/somewhere")
    monkeypatch.setenv("WISP_URL", "http://node:8081")
    monkeypatch.setenv("WISP_TOKEN", "t")
    assert settings.default_data_dir() == "/somewhere"
    assert settings.remote() == ("http://node:8081", "t")
