"""The data directory: locked, owned, never written through a link."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from wispd.app.directory import DataDirectory, Node, explained, holder_of, read_node
from wispd.app.listeners import listen, listen_unix, url_of
from wispd.base.errors import Fault

MADE = Node(format=1, node_id="ab" * 16, created_us=1)


def directory(path: Path) -> DataDirectory:
    return DataDirectory(str(path), owner_uid=os.geteuid())


def test_it_is_made_private_and_locked(tmp_path: Path) -> None:
    first = directory(tmp_path / "a" / "b")
    assert oct((tmp_path / "a" / "b").stat().st_mode & 0o777) == "0o700"
    assert holder_of(first.path) == os.getpid()
    with pytest.raises(Fault) as refused:
        directory(first.path)
    assert refused.value.code == "conflict"
    assert str(os.getpid()) in refused.value.message


def test_nobody_holds_what_was_never_started(tmp_path: Path) -> None:
    assert holder_of(tmp_path) == 0
    assert read_node(tmp_path) is None


def test_identity_stays_and_starts_are_counted(tmp_path: Path) -> None:
    held = directory(tmp_path)
    assert held.node(MADE, uid_first=7).epoch == 1
    other = Node(format=1, node_id="cd" * 16, created_us=2)
    again = held.node(other, uid_first=0)
    assert (again.node_id, again.epoch, again.uid_first) == (MADE.node_id, 2, 7)


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 2, "node_id": "x", "created_us": 1}', b"[]"])
def test_a_damaged_or_newer_identity_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "node.json").write_bytes(content)
    with pytest.raises(Fault) as refused:
        directory(tmp_path).node(MADE, uid_first=0)
    assert refused.value.code == "invalid_argument"
    assert "node.json" in refused.value.message


def test_the_token_is_made_once_and_only_its_digest_is_shared(tmp_path: Path) -> None:
    held = directory(tmp_path)
    token = held.first_token()
    assert token.startswith("wisp_")
    assert held.first_token() == ""
    assert (tmp_path / "cli-token").read_text().strip() == token
    assert oct((tmp_path / "cli-token").stat().st_mode & 0o777) == "0o600"
    assert token not in (tmp_path / "tokens.json").read_text()
    assert len(msgspec.json.decode((tmp_path / "tokens.json").read_bytes())["digest"]) == 64


def test_a_link_is_never_written_through(tmp_path: Path) -> None:
    """Whoever owns the directory may be less trusted than who writes here."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    held = directory(tmp_path / "data")
    (held.path / "node.json").symlink_to(victim)
    (held.path / "run" / "status.json.new").symlink_to(victim)
    (held.path / "logs" / "gateway.log").symlink_to(victim)
    held.write("run/status.json", b"{}")
    with pytest.raises(OSError, match="symbolic"):
        held.open_log("gateway")
    held.write("node.json", b"x")
    assert victim.read_text() == "mine"


def test_a_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Fault):
        directory(tmp_path / "data")


def test_a_path_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"limit \d+"):
        directory(tmp_path / ("x" * 120))


def test_a_long_log_is_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wispd.app.directory.LOG_MAX_BYTES", 10)
    held = directory(tmp_path)
    for text in (b"a" * 11, b"b"):
        fd = held.open_log("gateway")
        os.write(fd, text)
        os.close(fd)
    assert (tmp_path / "logs" / "gateway.log").read_bytes() == b"b"
    assert (tmp_path / "logs" / "gateway.old.log").read_bytes() == b"a" * 11


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "storage_full"),
        (errno.EDQUOT, "storage_full"),
        (errno.EACCES, "forbidden"),
        (errno.EROFS, "forbidden"),
        (errno.ENOTDIR, "invalid_argument"),
        (errno.EIO, "unavailable"),
    ],
)
def test_errors_of_the_file_system_are_explained(number: int, code: str) -> None:
    fault = explained(OSError(number, os.strerror(number)), Path("/data"))
    assert fault.code == code
    assert "/data" in fault.message


def test_a_taken_port_names_itself_and_the_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Fault) as refused:
            listen("127.0.0.1", port, flag="--port")
    assert refused.value.code == "conflict"
    assert f"port {port} on 127.0.0.1" in refused.value.message
    assert "--port" in refused.value.message


@pytest.mark.parametrize(("host", "port"), [("nowhere.example", 0), ("203.0.113.1", 0), ("127.0.0.1", 70_000)])
def test_an_address_that_can_not_be_had_is_refused(host: str, port: int) -> None:
    with pytest.raises(Fault) as refused:
        listen(host, port, flag="--port")
    assert refused.value.code == "invalid_argument"


def test_listeners_are_reachable_and_private(tmp_path: Path) -> None:
    with listen("localhost", 0, flag="--port") as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
    (tmp_path / "s").write_text("stale")
    with listen_unix(tmp_path / "s"):
        assert oct((tmp_path / "s").stat().st_mode & 0o777) == "0o600"


def test_the_latest_start_is_kept_beside_the_first(tmp_path: Path) -> None:
    held = directory(tmp_path)
    held.node(MADE, uid_first=0)
    held.node(Node(format=1, node_id="cd" * 16, created_us=7), uid_first=0)
    known = read_node(tmp_path)
    assert known is not None
    assert (known.created_us, known.started_us) == (1, 7)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_that_root_put_back_becomes_readable_for_the_services(tmp_path: Path) -> None:
    held = DataDirectory(str(tmp_path / "data"), owner_uid=54321)
    key = held.path / "secret.key"
    key.write_bytes(b"{}")
    key.chmod(0o600)
    held.adopt_placed("secret.key")
    assert (key.stat().st_uid, key.stat().st_gid) == (54321, 54321)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_a_linked_file_of_root_is_not_given_away(tmp_path: Path, link: Callable[[Path, Path], None]) -> None:
    held = DataDirectory(str(tmp_path / "data"), owner_uid=54321)
    precious = tmp_path / "precious"
    precious.write_bytes(b"root's own")
    link(precious, held.path / "secret.key")
    held.adopt_placed("secret.key")
    assert precious.stat().st_uid == 0
    held.adopt_placed("is-not-there")  # and says nothing
