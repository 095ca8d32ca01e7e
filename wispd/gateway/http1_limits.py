"""What the HTTP/1.1 server bounds, and by how much."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

PIPELINE_MAX: Final = 32  # pipelined requests answered in one turn of the loop, before others get theirs
BUFFERED_MAX: Final = 65_536  # unparsed bytes held while a request is being answered; reading is paused above it


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds of one listener. Sizes are bytes."""

    uri_bytes: int = 8_192  # RFC 9110 §4.1 recommends to support at least 8,000
    headers_bytes: int = 32_768  # what an INVOKE frame may carry
    headers: int = 100
    head_s: float = 10.0  # from the first byte of a head to its last; also for a fresh connection's first byte
    body_grace_s: float = 10.0  # on top of what the minimum rate allows
    body_rate_per_s: int = 512  # Apache's mod_reqtimeout asks for 500
    idle_s: float = 75.0  # between requests; nginx's keepalive_timeout
    write_grace_s: float = 20.0
    write_rate_per_s: int = 2_048
    message_bytes: int = 1_048_576  # of a WebSocket message from a client; the `websockets` library's default
    frames_per_sweep: int = 5_000  # of one WebSocket between two sweeps; above it reading is paused until the next
    ping_s: float = 20.0  # without a byte from a WebSocket's client before it is pinged
    pong_s: float = 20.0  # for its answer; both as in the `websockets` library
    stream_idle_s: float = 600.0  # without a message, or an event of a stream; AWS API Gateway has 10 minutes
    linger_s: float = 2.0  # how long unread input is drained so that the client sees the answer; nginx has 5 s
    connections: int = 10_000
    connections_per_peer: int = 0  # 0: not limited
