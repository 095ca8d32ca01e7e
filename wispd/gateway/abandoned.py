"""Calls that were given up while an instance that carries several still works on them."""

from __future__ import annotations

from typing import Final

GRACE_NS: Final = 2_000_000_000  # past its deadline, for a call to end; then its instance is taken for stuck


class Abandoned:
    """Numbers of calls whose last frame has not come, each with when it is overdue. They occupy the instance."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._due)

    def __contains__(self, number: int) -> bool:
        return number in self._due

    def add(self, number: int, now_ns: int, deadline_ns: int) -> None:
        """Nobody waits for this call any more."""
        self._due[number] = max(now_ns, deadline_ns) + GRACE_NS

    def ended(self, number: int) -> None:
        """Its last frame has come."""
        del self._due[number]

    def overdue(self, now_ns: int) -> bool:
        """Does one of them go on although nobody waits and its time is up?"""
        return any(due_ns <= now_ns for due_ns in self._due.values())
