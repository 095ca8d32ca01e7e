"""TLS on both listeners of a real node: certificates that come, change, and go wrong."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from pathlib import Path

import httpx
import pytest
import trustme
from nodes import Node, eventually
from websockets.sync.client import connect

HELLO = """
from urllib.parse import urlsplit

async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": scope["scheme"]})
        await receive()
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["scheme"].encode()})
"""


def write(folder: Path, authority: trustme.CA, name: str) -> list[str]:
    """Write a certificate as an administrator would: the key for its owner only."""
    made = authority.issue_cert(name, "localhost", "127.0.0.1")
    cert, key = folder / "cert.pem", folder / "key.pem"
    for path, blobs in ((cert, made.cert_chain_pems), (key, [made.private_key_pem])):
        fresh = path.with_suffix(".new")
        fresh.write_bytes(b"".join(blob.bytes() for blob in blobs))
        fresh.chmod(0o600)
        fresh.replace(path)
    return ["--tls-cert", str(cert), "--tls-key", str(key)]


def presented(node: Node, url: str, context: ssl.SSLContext) -> set[str]:
    """Return the names in the certificate that a listener presents."""
    host, port = url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), 10) as raw,
        context.wrap_socket(raw, server_hostname=host) as tls,
    ):
        return {value for _, value in (tls.getpeercert() or {})["subjectAltName"]}  # type: ignore[misc, str-unpack]


def test_both_listeners_speak_tls_and_renew_without_dropping_anybody(offline: Node, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    serving = offline.up(*write(tmp_path, authority, "first.example"))
    assert serving["public_url"].startswith("https://")
    assert serving["admin_url"].startswith("https://")
    assert serving["level"]
    live = offline.deploy("hello", HELLO)  # the command line knows its node by its certificate
    assert live["url"].startswith("https://")
    with httpx.Client(base_url=offline.url, verify=context, trust_env=False) as client:
        assert client.get("/fn/hello").text == "https"
        socket_url = offline.url.replace("https", "wss") + "/fn/hello"
        with connect(socket_url, ssl=context, proxy=None) as web:
            assert web.recv(30) == "wss"
            write(tmp_path, authority, "second.example")
            for url in (offline.url, offline.admin_url):
                eventually(lambda url=url: "second.example" in presented(offline, url, context), "the new one")
            web.ping().wait(10)
        assert client.get("/fn/hello").text == "https"
    with pytest.raises(httpx.TransportError):
        httpx.get(offline.url.replace("https", "http") + "/fn/hello", trust_env=False)
    _bad_renewals_change_nothing(offline, tmp_path, context)
    _a_remote_client_has_to_be_told(offline, tmp_path, authority)


def _bad_renewals_change_nothing(node: Node, folder: Path, context: ssl.SSLContext) -> None:
    good = (folder / "key.pem").read_bytes()
    (folder / "key.pem").write_bytes(b"nothing")
    eventually(lambda: bool(node.status()["tls"]["public"]["error"]), "the error")
    assert "no PEM private key" in node.status()["tls"]["public"]["error"]
    assert "second.example" in presented(node, node.url, context)
    (folder / "key.pem").write_bytes(good)
    os.kill(node.status()["pid"], signal.SIGHUP)  # read it again, do not end
    eventually(lambda: not node.status()["tls"]["public"]["error"], "the error is gone")
    log = (node.path / "logs" / "supervisor.log").read_text()
    assert "the former certificate stays in use" in log
    node.kill("gateway")  # and it gets its certificate again
    eventually(lambda: _answers(node, context), "served again")


def _answers(node: Node, context: ssl.SSLContext) -> bool:
    try:
        return httpx.get(node.url + "/fn/hello", verify=context, trust_env=False).text == "https"
    except httpx.TransportError:
        return False


def _a_remote_client_has_to_be_told(node: Node, folder: Path, authority: trustme.CA) -> None:
    ca = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    remote = {"WISP_URL": node.admin_url, "WISP_TOKEN": node.token}
    refused = node.remote_cli("list", environment=remote)
    assert refused.returncode == 5
    assert b"--ca or WISP_CA" in refused.stderr
    assert node.remote_cli("list", "--ca", str(ca), environment=remote).returncode == 0
    assert node.remote_cli("list", environment=remote | {"WISP_CA": str(ca)}).returncode == 0


def test_a_certificate_that_can_not_be_used_is_named_and_nothing_starts(offline: Node, tmp_path: Path) -> None:
    flags = write(tmp_path, trustme.CA(), "first.example")
    (tmp_path / "key.pem").write_bytes(b"nothing")
    done = offline.cli("up", "--port", "0", "--admin-port", "0", "--detach", *flags)
    assert done.returncode == 2
    assert b"key.pem has no PEM private key" in done.stderr
    assert b"Traceback" not in done.stderr
