"""Sealing: what opens, what does not, and that a key file is never replaced by accident."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import msgspec
import pytest

from wispd.adapters.secrets.keyfile import KeyFile
from wispd.adapters.secrets.keyring import Keyring
from wispd.base.errors import Fault
from wispd.model.secret import SealedSecret

VALUE = b"a canary that must not be seen"


def unsealed(name: str = "A", *, namespace: str = "default", version: int = 1) -> SealedSecret:
    return SealedSecret(
        namespace=namespace,
        name=name,
        version=version,
        key_id="",
        wrapped=b"",
        sealed=b"",
        created_us=1,
        updated_us=1,
    )


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    return Keyring(KeyFile(tmp_path / "secret.key"))


def test_what_is_sealed_opens_here_and_after_a_restart(ring: Keyring, tmp_path: Path) -> None:
    sealed = ring.seal(unsealed(), VALUE)
    assert ring.open(sealed) == VALUE
    again = Keyring(KeyFile(tmp_path / "secret.key"))
    again.require(frozenset({sealed.key_id}))
    assert again.open(sealed) == VALUE
    assert VALUE not in msgspec.json.encode(sealed)


def test_the_same_value_is_sealed_differently_each_time(ring: Keyring) -> None:
    first, second = ring.seal(unsealed(), VALUE), ring.seal(unsealed(), VALUE)
    assert first.sealed != second.sealed
    assert first.wrapped != second.wrapped


@pytest.mark.parametrize("where", [{"name": "B"}, {"namespace": "other"}, {"version": 2}])
def test_a_ciphertext_moved_elsewhere_is_refused(ring: Keyring, where: dict[str, object]) -> None:
    sealed = ring.seal(unsealed(), VALUE)
    assert ring.open(sealed) == VALUE  # the control: where it belongs it opens
    with pytest.raises(Fault, match="changed, or moved") as refused:
        ring.open(msgspec.structs.replace(sealed, **where))
    assert VALUE.decode() not in "".join(traceback.format_exception(refused.value))


def test_parts_of_two_secrets_do_not_make_one(ring: Keyring) -> None:
    first, second = ring.seal(unsealed(), VALUE), ring.seal(unsealed(), b"another value")
    for part in ("sealed", "wrapped"):
        with pytest.raises(Fault):
            ring.open(msgspec.structs.replace(first, **{part: getattr(second, part)}))


def test_every_flipped_bit_is_noticed(ring: Keyring) -> None:
    sealed = ring.seal(unsealed(), VALUE)
    for part in ("sealed", "wrapped"):
        raw = getattr(sealed, part)
        for position in range(len(raw) * 8):
            broken = bytearray(raw)
            broken[position // 8] ^= 1 << position % 8
            with pytest.raises(Fault):
                ring.open(msgspec.structs.replace(sealed, **{part: bytes(broken)}))
    with pytest.raises(Fault):
        ring.open(msgspec.structs.replace(sealed, sealed=b"short"))


def test_after_a_rotation_the_former_key_is_needed_no_more(ring: Keyring, tmp_path: Path) -> None:
    sealed = ring.seal(unsealed(), VALUE)
    former = sealed.key_id
    current = ring.begin_rotation()
    assert ring.open(sealed) == VALUE  # under way both open
    again = ring.rewrap(sealed)
    assert again.key_id == current != former
    assert again.sealed == sealed.sealed  # the value was not touched
    assert ring.rewrap(again) is again
    assert ring.forget(frozenset({current})) == 1
    fresh = Keyring(KeyFile(tmp_path / "secret.key"))
    fresh.require(frozenset({current}))
    assert fresh.key_ids == {current}
    assert fresh.open(again) == VALUE
    with pytest.raises(Fault, match="is not in"):
        fresh.open(sealed)


def test_a_key_that_is_still_needed_is_not_forgotten(ring: Keyring) -> None:
    sealed = ring.seal(unsealed(), VALUE)
    ring.begin_rotation()
    assert ring.forget(frozenset({sealed.key_id})) == 0
    assert ring.open(sealed) == VALUE


def test_a_missing_key_file_is_an_error_and_no_new_key(ring: Keyring, tmp_path: Path) -> None:
    sealed = ring.seal(unsealed(), VALUE)
    (tmp_path / "secret.key").unlink()
    with pytest.raises(Fault, match="is not there; put the right file back"):
        Keyring(KeyFile(tmp_path / "secret.key")).require(frozenset({sealed.key_id}))
    assert not list(tmp_path.iterdir())


def test_a_wrong_key_file_is_named_with_the_key_that_is_needed(ring: Keyring, tmp_path: Path) -> None:
    sealed = ring.seal(unsealed(), VALUE)
    other = Keyring(KeyFile(tmp_path / "other.key"))
    other.begin_rotation()
    with pytest.raises(Fault, match=sealed.key_id):
        other.require(frozenset({sealed.key_id}))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_key_file_that_others_may_read_is_refused(ring: Keyring, tmp_path: Path, mode: int) -> None:
    ring.seal(unsealed(), VALUE)
    path = tmp_path / "secret.key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(mode)
    with pytest.raises(Fault, match="chmod 600"):
        ring.load()


def test_links_folders_and_nonsense_are_no_key_files(ring: Keyring, tmp_path: Path) -> None:
    path = tmp_path / "secret.key"
    ring.seal(unsealed(), VALUE)
    content = path.read_bytes()
    path.rename(tmp_path / "moved")
    path.symlink_to("moved")
    with pytest.raises(Fault, match="can't be used"):
        ring.load()
    path.unlink()
    path.mkdir()
    with pytest.raises(Fault):
        ring.load()
    path.rmdir()
    for wrong in (
        b"",
        content[:40],
        content.replace(b'"format":1', b'"format":2'),
        b'{"format":1,"current":"","keys":{}}',
    ):
        path.write_bytes(wrong)
        path.chmod(0o600)
        with pytest.raises(Fault) as refused:
            ring.load()
        assert content[60:100].decode() not in "".join(traceback.format_exception(refused.value))


def test_the_first_key_never_replaces_a_file(ring: Keyring, tmp_path: Path) -> None:
    other = Keyring(KeyFile(tmp_path / "secret.key"))
    first = ring.seal(unsealed(), VALUE)
    second = other.seal(unsealed("B"), VALUE)  # knew of no file when it was made
    assert first.key_id == second.key_id
    assert sorted(os.listdir(tmp_path)) == ["secret.key"]
