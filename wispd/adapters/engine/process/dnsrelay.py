"""DNS for sandboxes: queries come over a private stream (RFC 1035, 4.2.2), go out as datagrams, answers come back.

The stream is one end of a socket pair, so no socket of the host's network is ever in a sandbox for this. An answer
that was cut is asked for again over TCP where the server offers that. Everything is counted and bounded.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from struct import Struct
from typing import Final

from wispd.adapters.engine.process import egress
from wispd.adapters.engine.process.loop import Loop

CHANNELS_MAX: Final = 512
CHANNELS_EACH_MAX: Final = 8
_PENDING_MAX: Final = 8  # questions of one channel at a time; more wait in its socket
_QUESTION_MAX: Final = 4096
_ANSWER_MAX: Final = 65_535
_TIMEOUT_S: Final = 5.0
_IDLE_S: Final = 30.0
_TRUNCATED: Final = 0x02
_LENGTH: Final = Struct(">H")


class _Question:
    """One query on its way: a datagram socket, later perhaps a stream for the whole answer."""

    def __init__(self, channel: Channel, content: bytes) -> None:
        self.channel, self.content = channel, content
        self.due = time.monotonic() + _TIMEOUT_S
        self.socket = _toward(channel.server, socket.SOCK_DGRAM)
        self.socket.send(content)
        self.short = b""  # the cut answer, given when TCP fails
        self.stream: bytearray | None = None


class Channel:
    """One open stream of one instance."""

    def __init__(self, owner: int, server: str, near: socket.socket) -> None:
        self.owner, self.server, self.near = owner, server, near
        self.unread = bytearray()
        self.questions: set[_Question] = set()
        self.due = time.monotonic() + _IDLE_S


def _toward(server: str, kind: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    one = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        address = socket.getaddrinfo(server.encode(), egress.DNS_PORT, family, kind, 0, socket.AI_NUMERICHOST)[0][4]
        with contextlib.suppress(BlockingIOError):
            one.connect(address)
    except BaseException:
        one.close()
        raise
    return one


class DnsRelay:
    """All channels of a node, on the broker's loop."""

    def __init__(self, loop: Loop, armed: Callable[[], None]) -> None:
        self._loop, self._armed = loop, armed
        self._channels: set[Channel] = set()

    def open(self, owner: int, server: str) -> socket.socket:
        """Return the instance's end of a new channel to `server`. Raises `OSError` (EAGAIN) over the limits."""
        if len(self._channels) >= CHANNELS_MAX or self._of(owner) >= CHANNELS_EACH_MAX:
            raise BlockingIOError(11, "too many open DNS channels")
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        near.setblocking(False)
        channel = Channel(owner, server, near)
        self._channels.add(channel)
        self._loop.add(near.fileno(), lambda: self._readable(channel))
        self._armed()
        return far

    def forget(self, owner: int) -> None:
        for channel in [one for one in self._channels if one.owner == owner]:
            self._close(channel)

    def sweep(self) -> bool:
        """Give up what is overdue; True while anything is open. Call it once a second while True."""
        now = time.monotonic()
        for channel in list(self._channels):
            for question in [one for one in channel.questions if one.due <= now]:
                self._settle(question, question.short)
            if not channel.questions and channel.due <= now:
                self._close(channel)
        return bool(self._channels)

    def _of(self, owner: int) -> int:
        return sum(1 for one in self._channels if one.owner == owner)

    def _readable(self, channel: Channel) -> None:
        try:
            content = channel.near.recv(_QUESTION_MAX)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        if not content:
            self._close(channel)
            return
        channel.unread += content
        channel.due = time.monotonic() + _IDLE_S
        while len(channel.unread) >= 2:
            size = _LENGTH.unpack_from(channel.unread)[0]
            if not 12 <= size <= _QUESTION_MAX or len(channel.questions) >= _PENDING_MAX:
                self._close(channel)
                return
            if len(channel.unread) < size + 2:
                return
            question = bytes(channel.unread[2 : size + 2])
            del channel.unread[: size + 2]
            self._ask(channel, question)

    def _ask(self, channel: Channel, content: bytes) -> None:
        try:
            question = _Question(channel, content)
        except OSError:
            self._close(channel)
            return
        channel.questions.add(question)
        self._loop.add(question.socket.fileno(), lambda: self._datagram(question))

    def _datagram(self, question: _Question) -> None:
        try:
            content = question.socket.recv(_ANSWER_MAX)
        except BlockingIOError:
            return
        except OSError:
            self._settle(question, b"")
            return
        if len(content) < 12 or content[:2] != question.content[:2]:
            return  # not an answer to this question: go on waiting
        if content[2] & _TRUNCATED:
            question.short = content
            self._ask_again(question)
        else:
            self._settle(question, content)

    def _ask_again(self, question: _Question) -> None:
        """The answer did not fit: ask over TCP."""
        self._drop_socket(question)
        try:
            question.socket = _toward(question.channel.server, socket.SOCK_STREAM)
        except OSError:
            self._settle(question, question.short)
            return
        self._loop.add(question.socket.fileno(), lambda: self._connected(question))
        self._loop.want_write(question.socket.fileno(), True)

    def _connected(self, question: _Question) -> None:
        message = _LENGTH.pack(len(question.content)) + question.content
        try:
            sent = question.socket.send(message)
        except OSError:
            sent = 0
        if sent != len(message):
            self._settle(question, question.short)
            return
        question.stream = bytearray()
        self._loop.remove(question.socket.fileno())
        self._loop.add(question.socket.fileno(), lambda: self._streamed(question))

    def _streamed(self, question: _Question) -> None:
        stream = question.stream
        assert stream is not None
        try:
            content = question.socket.recv(_ANSWER_MAX)
        except BlockingIOError:
            return
        except OSError:
            content = b""
        stream += content
        if len(stream) >= 2 and len(stream) >= 2 + _LENGTH.unpack_from(stream)[0]:
            whole = bytes(stream[2 : 2 + _LENGTH.unpack_from(stream)[0]])
            self._settle(question, whole if whole[:2] == question.content[:2] else question.short)
        elif not content:
            self._settle(question, question.short)

    def _settle(self, question: _Question, content: bytes) -> None:
        """End a question with an answer, or close the channel without one: the resolver inside tries the next."""
        channel = question.channel
        self._drop_socket(question)
        channel.questions.discard(question)
        message = _LENGTH.pack(len(content)) + content
        try:
            # An instance that does not read its answers loses the channel: nothing is kept for it here.
            if content and channel.near.send(message) == len(message):
                return
        except OSError:
            pass
        self._close(channel)

    def _drop_socket(self, question: _Question) -> None:
        self._loop.remove(question.socket.fileno())
        question.socket.close()

    def _close(self, channel: Channel) -> None:
        if channel not in self._channels:
            return
        self._channels.discard(channel)
        for question in channel.questions:
            self._drop_socket(question)
        channel.questions.clear()
        self._loop.remove(channel.near.fileno())
        channel.near.close()
