"""Settings of a node, units as people write them, and moments of a query."""

from __future__ import annotations

from pathlib import Path

import pytest

from wispd.api.admin_records import moment_us
from wispd.app.settings import FILE_NAME, load
from wispd.base.errors import Fault
from wispd.control.names import name_key, reserved_path
from wispd.control.units import duration_s, size_bytes

NOW_US = 1_750_000_000_000_000


def test_flags_win_over_the_file_and_the_file_over_the_defaults(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("port = 1\nadmin_port = 2\n[limits]\nconcurrency = 7\n")
    settings = load(str(tmp_path), {"port": 3, "host": None})
    assert (settings.port, settings.admin_port, settings.host) == (3, 2, "127.0.0.1")
    assert (settings.limits.concurrency, settings.limits.package_files) == (7, 20_000)


@pytest.mark.parametrize(
    ("content", "word"),
    [("prot = 1", "prot"), ("[limits]\nbody = 1", "body"), ('port = "x"', "port"), ("= 1", "line 1")],
)
def test_a_wrong_file_is_named_with_its_key(tmp_path: Path, content: str, word: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    with pytest.raises(Fault) as caught:
        load(str(tmp_path), {})
    assert caught.value.code == "invalid_argument"
    assert FILE_NAME in caught.value.message
    assert word in caught.value.message


@pytest.mark.parametrize(
    ("text", "size"), [("256MB", 2**28), ("1.5 GiB", 3 * 2**29), ("10kb", 10_240), (5, 5), ("7", 7), ("1 b", 1)]
)
def test_sizes(text: object, size: int) -> None:
    assert size_bytes(text, "memory") == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("500ms", 0.5), ("5m", 300), ("1h", 3600), (2.5, 2.5), ("3", 3)]
)
def test_durations(text: object, seconds: float) -> None:
    assert duration_s(text, "timeout") == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1 parsec", "1e9", "\u0661s", None, True, float("nan"), float("inf"), [], -1]
)
def test_what_is_no_quantity_is_refused(text: object) -> None:
    for read in (size_bytes, duration_s):
        with pytest.raises(Fault, match="key is"):
            read(text, "key")


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("", 0),
        ("10m", NOW_US - 600_000_000),
        ("1750000000", NOW_US),
        ("2025-06-15T15:06:40Z", NOW_US),
        ("2025-06-15T17:06:40 02:00", NOW_US),
    ],
)
def test_moments(text: str, moment: int) -> None:
    assert moment_us(text, "since", NOW_US) == moment


@pytest.mark.parametrize("text", ["yesterday", "2025-06-15", "2025-06-15T15:06:40", "-5m"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(Fault, match="since"):
        moment_us(text, "since", NOW_US)


def test_reserved_paths_and_keys_of_names() -> None:
    assert all(reserved_path(path) for path in ("/fn", "/fn/a", "/async", "/events/x", "/_wisp/status", "/_wisp*"))
    assert not any(reserved_path(path) for path in ("/", "/fnord", "/a/fn", "/eventsource"))
    assert name_key("Con") == name_key("CON")
