"""A backup is whole, says what it holds, and holds no token; a restore makes a node of it or leaves nothing."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import apsw
import pytest
from made import (
    PASSPHRASE,
    TOKEN_DIGEST,
    VALUE,
    backup_of,
    backups_of,
    forged,
    make_node,
    opened_store,
    parts_of,
    signed,
    with_header,
)

from wispd.adapters.secrets.keyfile import KeyFile
from wispd.adapters.secrets.keyring import Keyring
from wispd.app.restoring import restore
from wispd.base import bundle
from wispd.base.clock import VirtualClock
from wispd.base.errors import Fault

CONTROL = "control.db"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("node") / "data"
    make_node(folder)
    return backup_of(folder, passphrase=PASSPHRASE)


def restored(content: bytes, folder: Path, passphrase: str = "") -> Any:
    file = folder / "backup.tar"
    file.write_bytes(content)
    try:
        return restore(file, folder / "data", passphrase=passphrase, clock=VirtualClock())
    finally:
        file.unlink()


def refusal(content: bytes, folder: Path, passphrase: str = "") -> str:
    """Return why a restore is refused; nothing may be left of it."""
    with pytest.raises(Fault) as refused:
        restored(content, folder, passphrase)
    assert os.listdir(folder) == []
    return refused.value.message


def test_what_was_backed_up_is_restored(whole: bytes, tmp_path: Path) -> None:
    done = restored(whole, tmp_path, PASSPHRASE)
    data = tmp_path / "data"
    assert (done.functions, done.records, done.key_needed) == (1, True, [])
    store = opened_store(data)
    function = store.find("default", "hello")
    assert function is not None
    code = data / "code" / function.published.live.code
    assert "hello" in (code / "main.py").read_text()
    assert stat.S_IMODE((code / "main.py").stat().st_mode) == 0o444
    secret = store.secrets.find("default", "A")
    assert secret is not None
    assert (data / "secret.key").stat().st_uid == (data / CONTROL).stat().st_uid
    os.chown(data / "secret.key", os.geteuid(), -1)  # as root, the services' user has it
    ring = Keyring(KeyFile(data / "secret.key"))
    ring.require(store.secrets.key_ids())
    assert ring.open(secret) == VALUE
    store.close()
    assert (data / "wisp-node.toml").read_text() == "drain_s = 7.0\n"
    assert stat.S_IMODE((data / "cli-token").stat().st_mode) == 0o600
    assert (data / "cli-token").read_text().strip() == done.token
    assert os.listdir(tmp_path) == ["data"]


def test_it_is_a_tar_that_any_tar_reads(whole: bytes) -> None:
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        names = archive.getnames()
    assert names[0] == CONTROL
    assert names[-1] == "manifest.json"
    assert any(len(name) > 150 for name in names)


def test_tokens_and_the_key_in_the_clear_are_not_in_it(whole: bytes, tmp_path: Path) -> None:
    make_node(tmp_path / "data")
    content = backup_of(tmp_path / "data")
    kept = (tmp_path / "data" / "secret.key").read_bytes()
    key = kept.split(b'":"')[-1].split(b'"')[0]
    for hidden in (TOKEN_DIGEST.encode(), key, VALUE):
        assert hidden not in content
        assert hidden not in whole
    assert key in kept  # the control: this is how it looks where it is
    raw = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("control.db*"))
    assert TOKEN_DIGEST.encode() in raw


def test_without_the_key_it_says_which_one_is_needed(whole: bytes, tmp_path: Path) -> None:
    done = restored(whole, tmp_path)
    assert len(done.key_needed) == 1
    assert not (tmp_path / "data" / "secret.key").exists()
    assert done.key_file == str(tmp_path / "data" / "secret.key")


def test_a_wrong_passphrase_and_a_short_one_are_refused(whole: bytes, tmp_path: Path) -> None:
    assert "passphrase does not open" in refusal(whole, tmp_path, "wrong horse battery")
    make_node(tmp_path / "node")
    with pytest.raises(Fault, match="at least 12"):
        backup_of(tmp_path / "node", passphrase="short")


def test_without_records_it_has_none(tmp_path: Path) -> None:
    make_node(tmp_path / "node")
    files, manifest = parts_of(backup_of(tmp_path / "node", records=False))
    assert not manifest.records
    assert "records/records.db" not in files


def test_rpo_and_rto_are_told(whole: bytes, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    file.write_bytes(whole)
    clock = VirtualClock()
    clock.advance(3600)
    done = restore(file, tmp_path / "data", passphrase="", clock=clock)
    assert done.rpo_s == 3600
    assert done.rto_s == 0


def test_one_backup_at_a_time_and_nothing_is_left(tmp_path: Path) -> None:
    make_node(tmp_path)
    backups = backups_of(tmp_path)
    first = backups.begin(records=True)
    with pytest.raises(Fault, match="under way"):
        backups.begin(records=True)
    first.close()
    backups.begin(records=True).close()
    assert os.listdir(tmp_path / "incoming") == []


def test_a_tree_that_is_gone_ends_the_backup_before_its_last_line(tmp_path: Path) -> None:
    make_node(tmp_path)
    tree = next((tmp_path / "code").iterdir())
    tree.rename(tmp_path / "elsewhere")
    backup = backups_of(tmp_path).begin(records=True)
    content = io.BytesIO()
    with pytest.raises(Fault, match="a version needs it"):
        content.writelines(backup.pieces())
    backup.close()
    assert content.tell()
    with pytest.raises(Fault, match="its end is missing"):
        bundle.check(content)


@pytest.mark.parametrize("what", ["file", "full", "link"])
def test_a_target_that_is_not_empty_is_refused(whole: bytes, tmp_path: Path, what: str) -> None:
    target = tmp_path / "data"
    if what == "file":
        target.write_text("x")
    elif what == "full":
        target.mkdir()
        (target / "something").write_text("x")
    else:
        (tmp_path / "other").mkdir()
        target.symlink_to("other")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    with pytest.raises(Fault) as refused:
        restored(whole, tmp_path)
    assert refused.value.code == "conflict"
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_an_empty_folder_is_filled_and_leftovers_of_killed_restores_go(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / ".data.restoring-dead").mkdir()
    (tmp_path / ".data.restoring-dead" / "half").write_text("x")
    restored(whole, tmp_path)
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../evil", "not plain"),
        ("/etc/evil", "not plain"),
        ("code/../../evil", "not plain"),
        ("code//x", "not plain"),
        ("code\\x", "not plain"),
        ("a\nb", "not plain"),
        ("cli-token", "no file of a data directory"),
        ("node.json", "no file of a data directory"),
        ("secret.key", "no file of a data directory"),
        ("code/" + "0" * 64, "no file of a data directory"),
        ("code/" + "0" * 64 + "/x", "is not the tree of that digest"),
        ("x" * 300, "not plain"),
        ("manifest.json", "no file of a data directory"),
    ],
)
def test_hostile_paths_are_refused_whatever_is_signed(whole: bytes, tmp_path: Path, path: str, why: str) -> None:
    assert why in refusal(forged(whole, files={path: b"evil"}), tmp_path)


def test_negative_control_a_forgery_that_changes_nothing_is_restored(whole: bytes, tmp_path: Path) -> None:
    assert restored(forged(whole), tmp_path).functions == 1


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE,
             tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE]
)  # fmt: skip
def test_what_is_no_plain_file_is_refused(whole: bytes, tmp_path: Path, kind: bytes) -> None:
    assert "no plain file" in refusal(with_header(whole, lambda header: setattr(header, "type", kind)), tmp_path)


def test_sizes_that_lie_are_refused(whole: bytes, tmp_path: Path) -> None:
    for size in (1 << 50, len(whole)):
        assert "longer than the backup" in refusal(
            with_header(whole, lambda header, size=size: setattr(header, "size", size)),
            tmp_path,  # type: ignore[misc]
        )


def test_a_file_in_the_place_of_a_folder_is_refused(whole: bytes, tmp_path: Path) -> None:
    files, _ = parts_of(whole)
    inside = next(path for path in files if path.startswith("code/"))
    refusal(forged(whole, files={inside + "/below": b"x"}), tmp_path)


def test_a_file_or_a_tree_that_is_missing_is_refused(whole: bytes, tmp_path: Path) -> None:
    files, manifest = parts_of(whole)
    inside = next(path for path in files if path.startswith("code/"))
    assert "not the tree" in refusal(forged(whole, drop=inside), tmp_path)
    assert "no control.db" in refusal(forged(whole, drop=CONTROL), tmp_path)
    assert "records are missing" in refusal(forged(whole, drop="records/records.db"), tmp_path)
    assert "other files" in refusal(forged(whole, change={"items": []}), tmp_path)
    items = [(item.path, item.size, "0" * 64, item.executable) for item in manifest.items]
    assert "not what the manifest says" in refusal(forged(whole, change={"items": items}), tmp_path)


def altered(whole: bytes, folder: Path, script: str) -> bytes:
    """Return a signed backup whose control.db was changed by SQL."""
    files, _ = parts_of(whole)
    path = folder / "altered.db"
    path.write_bytes(files[CONTROL][0])
    connection = apsw.Connection(str(path))
    connection.execute(script)
    connection.close()
    content = path.read_bytes()
    path.unlink()
    return forged(whole, files={CONTROL: content})


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("PRAGMA user_version = 999", "reads up to"),
        ("CREATE TRIGGER evil AFTER INSERT ON tokens BEGIN DELETE FROM functions; END", "not Wisp's"),
        ("DROP TABLE secrets", "not Wisp's"),
        ("PRAGMA user_version = 0", "not Wisp's"),
    ],
)
def test_a_store_that_is_newer_or_foreign_is_refused(whole: bytes, tmp_path: Path, script: str, why: str) -> None:
    assert why in refusal(altered(whole, tmp_path, script), tmp_path)


def test_a_damaged_store_and_nonsense_are_refused(whole: bytes, tmp_path: Path) -> None:
    files, _ = parts_of(whole)
    content = bytearray(files[CONTROL][0])
    content[4096:12_288] = b"\xff" * 8192
    refusal(forged(whole, files={CONTROL: bytes(content)}), tmp_path)
    refusal(forged(whole, files={CONTROL: b"nonsense" * 1000}), tmp_path)
    refusal(forged(whole, files={"wisp-node.toml": b"nonsense = ["}), tmp_path)


def test_a_newer_format_is_named(whole: bytes, tmp_path: Path) -> None:
    newer = whole[: -bundle.TRAILER_BYTES] + whole[-bundle.TRAILER_BYTES :].replace(b" 0001 ", b" 0002 ")
    assert "use a newer one" in refusal(newer, tmp_path)


def test_an_empty_tar_and_other_files_are_refused(tmp_path: Path) -> None:
    assert "manifest is missing" in refusal(signed(bytes(1024)), tmp_path)
    assert "end is missing" in refusal(signed(b""), tmp_path)
    for content in (b"", b"x", b"PK\x03\x04" * 500, bytes(10_240)):
        assert "no backup of Wisp" in refusal(content, tmp_path)
