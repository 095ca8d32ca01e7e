"""The gate before the whole admin API: right host, right token, deny by default."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Sequence
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from wispd.api.admin_problems import problem
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.model.published import Token

OPEN: Final = frozenset({"/healthz", "/readyz"})  # the only paths without a token
ROLES: Final = frozenset({"admin"})  # that may use this API; finer rights come with tenants


class Gate:
    """ASGI middleware. `loopback`: the listener is bound to loopback, so a foreign Host is a rebinding attack."""

    def __init__(self, app: ASGIApp, *, tokens: Sequence[Token], clock: Clock, loopback: bool) -> None:
        self._app = app
        self._tokens = tokens
        self._clock = clock
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            if scope["type"] != "http":
                raise Fault("not_found", "there are no WebSockets here")
            headers: list[tuple[bytes, bytes]] = scope["headers"]
            if self._loopback:
                check_host([value for name, value in headers if name == b"host"])
            if scope["path"] not in OPEN:
                presented = [value for name, value in headers if name == b"authorization"]
                check_token(presented, self._tokens, self._clock.unix_ns() // 1000)
        except Fault as fault:
            await problem(fault)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def check_host(values: list[bytes]) -> None:
    """Refuse requests that a browser was tricked into sending here. Raises: `Fault("misdirected_request")`."""
    if len(values) != 1 or not _is_local(values[0].decode("latin-1").lower()):
        shown = ascii(b", ".join(values)[:80].decode("latin-1"))
        raise Fault("misdirected_request", f"Host is {shown}; this listener answers localhost and 127.0.0.1 only")


def check_token(presented: list[bytes], tokens: Sequence[Token], now_us: int) -> None:
    """Let one valid bearer token of a role that may in; raises `Fault` `unauthenticated`, `forbidden`."""
    scheme, _, text = (presented[0] if len(presented) == 1 else b"").partition(b" ")
    digest = hashlib.sha256(text.strip()).hexdigest()
    found = None
    for token in tokens:  # all of them: the time says nothing about which one is near
        if hmac.compare_digest(token.digest.encode(), digest.encode()) and not 0 < token.expires_us <= now_us:
            found = token
    if scheme.lower() != b"bearer" or found is None:
        raise Fault("unauthenticated", "a valid token is needed: Authorization: Bearer <token>")
    if found.role not in ROLES:
        raise Fault("forbidden", f"the role {found.role} may not use the admin API")


def is_loopback(host: str) -> bool:
    """Is a listener with this address reachable from this machine only?"""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_local(host: str) -> bool:
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, ""
    if port and not (port.isascii() and port.isdigit()):
        return False
    return name in ("localhost", "127.0.0.1", "[::1]") or name.endswith(".localhost")
