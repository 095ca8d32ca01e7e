"""WebSockets of ASGI applications. The gateway speaks RFC 6455; here there are only messages.

Source: ASGI specification, WebSocket (spec version 2.4) and the extension "WebSocket Denial Response".
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

from wisp.runtime.dialects.asgi import Exchange, Message, block_of, scope_of
from wisp.runtime.failures import AnswerError
from wisp.runtime.frames import MORE, FrameError
from wisp.runtime.messages import BINARY, CLOSE, TEXT, PartReader, pack_close, pack_part, parse_close

_QUIET: Final = (b"", 0)
_DENIAL: Final = "websocket."  # what the messages of a denial have in front of those of a response
_SWITCHING: Final = 101
NORMAL: Final = 1000
ABNORMAL: Final = 1006


def socket_scope_of(invocation: Any, state: dict[str, Any]) -> dict[str, Any]:
    """Return the WebSocket scope."""
    scope = scope_of(invocation, state)
    del scope["method"]
    scope["type"] = "websocket"
    scope["scheme"] = "wss" if scope["scheme"] == "https" else "ws"
    scope["subprotocols"] = offered(scope["headers"])
    scope["extensions"] = {"websocket.http.response": {}}
    return scope


def offered(headers: list[tuple[bytes, bytes]]) -> list[str]:
    """Return the subprotocols that the client offers, its favourite first."""
    values = [value for name, value in headers if name == b"sec-websocket-protocol"]
    return [part.strip().decode("latin-1") for part in b",".join(values).split(b",") if part.strip()]


class SocketExchange(Exchange):
    """One WebSocket, from the application's view."""

    _connected = False  # has the application been told?
    _accepted = False
    _closed = False  # it has closed, or refused
    _gone: Message | None = None  # the disconnect, once the application may know of it

    async def run(self, application: Any) -> None:
        """Run the application; one that just returns closes normally."""
        self._scope = socket_scope_of(self._invocation, self._state)
        self._reader = PartReader()
        await super().run(application)

    def scope(self) -> MutableMapping[str, Any]:
        return self._scope

    async def receive(self) -> Message:
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        if not self._accepted:  # whoever is refused has nothing to say
            while not (self._invocation.cancelled or self._accepted or self._finished):
                await self._link.news(self._invocation)
        if self._gone is None and self._accepted:
            message = await self._message()
            if message is not None:
                return message
        return self._gone or {"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""}

    async def _message(self) -> Message | None:
        """Return the next whole message; None: there will be none."""
        parts: list[bytes] = []
        while not self._invocation.cancelled:
            part = self._reader.take()
            if part is None:
                piece = await self._link.read_body(self._invocation)
                if not piece:
                    return None
                self._reader.feed(piece)
            elif part.kind == CLOSE:
                code, reason = parse_close(part.body)
                self._gone = {"type": "websocket.disconnect", "code": code, "reason": reason}
                return self._gone
            else:
                parts.append(part.body)
                if part.last:
                    return _received(part.kind, parts)
        return None

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind in ("websocket.http.response.start", "websocket.http.response.body"):
            self._must(not self._accepted, kind)
            await super().send({**message, "type": kind.removeprefix(_DENIAL)})
            return
        if self._invocation.cancelled or (self._accepted and not self._invocation.open_body):
            raise OSError("the client is gone")
        if kind == "websocket.accept":
            self._must(not self._accepted and not self._started and self._head is None, kind)
            self._accept(message)
        elif kind == "websocket.close" and not self._accepted:
            self._must(not self._finished, kind)
            await super().send({"type": "http.response.start", "status": 403, "headers": []})
            await super().send({"type": "http.response.body", "body": b""})
        elif kind == "websocket.close":
            self._must(not self._closed, kind)
            self._closed = True
            code, reason = int(message.get("code") or NORMAL), str(message.get("reason") or "")
            _check_code(code)
            await self._link.send_part(self._invocation, pack_close(code, reason), more=True)
        else:
            self._must(kind == "websocket.send" and self._accepted and not self._closed, kind)
            await self._link.send_part(self._invocation, _sent(message), more=True)

    def _accept(self, message: Message) -> None:
        chosen = message.get("subprotocol")
        headers = [(bytes(name).lower(), bytes(value)) for name, value in message.get("headers") or ()]
        if chosen is not None:
            if chosen not in self._scope["subprotocols"]:
                given = ", ".join(self._scope["subprotocols"]) or "none"
                raise AnswerError(f"subprotocol {chosen!r} was not offered by the client, which offered {given}")
            headers.append((b"sec-websocket-protocol", chosen.encode("latin-1")))
        self._head = _SWITCHING, block_of(headers)
        self._accepted = True
        self._open(MORE, b"", _QUIET)
        self._link.woken(self._invocation)

    @staticmethod
    def _must(fits: bool, kind: str) -> None:
        if not fits:
            raise RuntimeError(f"ASGI message {kind!r} has no place here")


def _received(kind: int, parts: list[bytes]) -> Message:
    whole = b"".join(parts)
    if kind == TEXT:
        try:
            return {"type": "websocket.receive", "text": whole.decode()}
        except UnicodeDecodeError as error:  # the gateway has checked it
            raise FrameError(f"text that is not UTF-8: {error}") from None
    return {"type": "websocket.receive", "bytes": whole}


def _sent(message: Message) -> bytes:
    text = message.get("text")
    if text is not None:
        return pack_part(TEXT, text.encode())
    body = message.get("bytes")
    if body is None:
        raise RuntimeError("ASGI message 'websocket.send' has neither text nor bytes")
    return pack_part(BINARY, bytes(body))


def _check_code(code: int) -> None:
    """Source: RFC 6455 §7.4: what an application may say."""
    if not (1000 <= code <= 1014 and code not in (1004, 1005, 1006)) and not 3000 <= code <= 4999:
        raise AnswerError(f"close code {code} may not be sent: 1000 to 1014 without 1004 to 1006, or 3000 to 4999")
