"""The opening handshake of a WebSocket: is this head one, and how is it answered? Pure. Source: RFC 6455 §4.2."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from wsproto.utilities import generate_accept_token

from wispd.base.errors import Fault
from wispd.gateway.http1_head import Head

SWITCHING: Final = b"HTTP/1.1 101 Switching Protocols\r\n"
VERSION: Final = b"13"
_LINE: Final = re.compile(rb"([^:\r\n]+):[ \t]*([^\r\n]*)\r\n")
_PROTOCOL: Final = b"sec-websocket-protocol"
_RESERVED: Final = b"sec-websocket-"  # the gateway's own in an answer, but for the protocol


def check_handshake(head: Head) -> None:
    """Refuse an offer to speak WebSocket that is not a good handshake.

    Raises: `upgrade_required` for another version of the protocol, `malformed_request` for anything else.
    """
    if head.length:
        raise Fault("malformed_request", "a WebSocket handshake has no body")
    versions = head.values(b"sec-websocket-version")
    if versions != [VERSION]:
        given = b", ".join(versions)[:40].decode("latin-1") or "none"
        raise Fault("upgrade_required", f"WebSocket version {given} is not spoken here, but 13", version=13)
    keys = head.values(b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        raise Fault("malformed_request", "Sec-WebSocket-Key is not one base64 text of 16 bytes")


def _is_key(key: bytes) -> bool:
    try:
        return len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def accept_lines(head: Head, block: bytes) -> bytes:
    """Return the header lines that accept a handshake. `block`: what the application adds, checked already.

    Raises: `invalid_answer` for a subprotocol that the client did not offer.
    """
    kept, chosen = [], []
    for match in _LINE.finditer(block):
        name = match[1].lower()
        if name == _PROTOCOL:
            chosen.append(match[2].strip())
        elif not name.startswith(_RESERVED):
            kept.append(match[0])
    if chosen and (len(chosen) > 1 or chosen[0] not in _offered(head)):
        raise Fault("invalid_answer", f"subprotocol {chosen[0][:60]!r} was not offered by the client")
    kept += [b"Sec-WebSocket-Protocol: %b\r\n" % name for name in chosen]
    token = generate_accept_token(head.values(b"sec-websocket-key")[0])
    return b"".join([*kept, b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n" % token])


def _offered(head: Head) -> set[bytes]:
    return {part.strip() for value in head.values(_PROTOCOL) for part in value.split(b",")}
