"""Wire format between the gateway and an instance, version 1. Sans-I/O.

One frame is one SEQPACKET packet (or one length-delimited unit of a stream: the header says how long it is).
``docs/wire.md`` documents it byte by byte. Everything an instance sends is hostile: `parse` checks all lengths
before any slice is taken, and raises `FrameError` for what a correct peer can't have sent.

    offset  size  field
    0       1     type       one of the constants below
    1       1     flags      MORE, ERROR, HTTP, WEBSOCKET, SECURE, OPTIONAL
    2       2     meta       meaning depends on the type (status, version, attempt, …)
    4       4     head_len   bytes of the header block that follows this header
    8       8     call       number of the call, chosen by the gateway, unique on a link
    16      8     body_len   bytes of body in this frame

All integers are little-endian.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

VERSION: Final = 1

# Types.
HELLO: Final = 1  # both ways; meta = VERSION, call = feature bits
INIT: Final = 2  # gateway → instance; head = JSON settings
READY: Final = 3  # instance → gateway; meta = dialect number, head = READY_HEAD
FAILED: Final = 4  # instance → gateway; meta = a failure number, head = message, body = traceback
INVOKE: Final = 5  # gateway → instance; meta = attempt, head = INVOKE_HEAD + request block, body
BODY: Final = 6  # both ways; continues the body of `call`
OUTCOME: Final = 7  # instance → gateway; meta = HTTP status, head = OUTCOME_HEAD + block + log, body
LOG: Final = 8  # instance → gateway; body = UTF-8 lines of `call` (0: of no call)
CANCEL: Final = 9  # gateway → instance; meta = reason
WINDOW: Final = 10  # both ways, only on links with concurrency above 1; head = WINDOW_HEAD
CALL: Final = 11  # instance → gateway; meta = operation, call = the instance's own number
REPLY: Final = 12  # gateway → instance; meta = HTTP status, call = the number of the CALL

TYPES: Final = frozenset(range(HELLO, REPLY + 1))
FROM_INSTANCE: Final = frozenset({HELLO, READY, FAILED, BODY, OUTCOME, LOG, WINDOW, CALL})

# Flags.
MORE: Final = 0x01  # BODY frames of the same call follow
ERROR: Final = 0x02  # OUTCOME/BODY: the function raised; REPLY: the call failed
HTTP: Final = 0x04  # INVOKE: the request block is an HTTP request; otherwise a CloudEvent in binary mode
WEBSOCKET: Final = 0x08  # INVOKE, with HTTP: a handshake; both bodies are messages (`messages.py`)
SECURE: Final = 0x10  # INVOKE, with HTTP: it came over TLS
OPTIONAL: Final = 0x80  # a receiver that does not know the type ignores the frame

# Features (bits of HELLO.call). Unknown bits are ignored.
FEATURE_STREAMING: Final = 1
FEATURE_CALLS: Final = 2

# Failure numbers of FAILED.
FAILURE_IMPORT: Final = 1  # the module raised while being imported
FAILURE_HANDLER: Final = 2  # the handler was not found; the message says what was
FAILURE_EXIT: Final = 3  # the module called exit while being imported
FAILURE_SETTINGS: Final = 4  # INIT could not be understood

# Reasons of CANCEL.
CANCEL_DISCONNECTED: Final = 1
CANCEL_DEADLINE: Final = 2

# A CALL's number has this bit set, so that its frames can't be mistaken for those of an invocation.
OWN_CALL: Final = 1 << 63

# Operations of CALL.
OPERATION_INVOKE: Final = 1  # wisp.call: head = function name LF request block

# Dialect numbers of READY.
DIALECTS: Final = ("", "native", "lambda", "asgi", "wsgi", "app")

HEADER: Final = Struct("<BBHIQQ")
INVOKE_HEAD: Final = Struct("<QQ16sHH")  # deadline ns (CLOCK_MONOTONIC), received µs (Unix), id, mount length, depth
OUTCOME_HEAD: Final = Struct("<QQIII")  # run ns, peak resident bytes, block length, log length, log lines dropped
READY_HEAD: Final = Struct("<QQ")  # initialisation ns, resident bytes
WINDOW_HEAD: Final = Struct("<Q")  # bytes the receiver has consumed and grants anew
INVOKE_FRAME: Final = Struct("<BBHIQQQQ16sHH")  # HEADER and INVOKE_HEAD in one go, for the hot path
OUTCOME_FRAME: Final = Struct("<BBHIQQQQIII")  # HEADER and OUTCOME_HEAD in one go
OUTCOME_ECHO: Final = Struct("<BBHI8sQQQIII")  # the same, with the call number as the bytes it came in
CALL_FIELD: Final = slice(8, 16)  # where a packet has its call number

# Limits. A frame above them is hostile.
BODY_MAX: Final = 65_536  # body bytes of one frame; longer bodies continue in BODY frames
BLOCK_MAX: Final = 32_768  # request or response header block
LOG_MAX: Final = 32_768  # log text that rides in one OUTCOME or LOG frame
PACKET_MAX: Final = HEADER.size + 64 + BLOCK_MAX + LOG_MAX + BODY_MAX
# What a gateway may send at once: no logs. Below 128 KiB, where the C library would map and unmap memory per packet.
INWARD_MAX: Final = HEADER.size + 128 + BLOCK_MAX + BODY_MAX
MESSAGE_MAX: Final = 4_096  # first line of an error
TRACE_MAX: Final = 65_536  # traceback text
WINDOW_SIZE: Final = 262_144  # body bytes that may be under way per call and direction where WINDOW is used


class FrameError(ValueError):
    """The peer sent bytes that no correct peer sends. The link must be closed."""


class Frame(NamedTuple):
    """One frame. `head` and `body` are copies, safe to keep."""

    type: int
    flags: int
    meta: int
    call: int
    head: bytes
    body: bytes


def pack(type_: int, call: int = 0, *, flags: int = 0, meta: int = 0, head: bytes = b"", body: bytes = b"") -> bytes:
    """Encode one frame. The caller keeps to BODY_MAX and BLOCK_MAX."""
    return HEADER.pack(type_, flags, meta, len(head), call, len(body)) + head + body


def parse(packet: bytes) -> Frame:
    """Decode one whole packet.

    Raises: `FrameError` for a short packet, lengths that don't add up to it, sizes above the limits, or an unknown
    type without the OPTIONAL flag (an unknown optional frame is returned: the caller ignores it).
    """
    size = len(packet)
    if size < 24:
        raise FrameError(f"frame of {size} bytes, shorter than its header of 24")
    type_, flags, meta, head_len, call, body_len = HEADER.unpack_from(packet)
    end = 24 + head_len
    if end + body_len != size:
        raise FrameError(f"frame of {size} bytes says head {head_len} and body {body_len}")
    if body_len > BODY_MAX or size > PACKET_MAX:
        raise FrameError(f"frame of {size} bytes with body {body_len}, limits {PACKET_MAX} and {BODY_MAX}")
    if type_ not in TYPES and not flags & OPTIONAL:
        raise FrameError(f"unknown frame type {type_}")
    return Frame(type_, flags, meta, call, packet[24:end], packet[end:])


class StreamDecoder:
    """Cut a byte stream into frames, for links that don't keep packet borders.

    Holds at most one frame's bytes; a header that announces more than PACKET_MAX raises `FrameError` before
    anything is buffered for it.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[Frame]:
        """Return the frames completed by `chunk`, in order."""
        buffer = self._rest + chunk if self._rest else chunk
        frames: list[Frame] = []
        offset = 0
        while len(buffer) - offset >= HEADER.size:
            _, _, _, head_len, _, body_len = HEADER.unpack_from(buffer, offset)
            length = HEADER.size + head_len + body_len
            if length > PACKET_MAX:
                raise FrameError(f"frame of {length} bytes announced, limit {PACKET_MAX}")
            if len(buffer) - offset < length:
                break
            frames.append(parse(buffer[offset : offset + length]))
            offset += length
        self._rest = buffer[offset:]
        return frames


def pack_body(call: int, body: bytes | memoryview, *, more: bool = False) -> list[bytes]:
    """Split `body` into BODY frames of at most BODY_MAX bytes; the last one carries MORE only if `more`."""
    view = memoryview(body)
    frames = []
    for start in range(0, len(view) or 1, BODY_MAX):
        part = view[start : start + BODY_MAX]
        last = start + BODY_MAX >= len(view)
        flags = MORE if more or not last else 0
        frames.append(b"".join((HEADER.pack(BODY, flags, 0, 0, call, len(part)), part)))  # one copy of the part
    return frames
