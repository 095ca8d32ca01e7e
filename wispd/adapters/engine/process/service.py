"""The launcher's heart: the gateway's messages in, sandboxes made, given code, watched and ended, messages out."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Final

from wispd.adapters.engine.process import protocol
from wispd.adapters.engine.process.egressing import Egress
from wispd.adapters.engine.process.endings import Endings
from wispd.adapters.engine.process.handover import TreeDamaged, TreeMissing, Trees
from wispd.adapters.engine.process.instances import NOTHING, Kind, Member, StartRequest, parse_keep, parse_start
from wispd.adapters.engine.process.layerzygotes import LayerZygotes
from wispd.adapters.engine.process.making import Maker, NoCapacity
from wispd.adapters.engine.process.peer import Peer
from wispd.adapters.engine.process.pool import Pool
from wispd.adapters.engine.process.world import World
from wispd.adapters.engine.process.zygotes import Zygote

REFILL_PAUSE_S: Final = 0.003  # after a start, the new instance has the processors first
ZYGOTE_TRIES: Final = 3  # at the launcher's own start
_SAMPLES_AT_ONCE: Final = 100
_SAMPLES_MAX: Final = 1000
REASON: Final = {name: index for index, name in enumerate(protocol.REASONS)}


def log(text: str) -> None:
    """One line on standard error, where the supervisor puts it into the launcher's log."""
    sys.stderr.write(f"launcher: {text}\n")
    sys.stderr.flush()


def _reason(error: TreeMissing, missing: str) -> str:
    return "corrupt" if isinstance(error, TreeDamaged) else missing


class Service:
    """Implements `ZygoteEvents`; owns all members. Single-threaded: everything runs in callbacks of the loop."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._loop = world.loop
        self._code = Trees(os.path.join(world.settings.data, "code"))
        self._layers = Trees(os.path.join(world.settings.data, "layers"))
        self._pool = Pool()
        self._members: dict[int, Member] = {}
        self._maker = Maker(world, self, self._members)
        self._endings = Endings(world, self._members, ended=self._ended)
        self._layer_zygotes = LayerZygotes(self._maker, self._layers, world, self._endings)
        uid = world.layer_leases.take() or 0
        self._egress = Egress(world.loop, uid=uid, watch=self._endings.watch_process)
        self._peer: Peer | None = None
        self._quiet_until_ns = 0
        self._refill_due = False
        self._lost_before_ready = 0
        self._failed: Callable[[str], None] = log

    def on_ready(self, ready: Callable[[], None], *, failed: Callable[[str], None]) -> None:
        """Call `ready` once, when the first zygote forks; `failed` instead when it can't be brought to."""
        self._world.ready = ready
        self._failed = failed

    def open(self) -> None:
        """Start the node's own runtime and fill its pool. Raises `OSError`."""
        self._egress.start()
        self._maker.trusted(0)
        self.keep(Kind(0, protocol.NETWORKS.index("egress")), self._world.settings.pool_members)

    def kill_all(self) -> None:
        """Kill every sandbox without waiting: the launcher ends."""
        for member in self._members.values():
            member.kill(session=self._world.sessions)
        for zygote in self._maker.zygotes() + self._layer_zygotes.all():
            zygote.kill()
        self._egress.kill()

    # -- the gateway

    def connect(self, peer: Peer) -> None:
        """Serve this gateway from now on. A former one is gone, and its instances end."""
        self.disconnect()
        self._peer = peer
        peer.send(protocol.WELCOME_MESSAGE.pack(protocol.WELCOME, protocol.LEVELS.index(self._world.level)))

    def disconnect(self) -> None:
        """The gateway is gone: end everything that was started for it. Idle members stay."""
        if self._peer is not None:
            self._peer.close()
            self._peer = None
        for member in self._members.values():
            if member.start is not None:
                member.start, member.assigned = None, False  # nobody waits to hear of it any more
                self._endings.stop(member)

    def receive(self, content: bytes) -> None:
        """Follow one message. Raises: `ValueError` for one that no correct gateway sends."""
        kind = content[0]
        if kind == protocol.START:
            self._start(parse_start(content, time.monotonic_ns()))
        elif kind == protocol.STOP and len(content) == protocol.STOP_MESSAGE.size:
            member = self._members.get(protocol.STOP_MESSAGE.unpack(content)[1])
            if member is not None and member.start is not None:
                self._endings.stop(member)
        elif kind == protocol.SAMPLE and len(content) == protocol.SAMPLE_MESSAGE.size:
            self._sample([number for number, member in self._members.items() if member.assigned], [])
        elif kind == protocol.KEEP:
            self.keep(*parse_keep(content))
        else:
            raise ValueError(f"message of type {kind} and {len(content)} bytes")

    def keep(self, kind: Kind, members: int) -> None:
        """Keep this many members of a kind ready."""
        if kind.layer != NOTHING and members:
            self._layer_zygotes.find(kind)
        for surplus in self._pool.keep(kind, members):
            self._endings.stop(surplus)
        if kind.layer != NOTHING and not members:
            self._layer_zygotes.release(kind)
        self.refill()

    # -- a start

    def _start(self, request: StartRequest) -> None:
        self._quiet_until_ns = request.received_ns + int(REFILL_PAUSE_S * 1e9)
        if not self._maker.has_runtime(request.kind.runtime):
            self._refuse(request, "runtime_missing", self._maker.runtimes_text())
            return
        kind, zygote = self._served_by(request.kind)
        while (member := self._pool.take(kind)) is not None:
            if self._give(member, request):
                self._refill_later()
                return
        try:
            member = self._maker.make(kind, zygote, request)
        except NoCapacity as error:
            self._refuse(request, "no_capacity", str(error))
            return
        except OSError as error:
            self._refuse(request, "sandbox_failed", str(error))
            return
        self._refill_later()

    def _served_by(self, kind: Kind) -> tuple[Kind, Zygote | None]:
        """Who makes members for this start: the layer's zygote when it is there, else a plain one; nobody waits."""
        if kind.layer == NOTHING:
            return kind, None
        zygote = self._layer_zygotes.find(kind)
        return (kind, zygote) if zygote is not None else (kind.plain(), None)

    def _give(self, member: Member, request: StartRequest) -> bool:
        """Give a ready member its code and to the gateway. False: the member is of no use (and ends), try another."""
        opened: list[int] = []
        try:
            trees = [(self._code.open(request.code), protocol.CODE_PATH)]
            opened.append(trees[0][0])
        except TreeMissing as error:
            self._pool_or_end(member)
            self._refuse(request, _reason(error, "code_missing"), str(error))
            return True
        try:
            if request.kind.layer != NOTHING and member.kind.layer == NOTHING:
                trees.append((self._layers.open(request.kind.layer.hex()), protocol.LAYER_PATH))
                opened.append(trees[1][0])
            self._world.specialise(member, request, trees)
            self._egress.admit(member, request)
        except TreeMissing as error:
            self._pool_or_end(member)
            self._refuse(request, _reason(error, "layer_failed"), str(error))
            return True
        except OSError as error:
            member.start = None
            self._endings.stop(member)
            log(f"member {member.number} could not take its code: {error}")
            if member.pooled:
                return False
            self._refuse(request, "sandbox_failed", str(error))
            return True
        finally:
            for number in opened:
                os.close(number)
        self._announce(member, request)
        return True

    def _announce(self, member: Member, request: StartRequest) -> None:
        member.start, member.assigned = request, True
        given = [member.link, member.steal, member.log]
        if member.schedstat >= 0:
            given.append(member.schedstat)
        member.link = member.steal = member.log = member.schedstat = -1
        spent_ns = time.monotonic_ns() - request.received_ns
        answer = (protocol.STARTED, int(member.pooled), request.ticket, member.number, spent_ns)
        self._tell(protocol.STARTED_MESSAGE.pack(*answer), given)

    def _pool_or_end(self, member: Member) -> None:
        """A healthy member whose start came to nothing."""
        member.start = None
        if member.pooled:
            self._pool.put(member)
        else:
            self._endings.stop(member)

    def _refuse(self, request: StartRequest, reason: str, text: str) -> None:
        log(f"start {request.ticket} refused: {reason}: {text}")
        head = protocol.REFUSED_MESSAGE.pack(protocol.REFUSED, REASON[reason], request.ticket)
        self._tell(head + text.encode()[:512])

    def _tell(self, content: bytes, given: list[int] | None = None) -> None:
        if self._peer is not None:
            self._peer.send(content, given or ())
        elif given:
            for number in given:
                os.close(number)

    # -- what zygotes report

    def zygote_ready(self, zygote: Zygote) -> None:
        if zygote.foreign:
            self._layer_zygotes.ready(zygote)
            self._pool.retry()
        else:
            self._world.note_ready()
        self.refill()

    def zygote_lost(self, zygote: Zygote) -> None:
        if zygote.foreign:
            self._layer_zygotes.lost(zygote)
        else:
            self._maker.lost(zygote)
            self._lost_before_ready += not self._world.was_ready
            if self._lost_before_ready >= ZYGOTE_TRIES:
                self._failed("no sandbox can be made here: its first process ends; the log says why")
        self._refill_after(0.1)

    def layer_waits(self, zygote: Zygote) -> None:
        self._layer_zygotes.mount(zygote)

    def member_born(self, member: Member) -> None:
        self._endings.watch(member)
        try:
            self._world.enclose(member)
            self._world.watch_memory(member, self._endings.memory_event)
            self._world.open_schedstat(member)
        except OSError as error:
            log(f"control group of member {member.number}: {error}")
            self._endings.stop(member)

    def member_ready(self, member: Member) -> None:
        if member.pooled:
            self._pool.forked(member.kind)
        if member.stopped:
            self._endings.stop(member)
        elif member.start is not None:
            self._give(member, member.start)
        else:
            self._pool.put(member)
        self.refill()

    def member_failed(self, member: Member, reason: str) -> None:
        if member.pooled:
            delay_s = self._pool.failed(member.kind, time.monotonic_ns() / 1e9)
            log(f"a pool member could not be made (next try in {delay_s:.1f} s): {reason}")
            self._refill_after(delay_s)
        self.member_broken(member, reason)

    def member_broken(self, member: Member, reason: str) -> None:
        """It will never be an instance: answer its start, let the rest of it go."""
        request, member.start = member.start, None
        if request is not None:
            self._refuse(request, "sandbox_failed", reason)
        self._endings.abandon(member)

    # -- refilling

    def refill(self) -> None:
        """Fork what the pool lacks, a few at once, not while a start is fresh."""
        if self._refill_due:
            return
        now_ns = time.monotonic_ns()
        if now_ns < self._quiet_until_ns:
            self._refill_after((self._quiet_until_ns - now_ns) / 1e9)
            return
        while (kind := self._pool.next_fork(now_ns / 1e9)) is not None:
            self._pool.forking(kind)
            zygote = self._layer_zygotes.find(kind) if kind.layer != NOTHING else None
            if kind.layer != NOTHING and zygote is None:  # not yet, or not at all
                self._refill_after(self._pool.failed(kind, now_ns / 1e9))
                return
            try:
                self._maker.make(kind, zygote, None)
            except (OSError, NoCapacity) as error:
                delay_s = self._pool.failed(kind, now_ns / 1e9)
                log(f"no pool member, next try in {delay_s:.1f} s: {error}")
                self._refill_after(delay_s)
                return

    def _refill_later(self) -> None:
        if not self._refill_due:
            self._refill_after(REFILL_PAUSE_S)

    def _refill_after(self, delay_s: float) -> None:
        def due() -> None:
            self._refill_due = False
            self.refill()

        if delay_s <= REFILL_PAUSE_S:
            self._refill_due = True
            self._loop.call_later(delay_s, due)
        else:
            self._loop.call_later(delay_s, self.refill)

    # -- ends

    def reap(self) -> None:
        """Collect ended children."""
        self._endings.reap(self._maker.zygotes() + self._layer_zygotes.all())

    def _ended(self, member: Member, cause: int, status: int, peak_bytes: int) -> None:
        """Every trace of a member is gone."""
        if member.assigned:
            facts = (protocol.EXITED, cause, status, member.number, member.cpu_ns, peak_bytes)
            self._tell(protocol.EXITED_MESSAGE.pack(*facts))
        else:
            self._pool.discard(member)
            if self._forget_fork(member) and member.pooled:
                self._refill_after(self._pool.failed(member.kind, time.monotonic_ns() / 1e9))
            if member.start is not None:
                request, member.start = member.start, None
                self._refuse(request, "sandbox_failed", "the member ended before its start")
            self.refill()

    def _forget_fork(self, member: Member) -> bool:
        """Was it still being made? Then no report about it counts any more."""
        zygotes = self._maker.zygotes() + self._layer_zygotes.all()
        return any(zygote.pending.pop(member.number, None) is not None for zygote in zygotes)

    def _sample(self, numbers: list[int], found: list[bytes]) -> None:
        """Answer SAMPLE a part at a time, so that starts never wait for all of it."""
        for number in numbers[:_SAMPLES_AT_ONCE]:
            member = self._members.get(number)
            if member is not None and member.assigned:
                found.append(protocol.SAMPLE_ENTRY.pack(number, self._world.usage_bytes(member)))
        rest = numbers[_SAMPLES_AT_ONCE:]
        if rest:
            self._loop.call_later(0, lambda: self._sample(rest, found))
            return
        for first in range(0, len(found) or 1, _SAMPLES_MAX):
            part = found[first : first + _SAMPLES_MAX]
            self._tell(protocol.SAMPLED_MESSAGE.pack(protocol.SAMPLED, len(part)) + b"".join(part))
