"""The broker's work: answer the connects, binds and listens that sandboxes with network `egress` make.

Why each answer is safe. A connect to the outside is made here, with a copy of the address that was judged, on a
socket that the sandbox does not have yet. Calls on the sandbox's own sockets are made on a duplicate of the open
file, so what its descriptor number means by then plays no part. Calls on Unix sockets go on in the kernel, but only
where Landlock keeps the caller from connecting or binding TCP by itself. See docs/decisions/0002-egress.md.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from wispd.adapters.engine.process import egress, notification, outward, seccomp
from wispd.adapters.engine.process.dnsrelay import DnsRelay
from wispd.adapters.engine.process.loop import Loop
from wispd.adapters.engine.process.notification import Notification, StaleError
from wispd.adapters.engine.process.routes import Routes

PENDING_MAX: Final = 4096
PENDING_EACH_MAX: Final = 64
INSIDE_MAX: Final = 32  # threads for connects to a sandbox's own loopback, which may block
INSIDE_EACH_MAX: Final = 2
INSIDE_TIMEOUT_S: Final = 5.0
CONNECT_TIMEOUT_S: Final = 135.0  # beyond what the kernel itself tries
_PROCESSES_MAX: Final = 64  # pidfds kept per instance
_FAMILIES: Final = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
_REFUSALS_PER_S: Final = 10  # lines in the log


@dataclass(eq=False)
class Client:
    """One instance."""

    instance: int
    notifier: int
    policy: egress.Policy
    processes: dict[int, int] = field(default_factory=dict)  # thread → pidfd
    pending: int = 0
    inside: int = 0
    gone: bool = False


@dataclass(eq=False)
class Pending:
    """A connect that is under way, and the held call that waits for it. `inner` is set for one inside."""

    client: Client
    call: Notification
    outer: socket.socket
    due: float
    inner: bool = False


class Broker:
    """Serves any number of instances on one loop. Bounded in total and for each."""

    def __init__(self, loop: Loop, resolvers: dict[int, str]) -> None:
        self._loop = loop
        self._servers = resolvers
        self._clients: dict[int, Client] = {}
        self._pending: set[Pending] = set()
        self._sweeping = False
        self._relay = DnsRelay(loop, self._arm)
        self._routes = Routes()
        self._twins = outward.Twins()
        self._unix = seccomp.landlock_abi() >= seccomp.LANDLOCK_TCP_ABI
        self._refusals = (0.0, 0)
        self._poll = select.poll()
        self._done: deque[tuple[Pending, int]] = deque()
        self._woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        loop.add(self._woken, self._inside_done)
        with socket.socket(socket.AF_UNIX) as own:
            self._cookie = notification.network_cookie(own)

    # -- instances ------------------------------------------------------------------------------------------------

    def adopt(self, instance: int, notifier: int, allowed: tuple[egress.Allowed, ...]) -> None:
        """Serve an instance; the descriptor becomes ours. Raises `ValueError` when it is no listener."""
        if not notification.is_notifier(notifier) or instance in self._clients:
            os.close(notifier)
            raise ValueError(f"instance {instance}: not a new listener")
        client = Client(instance, notifier, egress.Policy(allowed, frozenset(self._servers)))
        self._clients[instance] = client
        self._loop.add(notifier, lambda: self._readable(client))

    def forget(self, instance: int) -> None:
        """Drop an instance and all it waits for; its held calls answer ENOSYS. Idempotent."""
        client = self._clients.pop(instance, None)
        if client is None:
            return
        client.gone = True
        self._relay.forget(instance)
        for pending in [one for one in self._pending if one.client is client]:
            if pending.inner:
                self._shut(pending)  # its thread comes back and settles it
            else:
                self._close(pending)
        self._loop.remove(client.notifier)
        os.close(client.notifier)
        for pidfd in client.processes.values():
            os.close(pidfd)
        client.processes.clear()

    def _readable(self, client: Client) -> None:
        self._poll.register(client.notifier, select.POLLIN)
        events = self._poll.poll(0)
        self._poll.unregister(client.notifier)
        if not events:
            return
        if not events[0][1] & select.POLLIN:  # POLLHUP alone: nobody is filtered by it any more
            self.forget(client.instance)
            return
        try:
            call = notification.receive(client.notifier)
        except StaleError:
            return
        except OSError:  # also InterruptedError: somebody inside kept the listener
            self.forget(client.instance)
            return
        with contextlib.suppress(StaleError):
            self._serve(client, call)

    # -- calls ----------------------------------------------------------------------------------------------------

    def _serve(self, client: Client, call: Notification) -> None:
        try:
            answer = self._decide(client, call)
        except StaleError:
            return
        except OSError as error:
            answer = error.errno or errno.EPERM
        if answer is not None:
            notification.answer(client.notifier, call.id, answer)

    def _decide(self, client: Client, call: Notification) -> int | None:
        """Return the error number (0: success) to answer with, or None when it is answered, now or later."""
        if not call.call or call.tid <= 0:
            return errno.EPERM
        with self._take(client, call) as own:
            if own.family not in _FAMILIES:
                return errno.EPERM
            ours = notification.network_cookie(own) == self._cookie
            if call.call == "listen":
                return errno.EINVAL if ours else notification.listen(own, call.arguments[1])
            if own.family == socket.AF_UNIX:
                return self._unix_call(client, call, ours)
            size = call.arguments[2] & 0xFFFF_FFFF
            if not 2 <= size <= notification.ADDRESS_MAX:
                return errno.EINVAL
            address = notification.read_memory(call.tid, call.arguments[1], size)
            if not notification.is_valid(client.notifier, call.id):
                return None
            if call.call == "bind":
                return errno.EINVAL if ours else notification.bind(own, address)
            if own.type != socket.SOCK_STREAM or address[:2] == b"\0\0":
                # Datagrams stay inside: an own socket can reach nothing but this sandbox's loopback.
                return errno.EISCONN if ours else notification.connect(own, address)
            return self._connect(client, call, own, address)

    def _take(self, client: Client, call: Notification) -> socket.socket:
        """Duplicate the socket the call is about. Raises `OSError`."""
        for attempt in (0, 1):
            process = self._process(client, call)
            try:
                return notification.take_socket(client.processes[process], call.arguments[0])
            except ProcessLookupError:  # the number had belonged to a process that has ended
                os.close(client.processes.pop(process))
                if attempt:
                    raise
        raise AssertionError

    def _process(self, client: Client, call: Notification) -> int:
        """Return the caller's process, with its pidfd in `client.processes`. Raises `OSError`."""
        if call.tid in client.processes:
            return call.tid
        process = notification.group_of(call.tid)
        if process in client.processes:
            return process
        if len(client.processes) >= _PROCESSES_MAX:
            os.close(client.processes.pop(next(iter(client.processes))))
        pidfd = os.pidfd_open(process)
        if not notification.is_valid(client.notifier, call.id):
            os.close(pidfd)
            raise StaleError(errno.ENOENT, "the caller is gone")
        client.processes[process] = pidfd
        return process

    def _unix_call(self, client: Client, call: Notification, ours: bool) -> int | None:
        if ours or not self._unix:
            return errno.EISCONN if ours else errno.EACCES
        notification.go_on(client.notifier, call.id)
        return None

    def _connect(self, client: Client, call: Notification, own: socket.socket, raw: bytes) -> int | None:
        if own.proto != socket.IPPROTO_TCP:
            return errno.EPROTONOSUPPORT
        state = outward.tcp_state(own)
        if state != outward.STATE_CLOSE:
            return errno.EALREADY if state == outward.STATE_SYN_SENT else errno.EISCONN
        failed = own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            return failed
        address, port = outward.parse_address(own.family, raw)
        verdict = client.policy.judge(address, port)
        if verdict is egress.Verdict.INSIDE:
            if notification.network_cookie(own) == self._cookie:
                return errno.ECONNREFUSED  # a used outside socket: its loopback is the host's
            return self._connect_inside(client, call, own, raw)
        if verdict is egress.Verdict.RESOLVER:
            return self._install(client, call, self._relay.open(client.instance, self._servers[address]), own)
        if verdict is egress.Verdict.CONNECT and not client.policy.names(address, port):
            family, packed = outward.route_address(address)
            if not self._routes.leads_out(family, packed):
                verdict = egress.Verdict.REFUSE
        if verdict is egress.Verdict.REFUSE:
            self._tell(client, address, port)
            return errno.EACCES
        return self._connect_outside(client, call, own, outward.build_address(own.family, address, port))

    # -- outside --------------------------------------------------------------------------------------------------

    def _connect_outside(self, client: Client, call: Notification, own: socket.socket, address: bytes) -> int | None:
        if len(self._pending) >= PENDING_MAX or client.pending >= PENDING_EACH_MAX:
            return errno.EAGAIN
        outer = self._twins.like(own)
        try:
            result = notification.connect(outer, address)
            if result == errno.EINPROGRESS and not outward.is_nonblocking(own):
                self._wait(Pending(client, call, notification.duplicate(outer), time.monotonic() + CONNECT_TIMEOUT_S))
                return None
            if result in {0, errno.EINPROGRESS}:
                return self._install(client, call, outer, own) or result
            return result
        finally:
            outer.close()

    def _install(self, client: Client, call: Notification, outer: socket.socket, own: socket.socket) -> int:
        """Put `outer` in the place of the caller's socket and close ours. Raises `OSError`."""
        with outer:
            os.set_blocking(outer.fileno(), not outward.is_nonblocking(own))
            self._put(client, call, outer)
        return 0

    def _put(self, client: Client, call: Notification, outer: socket.socket) -> None:
        at = call.arguments[0] & 0xFFFF_FFFF
        close = notification.closes_on_exec(call.tid, at)
        notification.put_descriptor(client.notifier, call.id, outer.fileno(), at=at, close_on_exec=close)

    def _wait(self, pending: Pending) -> None:
        pending.client.pending += 1
        self._pending.add(pending)
        number = pending.outer.fileno()
        self._loop.add(number, lambda: self._connected(pending))
        self._loop.want_write(number, True)
        self._arm()

    def _connected(self, pending: Pending) -> None:
        """A blocking connect has ended, well or not."""
        client, call = pending.client, pending.call
        result = pending.outer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        try:
            if not result:
                os.set_blocking(pending.outer.fileno(), True)
                self._put(client, call, pending.outer)
            notification.answer(client.notifier, call.id, result)
        except StaleError:
            pass
        except OSError as error:
            self._fail(client, call, error.errno or errno.EBADF)
        finally:
            self._close(pending)

    def _fail(self, client: Client, call: Notification, error: int) -> None:
        with contextlib.suppress(OSError):
            notification.answer(client.notifier, call.id, error)

    def _close(self, pending: Pending) -> None:
        if pending in self._pending:
            self._pending.discard(pending)
            pending.client.pending -= 1
            self._loop.remove(pending.outer.fileno())
            pending.outer.close()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _connect_inside(self, client: Client, call: Notification, own: socket.socket, address: bytes) -> int | None:
        """Connect on the sandbox's own loopback, in a thread: it may block, whatever its flags are by then."""
        total = sum(1 for one in self._pending if one.inner)
        if total >= INSIDE_MAX or client.inside >= INSIDE_EACH_MAX:
            return errno.EAGAIN
        pending = Pending(client, call, notification.duplicate(own), time.monotonic() + INSIDE_TIMEOUT_S, inner=True)
        client.inside += 1
        self._pending.add(pending)
        threading.Thread(target=self._inside, args=(pending, address), daemon=True).start()
        self._arm()
        return None

    def _inside(self, pending: Pending, address: bytes) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        result = notification.connect(pending.outer, address)
        self._done.append((pending, result))
        os.eventfd_write(self._woken, 1)

    def _inside_done(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._woken)
        while self._done:
            pending, result = self._done.popleft()
            self._pending.discard(pending)
            pending.client.inside -= 1
            pending.outer.close()
            if not pending.client.gone:
                self._fail(pending.client, pending.call, result)

    def _shut(self, pending: Pending) -> None:
        with contextlib.suppress(OSError):
            pending.outer.shutdown(socket.SHUT_RDWR)

    # -- time -----------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(1.0, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = False
        now = time.monotonic()
        for pending in [one for one in self._pending if one.due <= now]:
            if pending.inner:
                self._shut(pending)
            else:
                self._fail(pending.client, pending.call, errno.ETIMEDOUT)
                self._close(pending)
        if self._relay.sweep() or self._pending:
            self._arm()

    def _tell(self, client: Client, address: int, port: int) -> None:
        """Log a refusal, a few a second."""
        second, count = self._refusals
        now = time.monotonic()
        self._refusals = (second, count + 1) if now - second < 1 else (now, 1)
        if self._refusals[1] <= _REFUSALS_PER_S:
            with contextlib.suppress(OSError):
                shown = f"{address:032x}"
                os.write(2, f"egress: instance {client.instance}: refused {shown} port {port}\n".encode())
