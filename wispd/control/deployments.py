"""Deploying: a declaration is checked, tried, stored, published. The old version serves until the new one is live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from wispd.base.errors import Fault
from wispd.base.ids import to_text
from wispd.control.dataplane import DataPlane, Trial
from wispd.control.declaration import Declaration, declare
from wispd.control.names import check_name
from wispd.control.packaging import Packages
from wispd.control.tenancy import must_exist
from wispd.control.writer import Writer
from wispd.model.function import Version
from wispd.model.published import Entry, Withdrawn
from wispd.ports.access import UploadKind
from wispd.ports.catalogue import Catalogue, Reading, Registered, Wanted

Check = Callable[[Catalogue, Wanted], None]  # raises `Fault("quota_exceeded")`
TRIALS_MAX: Final = 8  # at once; each is an instance


class Deployed(Struct, frozen=True, kw_only=True):
    """A deployment. `trial` is None when nothing new was started."""

    function: Registered
    fresh: bool
    trial: Trial | None


class Deployments:
    """Functions of all namespaces: deploy, show, list, withdraw."""

    def __init__(
        self, reading: Reading, writer: Writer, gateway: DataPlane, *, code: Packages, layers: Packages,
        ids: Callable[[], bytes],
    ) -> None:  # fmt: skip
        self._reading = reading
        self._writer = writer
        self._gateway = gateway
        self._code = code
        self._layers = layers
        self._ids = ids
        self.check: Check | None = None  # what a namespace's quota says to a deployment
        self._trials = asyncio.Semaphore(TRIALS_MAX)

    def show(self, namespace: str, name: str) -> Registered:
        """Return one function; raises `Fault("not_found")`."""
        found = self._reading.find(check_name(namespace, "namespace"), check_name(name))
        if found is None:
            raise Fault("not_found", f"function {name!r} is not in namespace {namespace!r}")
        return found

    def page(self, namespace: str, *, after: str, limit: int) -> list[Registered]:
        """Return functions in the order of their names, those behind `after`."""
        return self._reading.page(check_name(namespace, "namespace"), after=after, limit=limit)

    async def deploy(self, namespace: str, name: str, document: object) -> Deployed:
        """Make what `document` declares live; idempotent: equal content is the version it was.

        Raises: `Fault` `invalid_argument`, `not_found` (no such upload), `init_failed` and the like (the trial;
        HTTP 422 here), `conflict`, `unavailable`, `storage_full`; the version that was live stays live then.
        """
        check_name(namespace, "namespace")
        check_name(name)
        declared = declare(document, namespace=namespace, name=name)
        self._check_uploads(declared.version)
        current = self._reading.find(namespace, name)
        if current is not None and _is_live(current, declared):
            return Deployed(function=current, fresh=False, trial=None)
        trial = await self._try(self._named(declared.version)) if declared.trial else None
        resolved = self._named(declared.resolved(trial.dialect if trial else "", trial.entries if trial else ()))
        wanted = Wanted(
            version=resolved,
            fingerprint=declared.fingerprint(),
            enabled=declared.enabled,
            concurrency_reserved=declared.concurrency_reserved,
        )

        def change(catalogue: Catalogue) -> tuple[tuple[Registered, bool], list[Entry]]:
            must_exist(catalogue, namespace)
            if self.check is not None:
                self.check(catalogue, wanted)
            stored, fresh = catalogue.put(wanted)
            return (stored, fresh), [stored.published]

        stored, fresh = await self._writer.apply(change)
        return Deployed(function=stored, fresh=fresh, trial=trial)

    async def withdraw(self, namespace: str, name: str) -> None:
        """Delete a function; raises `Fault("not_found")`."""
        found = self.show(namespace, name).published

        def change(catalogue: Catalogue) -> tuple[bool, list[Entry]]:
            gone = catalogue.delete(found.namespace, found.name)
            return gone, [Withdrawn(namespace=found.namespace, name=found.name)] if gone else []

        await self._writer.apply(change)

    async def own(self, namespace: str, kind: UploadKind, digest: str) -> None:
        """Note that a namespace has brought (or built) a tree: what it has not can't be named in its deployments."""

        def change(catalogue: Catalogue) -> tuple[None, list[Entry]]:
            must_exist(catalogue, namespace)
            catalogue.uploads.add(namespace, kind, digest)
            return None, []

        await self._writer.apply(change)

    def _check_uploads(self, version: Version) -> None:
        owns = self._reading.uploads.has
        if not self._code.has(version.code) or not owns(version.namespace, "code", version.code):
            raise Fault("not_found", f"code {version.code} is not here: upload the package first", key="code")
        layer = version.layer
        if layer and (not self._layers.has(layer) or not owns(version.namespace, "layer", layer)):
            raise Fault("not_found", f"layer {version.layer} is not here: upload it first", key="layer")

    def _named(self, version: Version) -> Version:
        """Return it with an id of its own: what was tried is not yet what goes live, and a version never changes."""
        return msgspec.structs.replace(version, id=to_text("ver", self._ids()))

    async def _try(self, version: Version) -> Trial:
        async with self._trials:
            try:
                return await self._gateway.trial(version)
            except Fault as fault:
                if fault.blame == "function":  # no gateway failed here: what was sent can't be started
                    fault.http_status = 422
                raise


def _is_live(current: Registered, declared: Declaration) -> bool:
    published = current.published
    return (
        current.fingerprint == declared.fingerprint()
        and published.enabled == declared.enabled
        and published.concurrency_reserved == declared.concurrency_reserved
    )
