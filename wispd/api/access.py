"""Who may call: the access rule of the public door, and tokens. Decisions are pure.

Default access is decided per request: a function is public only on a listener bound to loopback, for a Host that is
loopback or declared, without a sign of a proxy in between. An explicit access of the version wins.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from enum import IntEnum
from hashlib import sha256
from typing import Final

from wispd.base.errors import Fault
from wispd.model.function import Access
from wispd.model.permission import may
from wispd.model.published import Token

_TOKEN_MAX: Final = 512  # characters
_CACHED_MAX: Final = 1_024
_PROXY_SIGNS: Final = frozenset({b"forwarded", b"via", b"x-real-ip"})
_LOOPBACK: Final = re.compile(rb"127(?:\.[0-9]{1,3}){3}\Z")


class Verdict(IntEnum):
    """What a request without credentials gets."""

    PUBLIC = 1
    TOKEN = 2  # only with a token that may invoke in the function's namespace
    HIDDEN = 3  # nobody, through this door


def decide(access: Access, *, loopback_door: bool, trusted_host: bool, forwarded: bool) -> Verdict:
    """Decide on one request. `trusted_host`: loopback or declared; `forwarded`: it came through a proxy."""
    if access == "private":
        return Verdict.HIDDEN
    if access == "public":
        return Verdict.PUBLIC
    if access == "token":
        return Verdict.TOKEN
    return Verdict.PUBLIC if loopback_door and trusted_host and not forwarded else Verdict.TOKEN


def is_loopback(host: bytes) -> bool:
    """Does a Host header's value (lower-case, port allowed) name this machine itself?"""
    name = hostname(host)
    return name in (b"localhost", b"[::1]") or name.endswith(b".localhost") or _LOOPBACK.match(name) is not None


def is_itself(host: bytes) -> bool:
    """Does a Host header's value name this machine, and not one of the names below `localhost`?"""
    return is_loopback(host) and not hostname(host).endswith(b".localhost")


def hostname(host: bytes) -> bytes:
    """Return a Host header's value without port and trailing dot."""
    if host.startswith(b"["):
        return host.partition(b"]")[0] + b"]"
    return host.partition(b":")[0].removesuffix(b".")


def is_forwarded(headers: list[tuple[bytes, bytes]]) -> bool:
    """Does a request say that a proxy passed it on?"""
    return any(name in _PROXY_SIGNS or name.startswith(b"x-forwarded-") for name, _ in headers)


def bearer(authorizations: list[bytes]) -> bytes | None:
    """Return the token of the Authorization header; None without exactly one of the scheme Bearer (RFC 6750)."""
    if len(authorizations) != 1:
        return None
    scheme, _, token = authorizations[0].partition(b" ")
    token = token.strip()
    return token if scheme.lower() == b"bearer" and 0 < len(token) <= _TOKEN_MAX else None


def admit(token: Token | None, namespace: str, *, presented: bool) -> None:
    """Let a token's holder invoke in `namespace`, or not.

    Raises: `unauthenticated` without a valid token; `not_found` for another tenant's (what exists there is nobody
    else's business); `forbidden` for a role that may only look.
    """
    if token is None:
        what = "this token is not valid" if presented else "this function needs a token: Authorization: Bearer …"
        raise Fault("unauthenticated", what)
    if token.namespace not in ("", namespace):
        raise Fault("not_found", "no function answers here")
    if not may(token.role, token.namespace, "functions.invoke", namespace):
        raise Fault("forbidden", f"role {token.role!r} may not invoke functions", role=token.role)


class Tokens:
    """Finds the token a client presents. What is revoked is refused at once: only digests are cached, no verdicts."""

    def __init__(self, known: Mapping[str, Token]) -> None:
        self._known = known  # digest → Token, kept current by the route table
        self._digests: dict[bytes, str] = {}  # of tokens that were good, least recently added first

    def find(self, raw: bytes, now_us: int) -> Token | None:
        """Return the valid token that `raw` is the text of."""
        digest = self._digests.get(raw)
        fresh = digest is None
        if digest is None:
            digest = sha256(raw).hexdigest()
        token = self._known.get(digest)
        if token is None or not hmac.compare_digest(token.digest, digest):
            self._digests.pop(raw, None)
            return None
        if token.expires_us and token.expires_us <= now_us:
            return None
        if fresh:
            if len(self._digests) >= _CACHED_MAX:
                self._digests.pop(next(iter(self._digests)))
            self._digests[raw] = digest
        return token
