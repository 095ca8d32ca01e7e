"""The gate before the whole admin API: right host, known token, bounded body. What it may do, the guard decides."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Collection
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wispd.api.admin_failures import described
from wispd.api.admin_guard import ACCOUNT, BODY_MAX, PRINCIPAL, too_large
from wispd.api.admin_problems import problem
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.control.auditing import Account, Auditor, accounting
from wispd.model.permission import Principal
from wispd.model.published import Token

STILL: Final = "wisp.still"  # key of the ASGI scope: is the token still good?
TOKEN_MAX: Final = 512  # bytes
Find = Callable[[str], Token | None]  # digest → a token that is not revoked


class Gate:
    """ASGI middleware. `loopback`: the listener is bound to loopback, so a foreign Host is a rebinding attack.

    `open_paths` are answered without a token; `find` reads the store, so what is revoked is refused at once.
    """

    def __init__(
        self, app: ASGIApp, *, find: Find, auditor: Auditor, open_paths: Collection[str], clock: Clock, loopback: bool
    ) -> None:
        self._app = app
        self._find = find
        self._auditor = auditor
        self._open = frozenset(open_paths)
        self._clock = clock
        self._loopback = loopback
        self.admit: Callable[[Token], None] = lambda token: None  # raises for one that asks too often
        self.report: Callable[[str], None] = lambda text: None  # hears of errors that nobody foresaw

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no WebSockets here; the server was started without them
        account = scope[ACCOUNT] = self._auditor.open(str((scope.get("client") or ("",))[0]))
        answer = settled(self._auditor, account, scope, receive, send)
        try:
            self._enter(scope, account)
        except Fault as fault:
            account.denied, account.code = True, fault.code
            account.operation = f"{scope['method']} {scope['path']}"
            await problem(fault)(scope, receive, answer)
            return
        with accounting(account):
            try:
                await self._app(scope, bounded(scope, receive), answer)
            except ClientDisconnect:  # nobody is left to be answered
                raise
            except Exception as error:  # it was answered with `internal`, or is cut off by the server
                self.report(described(error, f"{scope['method']} {getattr(scope.get('route'), 'path', '')}"))
                raise

    def _enter(self, scope: Scope, account: Account) -> None:
        """Find out who is asking. Raises: `Fault` `misdirected_request`, `unauthenticated`, `quota_exceeded`."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if self._loopback:
            check_host([value for name, value in headers if name == b"host"])
        digest = presented([value for name, value in headers if name == b"authorization"])
        token = self._valid(digest)
        if token is None:
            if scope["path"] not in self._open:
                raise Fault("unauthenticated", "a valid token is needed: Authorization: Bearer <token>")
            return
        scope[PRINCIPAL] = account.principal = Principal(
            token_id=token.id, role=token.role, name=token.name, namespace=token.namespace
        )
        self.admit(token)
        scope[STILL] = lambda: self._valid(digest) is not None

    def _valid(self, digest: str) -> Token | None:
        token = self._find(digest) if digest else None
        if token is None or 0 < token.expires_us <= self._clock.unix_ns() // 1000:
            return None
        return token


def presented(authorizations: list[bytes]) -> str:
    """Return the digest of the one bearer token that a request carries; "" for none, several, or something else.

    Looking a digest up tells nothing by its timing: nobody can choose the digest of a text he does not have.
    """
    scheme, _, text = (authorizations[0] if len(authorizations) == 1 else b"").partition(b" ")
    text = text.strip()
    if scheme.lower() != b"bearer" or not 0 < len(text) <= TOKEN_MAX:
        return ""
    return hashlib.sha256(text).hexdigest()


def settled(auditor: Auditor, account: Account, scope: Scope, receive: Receive, send: Send) -> Send:
    """Return `send`, which answers only when the audit entry of the request is on the disk."""
    replaced = False

    async def answer(message: Message) -> None:
        nonlocal replaced
        if replaced:
            return
        if message["type"] == "http.response.start":
            try:
                await auditor.settle(account, message["status"])
            except Fault as fault:
                replaced = True
                await problem(fault)(scope, receive, send)
                return
        await send(message)

    return answer


def bounded(scope: Scope, receive: Receive) -> Receive:
    """Return `receive`, which raises `Fault("payload_too_large")` beyond what the route takes."""
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        limit = scope.get(BODY_MAX, 0)
        if limit and size > limit:
            raise too_large(size, limit)
        return message

    return counted


def check_host(values: list[bytes]) -> None:
    """Refuse requests that a browser was tricked into sending here. Raises: `Fault("misdirected_request")`."""
    if len(values) != 1 or not _is_local(values[0].decode("latin-1").lower()):
        shown = ascii(b", ".join(values)[:80].decode("latin-1"))
        raise Fault("misdirected_request", f"Host is {shown}; this listener answers localhost and 127.0.0.1 only")


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
