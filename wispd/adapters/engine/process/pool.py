"""How many idle members of which kind to have: decided here, forked elsewhere. Pure but for its own counts."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from wispd.adapters.engine.process.instances import Kind, Member

MEMBERS_MAX: Final = 64  # of one kind, whatever is asked
TOTAL_MAX: Final = 256
FORKS_AT_ONCE: Final = 2  # refills under way; more would take the processors from running functions
BACKOFF_FIRST_S: Final = 0.1
BACKOFF_MAX_S: Final = 30.0


class Pool:
    """Idle members by kind, and the wanted number of each."""

    def __init__(self) -> None:
        self._ready: dict[Kind, deque[Member]] = {}
        self._wanted: dict[Kind, int] = {}
        self._forking: Counter[Kind] = Counter()
        self._failures: dict[Kind, tuple[int, float]] = {}  # kind → (failures in a row, not before)

    def take(self, kind: Kind) -> Member | None:
        """The member that has been idle longest, or None."""
        ready = self._ready.get(kind)
        return ready.popleft() if ready else None

    def put(self, member: Member) -> None:
        self._ready.setdefault(member.kind, deque()).append(member)

    def discard(self, member: Member) -> None:
        """Forget a member that ended while idle."""
        ready = self._ready.get(member.kind)
        if ready and member in ready:
            ready.remove(member)

    def keep(self, kind: Kind, members: int) -> list[Member]:
        """Want this many from now on; return those that are too many."""
        self._wanted[kind] = min(members, MEMBERS_MAX)
        if not members:
            del self._wanted[kind]
        ready = self._ready.get(kind, deque())
        return [ready.popleft() for _ in range(len(ready) - min(members, MEMBERS_MAX))]

    def wanted(self, kind: Kind) -> int:
        return self._wanted.get(kind, 0)

    def idle(self, kind: Kind) -> int:
        return len(self._ready.get(kind, ()))

    def next_fork(self, now_s: float) -> Kind | None:
        """The kind that lacks most members, None when nothing may be forked now."""
        if sum(self._forking.values()) >= FORKS_AT_ONCE or sum(map(len, self._ready.values())) >= TOTAL_MAX:
            return None
        lacking = [
            (wanted - self.idle(kind) - self._forking[kind], kind)
            for kind, wanted in self._wanted.items()
            if self._failures.get(kind, (0, 0.0))[1] <= now_s
        ]
        most = max(lacking, default=(0, None), key=lambda pair: pair[0])
        return most[1] if most[0] > 0 else None

    def forking(self, kind: Kind) -> None:
        self._forking[kind] += 1

    def forked(self, kind: Kind) -> None:
        """A refill succeeded."""
        self._done(kind)
        self._failures.pop(kind, None)

    def failed(self, kind: Kind, now_s: float) -> float:
        """A refill failed; return the seconds until the next try."""
        self._done(kind)
        count = self._failures.get(kind, (0, 0.0))[0] + 1
        delay_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * float(2 ** min(count - 1, 20)))
        self._failures[kind] = (count, now_s + delay_s)
        return delay_s

    def retry(self) -> None:
        """Something changed: forget the pauses after failures."""
        self._failures.clear()

    def _done(self, kind: Kind) -> None:
        self._forking[kind] -= 1
        if self._forking[kind] <= 0:
            del self._forking[kind]
