"""Secrets of namespaces: set, list, delete, and change the key that they are sealed with. Nobody reads a value."""

from __future__ import annotations

import asyncio
import re
from typing import Final

from msgspec import Struct

from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.control.names import check_name
from wispd.control.tenancy import must_exist
from wispd.control.writer import Writer
from wispd.model.published import Entry, SecretDeleted
from wispd.model.secret import PER_NAMESPACE_MAX, VALUE_BYTES_MAX, SealedSecret, SecretUse
from wispd.ports.catalogue import Catalogue, Reading
from wispd.ports.secrets import Sealer

REWRAPPED_AT_ONCE: Final = 100
GATEWAY_TOLD_S: Final = 10.0  # how long a rotation waits for the gateway before it keeps the former key
_LOOK_S: Final = 0.05
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)


class Rotated(Struct, frozen=True, kw_only=True):
    """A changed master key. `kept`: former keys that are still in the key file, because the gateway was away."""

    key_id: str
    rewrapped: int
    kept: int


class Secrets:
    """The secrets of all namespaces."""

    def __init__(self, reading: Reading, writer: Writer, sealer: Sealer, clock: Clock) -> None:
        self._reading = reading
        self._writer = writer
        self._sealer = sealer
        self._clock = clock
        self._rotating = asyncio.Lock()

    def show(self, namespace: str, name: str) -> SealedSecret:
        """Return a secret as it is kept; raises `Fault("not_found")`."""
        found = self._reading.secrets.find(check_name(namespace, "namespace"), check_secret_name(name))
        if found is None:
            raise _missing(namespace, name)
        return found

    def page(self, namespace: str, *, after: str, limit: int) -> list[SealedSecret]:
        """Return secrets in the order of their names, those behind `after`."""
        return self._reading.secrets.page(check_name(namespace, "namespace"), after=after, limit=limit)

    async def put(self, namespace: str, name: str, value: bytes) -> tuple[SealedSecret, bool]:
        """Set a secret; True when there was none. The same value again changes nothing.

        Raises: `Fault` `invalid_argument`, `payload_too_large`, `throttled` (too many), `unavailable`.
        """
        check_name(namespace, "namespace")
        check_secret_name(name)
        if not value:
            raise Fault("invalid_argument", f"the value of secret {name} is empty")
        if len(value) > VALUE_BYTES_MAX:
            text = f"the value of secret {name} is {len(value)} bytes, limit {VALUE_BYTES_MAX}"
            raise Fault("payload_too_large", text, limit=VALUE_BYTES_MAX)

        def change(catalogue: Catalogue) -> tuple[tuple[SealedSecret, bool], list[Entry]]:
            must_exist(catalogue, namespace)
            store, now_us = catalogue.secrets, self._clock.unix_ns() // 1000
            known = store.find(namespace, name)
            if known is not None and self._sealer.open(known) == value:
                return (known, False), []
            if known is None and len(store.page(namespace, after="", limit=PER_NAMESPACE_MAX)) >= PER_NAMESPACE_MAX:
                raise Fault("throttled", f"namespace {namespace} has {PER_NAMESPACE_MAX} secrets, which is the limit")
            sealed = self._sealer.seal(_next(known, namespace, name, now_us=now_us), value)
            store.put(sealed)
            return (sealed, known is None), [sealed]

        return await self._writer.apply(change)

    async def delete(self, namespace: str, name: str, *, force: bool = False) -> None:
        """Delete a secret. One that live functions ask for goes only by `force`: they can't start without it.

        Raises: `Fault` `not_found`, `conflict`.
        """
        self.show(namespace, name)

        def change(catalogue: Catalogue) -> tuple[None, list[Entry]]:
            users = [] if force else catalogue.secrets.users(namespace, name)
            if users:
                text = f"secret {name} is used by {', '.join(users)}; deploy them without it, or delete with force"
                raise Fault("conflict", text, functions=users)
            gone = catalogue.secrets.delete(namespace, name)
            return None, [SecretDeleted(namespace=namespace, name=name)] if gone else []

        await self._writer.apply(change)

    async def rotate(self) -> Rotated:
        """Put all secrets under a new master key while everything goes on; then forget the former one.

        Raises: `Fault` `conflict` (one is under way), `unavailable`, `storage_full`; run again, it goes on.
        """
        if self._rotating.locked():
            raise Fault("conflict", "the key is being changed already")
        async with self._rotating:
            key_id = await self._writer.apply(lambda _: (self._sealer.begin_rotation(), []))
            rewrapped = 0
            while count := await self._writer.apply(self._rewrap_some):
                rewrapped += count
            kept = await self._forget()
            return Rotated(key_id=key_id, rewrapped=rewrapped, kept=kept)

    def _rewrap_some(self, catalogue: Catalogue) -> tuple[int, list[Entry]]:
        changed: list[SealedSecret] = []
        for secret in catalogue.secrets.all():
            again = self._sealer.rewrap(secret)
            if again is not secret:
                changed.append(again)
            if len(changed) >= REWRAPPED_AT_ONCE:
                break
        for again in changed:
            catalogue.secrets.put(again)
        return len(changed), list(changed)

    async def _forget(self) -> int:
        """Drop the former keys when the gateway has taken everything in; return how many were kept."""
        end_ns = self._clock.monotonic_ns() + int(GATEWAY_TOLD_S * 1e9)
        while not self._writer.settled:
            if self._clock.monotonic_ns() > end_ns:
                return 1
            await asyncio.sleep(_LOOK_S)
        await self._writer.apply(lambda catalogue: (self._sealer.forget(catalogue.secrets.key_ids()), []))
        return 0


def check_present(catalogue: Reading, namespace: str, uses: tuple[SecretUse, ...]) -> None:
    """Raise `Fault("not_found")` naming the first secret that a function asks for and that is not set."""
    for use in uses:
        if catalogue.secrets.find(namespace, use.name) is None:
            raise _missing(namespace, use.name)


def check_secret_name(name: str) -> str:
    """Return `name` when it may name a secret; raises `Fault("invalid_argument")`."""
    if not _NAME.fullmatch(name):
        rule = "it must be a name of a variable: letters, digits and _, at most 128"
        raise Fault("invalid_argument", f"the secret's name {name[:80]!a} is not allowed: {rule}")
    return name


def _next(known: SealedSecret | None, namespace: str, name: str, *, now_us: int) -> SealedSecret:
    return SealedSecret(
        namespace=namespace,
        name=name,
        version=known.version + 1 if known else 1,
        key_id="",
        wrapped=b"",
        sealed=b"",
        created_us=known.created_us if known else now_us,
        updated_us=now_us,
    )


def _missing(namespace: str, name: str) -> Fault:
    text = f"secret {name} is not set in namespace {namespace}; set it with `wisp secret set {name}`"
    return Fault("not_found", text, secret=name)
