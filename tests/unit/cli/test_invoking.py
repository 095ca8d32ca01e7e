"""Payloads of `wisp invoke`, and what `wisp status` joins."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wispd.base.errors import Fault
from wispd.cli.invoking import BODY_MAX, kind_of, read_payload
from wispd.cli.status import composed


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b'{"a": 1}', "application/json"),
        (b"12", "application/json"),
        (b"hello", "text/plain; charset=utf-8"),
        (b"", "text/plain; charset=utf-8"),
        (b"\xff\x00", "application/octet-stream"),
        (b"[" * 100_000, "text/plain; charset=utf-8"),
    ],
)
def test_json_is_sent_as_json(payload: bytes, kind: str) -> None:
    assert kind_of(payload) == kind


@given(st.binary())
def test_any_payload_has_a_kind(payload: bytes) -> None:
    assert "/" in kind_of(payload)


def test_payloads_come_from_the_line_a_file_or_standard_input(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"from file")
    assert read_payload(None, bytes) == (None, "")
    assert read_payload("[1]", bytes) == (b"[1]", "application/json")
    assert read_payload(f"@{tmp_path / 'f'}", bytes)[0] == b"from file"
    assert read_payload("-", lambda _: b"from stdin")[0] == b"from stdin"


def test_a_missing_file_and_a_huge_payload_are_named(tmp_path: Path) -> None:
    with pytest.raises(Fault) as missing:
        read_payload(f"@{tmp_path / 'none'}", bytes)
    assert missing.value.code == "not_found"
    with pytest.raises(Fault) as huge:
        read_payload("-", bytes)  # bytes(n) is n zeros
    assert huge.value.code == "payload_too_large"
    assert str(BODY_MAX) in huge.value.message


def test_status_joins_what_is_deployed_with_what_runs() -> None:
    function = {"name": "a", "namespace": "default", "url": "u", "enabled": True, "live": {"number": 3}}
    idle = function | {"name": "b"}
    pool = {"namespace": "default", "name": "a", "instances": {"ready": 1, "busy": 2, "starting": 0}, "waiting": 4}
    told = {"functions": 2, "gateway": {"reachable": True, "functions": [pool]}, "version": "0.1.0"}
    document = composed({"state": "ready"}, told, [function, idle])
    assert document["state"] == "ready"
    assert document["gateway"] == {"reachable": True}
    shown = {one["name"]: (one["version"], one["instances"], one["waiting"]) for one in document["functions"]}
    assert shown == {
        "a": (3, {"ready": 1, "busy": 2, "starting": 0}, 4),
        "b": (3, {"ready": 0, "busy": 0, "starting": 0}, 0),
    }
