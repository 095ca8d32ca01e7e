"""Certificates: what can't be used is named, what has changed is read, what was good stays."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
import trustme

from wispd.app.certificates import Certificates, files_of, renew, sealed, server_context
from wispd.app.settings import Settings, load
from wispd.base.errors import Fault
from wispd.client.trust import trust

_S = 1_000_000_000


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def written(folder: Path, authority: trustme.CA, name: str = "localhost") -> tuple[Path, Path]:
    made = authority.issue_cert(name)
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    return cert, key


def settings(**given: object) -> Settings:
    return Settings(data_dir="/nowhere", **{name: str(value) for name, value in given.items()})  # type: ignore[arg-type]


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost") -> ssl.SSLObject:
    """Shake hands in memory; return the client's side."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up, server_hostname=name)
    theirs = server.wrap_bio(up, down, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ours


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def test_a_certificate_serves_tls_1_2_and_newer_and_http_1_1(tmp_path: Path, authority: trustme.CA) -> None:
    cert, key = written(tmp_path, authority)
    found = Certificates(settings(tls_cert=cert, tls_key=key))
    server = server_context(found.descriptor("gateway")["tls"])
    done = handshake(server, trusting(authority))
    assert (done.version(), done.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
    assert server.minimum_version is ssl.TLSVersion.TLSv1_2


def test_one_file_may_hold_both_and_only_the_chain_is_shown(tmp_path: Path, authority: trustme.CA) -> None:
    cert, key = written(tmp_path, authority)
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + cert.read_bytes())
    found = Certificates(settings(tls_cert=both))
    assert "PRIVATE" not in str(found.status())
    assert found.current["public"].chain.strip() == cert.read_text().strip()
    server = server_context(found.descriptor("control")["tls"])
    assert handshake(server, trusting(authority)).version()


def test_the_admin_listener_has_the_same_another_or_none(tmp_path: Path, authority: trustme.CA) -> None:
    cert, key = written(tmp_path, authority)
    given = {"tls_cert": cert, "tls_key": key}
    assert set(files_of(settings(**given))) == {"public", "admin"}
    assert set(files_of(settings(**given, admin_tls_cert="none"))) == {"public"}
    assert files_of(settings(**given, admin_tls_cert="/other.pem"))["admin"].key == "/other.pem"
    assert set(files_of(settings(admin_tls_cert=cert, admin_tls_key=key))) == {"admin"}
    assert files_of(settings()) == {}
    for lonely in ("tls_key", "admin_tls_key"):
        with pytest.raises(Fault, match="name both"):
            files_of(settings(**{lonely: key}))


def test_what_can_not_be_used_is_named(tmp_path: Path, authority: trustme.CA) -> None:
    cert, key = written(tmp_path, authority)
    other = tmp_path / "other"
    other.mkdir()
    _, foreign = written(other, authority)
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(b"nothing of the kind")
    broken = tmp_path / "broken.pem"
    broken.write_bytes(cert.read_bytes().replace(b"M", b"N"))
    locked = tmp_path / "locked.pem"
    locked.write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
        "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAg\n-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    for given, said in [
        ((tmp_path / "absent.pem", key), "absent.pem (tls-cert) can't be read: No such file"),
        ((cert, tmp_path / "absent.key"), "absent.key (tls-cert) can't be read: No such file"),
        ((tmp_path, key), "can't be read: Is a directory"),
        ((garbage, key), "garbage.pem (tls-cert) has no PEM certificate"),
        ((cert, garbage), "garbage.pem has no PEM private key"),
        ((cert, foreign), "does not belong to the certificate"),
        ((broken, key), "broken.pem"),
        ((cert, locked), "locked.pem"),
    ]:
        with pytest.raises(Fault) as refused:
            Certificates(settings(tls_cert=given[0], tls_key=given[1]))
        assert said in refused.value.message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_who_may_not(tmp_path: Path, authority: trustme.CA) -> None:
    cert, key = written(tmp_path, authority)
    key.chmod(0)
    with pytest.raises(Fault, match=f"uid {os.geteuid()}") as refused:
        Certificates(settings(tls_cert=cert, tls_key=key))
    assert refused.value.code == "forbidden"


def test_a_new_certificate_is_taken_once_it_is_whole_and_a_bad_one_is_not(
    tmp_path: Path, authority: trustme.CA
) -> None:
    cert, key = written(tmp_path, authority)
    found = Certificates(settings(tls_cert=cert, tls_key=key))
    first = found.current["public"]
    assert found.look(10 * _S) == []
    cert.write_bytes(b"half")
    assert found.look(20 * _S) == []  # it may still be written
    assert found.look(30 * _S) == []
    assert "has no PEM certificate" in found.errors["public"]
    assert "the former certificate stays in use" in found.errors["public"]
    assert found.current["public"] is first
    written(tmp_path, authority)
    assert found.look(40 * _S) == []
    assert found.look(40 * _S + 1) == []  # it does not look all the time
    assert found.look(50 * _S) == ["gateway", "control"]
    assert found.errors == {}
    assert found.current["public"].pem != first.pem


def test_asked_it_reads_at_once(tmp_path: Path, authority: trustme.CA) -> None:
    cert, key = written(tmp_path, authority)
    found = Certificates(settings(tls_cert=cert, tls_key=key))
    assert found.look(1, asked=True) == ["gateway", "control"]


def test_renewing_is_for_new_connections(tmp_path: Path, authority: trustme.CA) -> None:
    cert, key = written(tmp_path, authority, "old.example")
    server = server_context(sealed(key.read_bytes() + cert.read_bytes()))
    client = trusting(authority)
    old = handshake(server, client, "old.example")
    cert, key = written(tmp_path, authority, "new.example")
    renew(server, sealed(key.read_bytes() + cert.read_bytes()))
    new = handshake(server, client, "new.example")
    names = [dict(side.getpeercert() or {})["subjectAltName"] for side in (old, new)]
    assert names == [(("DNS", "old.example"),), (("DNS", "new.example"),)]


def test_a_sealed_file_can_not_be_changed() -> None:
    fd = sealed(b"x")
    with pytest.raises(PermissionError):
        os.write(fd, b"y")
    os.close(fd)


def test_a_local_node_is_known_by_its_certificate_whatever_its_name(tmp_path: Path, authority: trustme.CA) -> None:
    cert, key = written(tmp_path, authority, "elsewhere.example")
    server = server_context(sealed(key.read_bytes() + cert.read_bytes()))
    pinned = trust("https://127.0.0.1:1", pinned=cert.read_text())
    assert handshake(server, pinned, "127.0.0.1").version()
    _, _ = written(tmp_path, trustme.CA(), "elsewhere.example")
    stranger = trust("https://127.0.0.1:1", pinned=cert.read_text())
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, stranger, "127.0.0.1")


def test_an_authority_that_is_no_file_of_certificates_is_named(tmp_path: Path) -> None:
    with pytest.raises(Fault, match=r"ca\.pem"):
        trust("https://x", authority=str(tmp_path / "ca.pem"))


def test_paths_are_relative_to_the_file_or_to_where_the_command_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wisp-node.toml").write_text('tls_cert = "tls/cert.pem"\nadmin_tls_cert = "none"\n')
    monkeypatch.chdir("/")
    chosen = load(str(tmp_path), {"tls_key": "key.pem", "host": None})
    assert (chosen.tls_cert, chosen.tls_key) == (str(tmp_path / "tls" / "cert.pem"), "/key.pem")
    assert chosen.admin_tls_cert == "none"
