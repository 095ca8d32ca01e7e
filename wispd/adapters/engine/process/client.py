"""`ProcessEngine`: the gateway's side of the launcher. Never blocks; what the launcher sends is checked too."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from wispd.adapters.engine.process import descriptors, egress, protocol
from wispd.adapters.engine.process.descriptors import Packet, PacketError
from wispd.adapters.engine.process.runtimes import NAMES
from wispd.base.errors import CODES, Fault
from wispd.model.function import Network
from wispd.ports.engine import EngineEvents, ExitCause, Exited, Started, StartSpec

QUEUE_MAX: Final = 4096  # messages to a launcher that does not read; more starts are refused
_TURN_MAX: Final = 64
_NOTHING: Final = bytes(32)
_FAULTS: Final = {
    "code_missing": ("unavailable", "the function's code is not on this node"),
    "layer_failed": ("unavailable", "the function's layer is not on this node"),
    "corrupt": ("corrupt", "what is stored of the function is damaged; deploy it again, or restore a backup"),
    "no_capacity": ("no_capacity", "the node can't hold one more instance"),
    "sandbox_failed": ("unavailable", "the sandbox could not be made"),
    "runtime_missing": ("init_failed", "the function's runtime is not on this node"),
}


class ProcessEngine:
    """Implements `wispd.ports.engine.Engine` over a SEQPACKET connection to the launcher.

    `data` is the node's data directory: without namespaces instances see code and layers there. Before the first
    `connect`, and between `lost` and `restored`, starts are refused with `unavailable`.
    """

    def __init__(self, events: EngineEvents, *, data: str, loop: asyncio.AbstractEventLoop) -> None:
        self._events = events
        self._data = data
        self._loop = loop
        self._link: socket.socket | None = None
        self._queue: deque[bytes] = deque()
        self._tickets: dict[int, StartSpec] = {}
        self._connected_before = False
        self._readers: dict[int, Callable[[bytes, list[int]], None]] = {
            protocol.STARTED: self._started,
            protocol.REFUSED: self._refused,
            protocol.EXITED: self._exited,
            protocol.SAMPLED: self._sampled,
            protocol.WELCOME: self._welcome,
        }
        self.level = ""  # of isolation: one of protocol.LEVELS once the launcher has said so

    def connect(self, descriptor: int) -> None:
        """Use this connection from now on; it becomes ours. With one in use: that launcher is gone (`lost`)."""
        self._lose()
        self._link = link = socket.socket(fileno=descriptor)
        link.setblocking(False)
        self._loop.add_reader(link.fileno(), self._readable)

    def close(self) -> None:
        """Close the connection: the launcher ends all instances. No event follows."""
        link, self._link = self._link, None
        if link is not None:
            self._loop.remove_reader(link.fileno())
            self._loop.remove_writer(link.fileno())
            link.close()
        self._queue.clear()
        self._tickets.clear()

    # -- Engine

    def start(self, ticket: int, spec: StartSpec) -> None:
        try:
            message = start_message(ticket, spec)
        except ValueError as error:
            fault = Fault("init_failed", str(error))
            self._loop.call_soon(self._events.refused, ticket, fault)
            return
        if not self.level or not self._send(message):
            fault = Fault("unavailable", "the launcher is not there", retry_after_s=1.0)
            self._loop.call_soon(self._events.refused, ticket, fault)
            return
        self._tickets[ticket] = spec

    def stop(self, instance: int) -> None:
        self._send(protocol.STOP_MESSAGE.pack(protocol.STOP, instance))

    def sample(self) -> None:
        self._send(protocol.SAMPLE_MESSAGE.pack(protocol.SAMPLE))

    def keep(self, runtime: str, *, layer: str, namespace: str, network: Network, members: int) -> None:
        try:
            kind = (protocol.NETWORKS.index(network), NAMES.index(runtime), members)
            message = protocol.KEEP_MESSAGE.pack(protocol.KEEP, *kind, _namespace(namespace), _digest(layer))
        except ValueError:
            return  # a kind that can't be started needs no members
        self._send(message)

    # -- the connection

    def _send(self, message: bytes) -> bool:
        """Send or queue; False when there is no launcher or it does not read."""
        if self._link is None or len(self._queue) >= QUEUE_MAX:
            return False
        if self._queue:
            self._queue.append(message)
            return True
        try:
            self._link.send(message)
        except BlockingIOError:
            self._queue.append(message)
            self._loop.add_writer(self._link.fileno(), self._writable)
        except OSError:
            self._lose()
            return False
        return True

    def _writable(self) -> None:
        link = self._link
        if link is None:
            return
        try:
            while self._queue:
                link.send(self._queue[0])
                self._queue.popleft()
        except BlockingIOError:
            return
        except OSError:
            self._lose()
            return
        self._loop.remove_writer(link.fileno())

    def _readable(self) -> None:
        for _ in range(_TURN_MAX):
            link = self._link
            if link is None:
                return
            try:
                packet = descriptors.receive(link, protocol.MESSAGE_MAX)
            except BlockingIOError:
                return
            except (OSError, PacketError):
                self._lose()
                return
            if not packet.content or not self._dispatch(packet):
                self._lose()
                return

    def _dispatch(self, packet: Packet) -> bool:
        """Follow one message; False, and its descriptors closed, when it has no sense."""
        reader = self._readers.get(packet.content[0])
        try:
            if reader is None:
                raise ValueError(f"message of type {packet.content[0]}")
            reader(packet.content, packet.descriptors)
        except (ValueError, IndexError):
            descriptors.close_all(packet.descriptors)
            return False
        return True

    def _lose(self) -> None:
        """The launcher is gone, and all instances with it."""
        if self._link is None:
            return
        was_there = bool(self.level)
        self.close()
        self.level = ""
        if was_there:
            self._events.lost()

    # -- messages. Each checks its size before it takes a descriptor; `ValueError` closes them all.

    def _welcome(self, content: bytes, given: list[int]) -> None:
        if given or len(content) != protocol.WELCOME_MESSAGE.size:
            raise ValueError(f"WELCOME of {len(content)} bytes")
        _, level = protocol.WELCOME_MESSAGE.unpack(content)
        self.level = protocol.LEVELS[level]
        if self._connected_before:
            self._events.restored()
        self._connected_before = True

    def _started(self, content: bytes, given: list[int]) -> None:
        if len(content) != protocol.STARTED_MESSAGE.size or len(given) not in {3, 4}:
            raise ValueError(f"STARTED of {len(content)} bytes with {len(given)} descriptors")
        _, pooled, ticket, instance, _ = protocol.STARTED_MESSAGE.unpack(content)
        spec = self._tickets.pop(ticket, None)
        if spec is None:
            raise ValueError(f"STARTED for ticket {ticket}, which nobody waits for")
        link, steal, log, schedstat = given if len(given) == 4 else [*given, -1]
        for number in (link, log):  # not `steal`: it is the instance's own end, which blocks; MSG_DONTWAIT is for it
            os.set_blocking(number, False)
        code, layer = self._paths(spec)
        started = Started(
            instance=instance,
            link_fd=link,
            steal_fd=steal,
            log_fd=log,
            schedstat_fd=schedstat,
            code_path=code,
            layer_path=layer,
            pooled=bool(pooled),
        )
        self._events.started(ticket, started)

    def _paths(self, spec: StartSpec) -> tuple[str, str]:
        """Where code and layer are, seen from inside."""
        if self.level != "process":
            return protocol.CODE_PATH, protocol.LAYER_PATH if spec.layer else ""
        layer = os.path.join(self._data, "layers", spec.layer) if spec.layer else ""
        return os.path.join(self._data, "code", spec.code), layer

    def _refused(self, content: bytes, given: list[int]) -> None:
        size = protocol.REFUSED_MESSAGE.size
        if given or len(content) < size:
            raise ValueError(f"REFUSED of {len(content)} bytes")
        _, reason, ticket = protocol.REFUSED_MESSAGE.unpack_from(content)
        name = protocol.REASONS[reason]
        code, text = _FAULTS.get(name, ("internal", "the launcher gave no reason"))
        if self._tickets.pop(ticket, None) is not None:
            detail = content[size:].decode(errors="replace")
            retry_s = 1.0 if CODES[code][2] else None
            self._events.refused(ticket, Fault(code, f"{text}: {detail}", retry_after_s=retry_s, reason=name))

    def _exited(self, content: bytes, given: list[int]) -> None:
        if given or len(content) != protocol.EXITED_MESSAGE.size:
            raise ValueError(f"EXITED of {len(content)} bytes")
        _, cause, status, instance, cpu_ns, peak_bytes = protocol.EXITED_MESSAGE.unpack(content)
        exited = Exited(
            instance=instance, cause=ExitCause(cause), status=status, cpu_ns=cpu_ns, peak_bytes=peak_bytes
        )
        self._events.exited(exited)

    def _sampled(self, content: bytes, given: list[int]) -> None:
        size = protocol.SAMPLED_MESSAGE.size
        _, count = protocol.SAMPLED_MESSAGE.unpack_from(content.ljust(size, b"\0"))
        if given or len(content) != size + count * protocol.SAMPLE_ENTRY.size:
            raise ValueError(f"SAMPLED of {len(content)} bytes with {count} entries")
        self._events.sampled(list(protocol.SAMPLE_ENTRY.iter_unpack(content[size:])))


def start_message(ticket: int, spec: StartSpec) -> bytes:
    """Encode a start. Raises: `ValueError` naming what can't be said (unknown runtime, bad allow entry)."""
    if spec.runtime not in NAMES:
        raise ValueError(f"runtime {spec.runtime!r} is not known; there are {', '.join(NAMES)}")
    allow = [egress.parse_allow(text).pack() for text in spec.network_allow]
    if len(allow) > protocol.ALLOW_MAX:
        raise ValueError(f"{len(allow)} entries in network.allow, limit {protocol.ALLOW_MAX}")
    head = protocol.START_MESSAGE.pack(
        protocol.START,
        protocol.NETWORKS.index(spec.network),
        NAMES.index(spec.runtime),
        len(allow),
        ticket,
        spec.memory_bytes,
        spec.scratch_bytes,
        round(spec.cpu * 1000),
        spec.pids_max,
        _namespace(spec.namespace),
        _digest(spec.code),
        _digest(spec.layer),
    )
    return head + b"".join(allow)


def _namespace(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _digest(text: str) -> bytes:
    raw = bytes.fromhex(text)
    if text and len(raw) != 32:
        raise ValueError(f"digest of {len(raw)} bytes, want 32")
    return raw or _NOTHING
