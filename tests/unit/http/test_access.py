"""Who may call: the decision, and the door that applies it."""

from __future__ import annotations

from hashlib import sha256

import pytest
from http_harness import Gate, block_of, header, published, status

from wispd.api.access import Verdict, decide, is_loopback
from wispd.model.published import Token, TokenRevoked

SECRET = "wisp_secret"
DIGEST = sha256(SECRET.encode()).hexdigest()
BEARER = f"Authorization: Bearer {SECRET}"


def token(role: str = "invoker", namespace: str = "default", expires_us: int = 0) -> Token:
    return Token(digest=DIGEST, role=role, namespace=namespace, expires_us=expires_us)


@pytest.mark.parametrize("loopback", [False, True])
@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("forwarded", [False, True])
def test_default_is_public_only_for_plain_loopback_use(loopback: bool, trusted: bool, forwarded: bool) -> None:
    verdict = decide("", loopback_door=loopback, trusted_host=trusted, forwarded=forwarded)
    assert verdict is (Verdict.PUBLIC if (loopback, trusted, forwarded) == (True, True, False) else Verdict.TOKEN)
    for access, wanted in (("public", Verdict.PUBLIC), ("token", Verdict.TOKEN), ("private", Verdict.HIDDEN)):
        assert decide(access, loopback_door=loopback, trusted_host=trusted, forwarded=forwarded) is wanted  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("host", "wanted"),
    [
        (b"localhost", True),
        (b"localhost:8080", True),
        (b"a.b.localhost", True),
        (b"127.0.0.1", True),
        (b"127.9.9.9:1", True),
        (b"[::1]:8080", True),
        (b"localhost.evil.com", False),
        (b"notlocalhost", False),
        (b"127.0.0.1.evil.com", False),
        (b"0x7f000001", False),
        (b"10.0.0.1", False),
        (b"[::2]", False),
    ],
)
def test_loopback_hosts(host: bytes, wanted: bool) -> None:
    assert is_loopback(host) is wanted


@pytest.mark.parametrize(
    "name", ["Forwarded: for=1.2.3.4", "X-Forwarded-For: 1.2.3.4", "x-forwarded-host: a", "Via: 1.1 p"]
)
def test_default_behind_a_proxy_needs_a_token(name: str) -> None:
    gate = Gate(published(), token())
    answer = gate.request("/fn/hello", name)
    assert status(answer) == 401
    assert header(answer, "WWW-Authenticate") == 'Bearer realm="wisp"'
    assert status(gate.request("/fn/hello", name, BEARER)) == 200


def test_foreign_host_is_refused_on_loopback_only() -> None:
    assert status(Gate(published(access="public")).request("/fn/hello", host="evil.com")) == 421
    assert status(Gate(published(access="public"), loopback=False).request("/fn/hello", host="evil.com")) == 200
    assert status(Gate(published(), loopback=False).request("/fn/hello")) == 401
    declared = Gate(published(), domain="example.com")
    assert status(declared.request("/", host="hello.example.com")) == 200
    assert status(declared.request("/fn/hello", host="example.com")) == 200


def test_private_is_not_there() -> None:
    gate = Gate(published(access="private"), token("admin", ""))
    assert status(gate.request("/fn/hello", BEARER)) == 404
    assert gate.calls.invocations == []


@pytest.mark.parametrize(
    ("granted", "wanted"),
    [
        (token("admin", ""), 200),
        (token("admin"), 200),
        (token("deployer"), 200),
        (token("invoker"), 200),
        (token("viewer"), 403),
        (token("nonsense"), 403),
        (token("invoker", "other"), 404),
        (token("admin", "other"), 404),
        (token("invoker", ""), 200),
        (token("viewer", ""), 403),
        (token(expires_us=1), 401),
    ],
)
def test_roles(granted: Token, wanted: int) -> None:
    gate = Gate(published(access="token"), granted)
    assert [status(gate.request("/fn/hello", BEARER)) for _ in range(2)] == [wanted, wanted]
    assert len(gate.calls.invocations) == (2 if wanted == 200 else 0)


@pytest.mark.parametrize(
    "credentials",
    [
        "Authorization: Bearer wrong",
        "Authorization: Basic d2lzcA==",
        "Authorization: Bearer",
        f"Authorization: {SECRET}",
    ],
)
def test_bad_credentials(credentials: str) -> None:
    assert status(Gate(published(access="token"), token()).request("/fn/hello", credentials)) == 401


def test_two_credentials_are_none() -> None:
    gate = Gate(published(access="token"), token())
    assert status(gate.request("/fn/hello", BEARER, BEARER)) == 401


def test_revoked_token_is_refused_at_once_on_the_same_bytes() -> None:
    gate = Gate(published(access="token"), token())
    assert status(gate.request("/fn/hello", BEARER)) == 200
    gate.publish(TokenRevoked(digest=DIGEST))
    assert status(gate.request("/fn/hello", BEARER)) == 401
    gate.publish(token())
    assert status(gate.request("/fn/hello", BEARER)) == 200


def test_token_runs_out() -> None:
    gate = Gate(published(access="token"), token())
    gate.publish(token(expires_us=gate.clock.unix_ns() // 1000 + 1_000_000))
    assert status(gate.request("/fn/hello", BEARER)) == 200
    gate.clock.advance(1.0)
    assert status(gate.request("/fn/hello", BEARER)) == 401


@pytest.mark.parametrize("access", ["public", "token"])
def test_function_never_sees_a_wisp_token(access: str) -> None:
    gate = Gate(published(access=access), token())
    gate.request("/fn/hello", BEARER)
    assert b"authorization" not in block_of(gate.calls.invocations[0])[1]


def test_function_sees_its_own_credentials() -> None:
    gate = Gate(published(access="public"))
    gate.request("/fn/hello", BEARER)  # not one of ours …
    assert block_of(gate.calls.invocations[0])[1][b"authorization"] == f"Bearer {SECRET}".encode()
    gate.publish(token())  # … until it becomes one
    gate.request("/fn/hello", BEARER)
    assert b"authorization" not in block_of(gate.calls.invocations[1])[1]
