"""How a change and its audit entry become one: both are in one transaction, on the disk before the answer.

The gate opens an `Account` for each request. The first change that the request has written carries the account's
entry along; if that can't be written, neither is the change. What ends without a change is written by `settle`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from wispd.base.errors import Fault
from wispd.control.sampling import Sampler
from wispd.model.audit import AuditEntry, Outcome, printable
from wispd.model.permission import Principal
from wispd.model.published import Entry
from wispd.ports.catalogue import Catalogue

Result = TypeVar("Result")
Change = Callable[[Catalogue], tuple[Result, Sequence[Entry]]]
Now = Callable[[], int]  # Unix ns


class Account:
    """What is known so far of one request, for its audit entry."""

    def __init__(self, source: str, now: Now) -> None:
        self.principal: Principal | None = None
        self.namespace = ""
        self.operation = ""
        self.target = ""
        self.changes = False  # is it a request that changes something?
        self.denied = False
        self.code = ""  # of the fault it ended with
        self.written = False
        self._source = source
        self._now = now

    @property
    def due(self) -> bool:
        """Is a change that is about to be written to carry the entry along?"""
        return self.changes and not self.written

    def entry(self, outcome: Outcome, unsaid: int = 0) -> AuditEntry:
        """Return the entry."""
        who = self.principal
        # Who knocks at another tenant's door is named to neither that tenant nor one that comes later.
        strange = who is not None and who.namespace not in ("", self.namespace)
        return AuditEntry(
            time_us=self._now() // 1000,
            outcome=outcome,
            operation=printable(self.operation),
            target=printable(f"{self.namespace}/{self.target}" if strange else self.target),
            namespace=printable(who.namespace if who is not None and strange else self.namespace),
            token_id=who.token_id if who else "",
            token_name=printable(who.name) if who else "",
            token_namespace=who.namespace if who else "",
            role=printable(who.role) if who else "",
            code=self.code,
            source=printable(self._source),
            unsaid=unsaid,
        )


_CURRENT: Final[ContextVar[Account | None]] = ContextVar("wisp_account", default=None)


@contextlib.contextmanager
def accounting(account: Account) -> Iterator[None]:
    """Within it, changes are made on this account."""
    token = _CURRENT.set(account)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current() -> Account | None:
    """Return the account on which this runs; None outside of a request."""
    return _CURRENT.get()


def with_entry(change: Change[Result], account: Account) -> Change[Result]:
    """Return the change together with its entry: both, or none."""

    def both(catalogue: Catalogue) -> tuple[Result, Sequence[Entry]]:
        with catalogue.together():
            outcome = change(catalogue)
            catalogue.audit.append(account.entry("done"))
            return outcome

    return both


class Auditor:
    """Writes the entries of requests that did not change anything. `apply` is the writer's."""

    def __init__(self, apply: Callable[[Change[Any]], Awaitable[Any]], now: Now) -> None:
        self._apply = apply
        self._now = now
        self._sampler = Sampler()

    def open(self, source: str) -> Account:
        """Return the account of a new request."""
        return Account(source, self._now)

    async def settle(self, account: Account, status: int) -> None:
        """Write what is left to be written of a request that is about to be answered with `status`.

        Raises: `Fault` when it was done, but not yet written, and can't be. A refusal is answered in any case.
        """
        outcome = _outcome(account, status)
        if outcome is None:
            return
        account.written = True  # from here on: what is written below is the entry itself
        if outcome == "done":
            await self._apply(_only(account.entry("done")))
            return
        token_id = account.principal.token_id if account.principal else ""
        unsaid = self._sampler.admit(token_id, outcome, self._now())
        if unsaid is not None:
            with contextlib.suppress(Fault):  # a full disk: nothing was done, and the refusal stands
                await self._apply(_only(account.entry(outcome, unsaid)))


def _outcome(account: Account, status: int) -> Outcome | None:
    """Decide what is left to be said of a request."""
    if account.denied:
        return "denied"
    if status >= 400:
        return "failed" if account.changes else None
    return "done" if account.due else None


def _only(entry: AuditEntry) -> Change[None]:
    def change(catalogue: Catalogue) -> tuple[None, list[Entry]]:
        catalogue.audit.append(entry)
        return None, []

    return change
