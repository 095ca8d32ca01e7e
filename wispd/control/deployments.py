"""Deploying: a declaration is checked, tried, stored, warmed, pointed at. The old version serves until then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from msgspec import Struct

from wispd.base.errors import Fault
from wispd.base.ids import to_text
from wispd.control.dataplane import DataPlane, Trial
from wispd.control.declaration import Declaration, declare
from wispd.control.names import check_name
from wispd.control.packaging import Packages
from wispd.control.pointing import check_alias, check_rolling
from wispd.control.preconditions import ALWAYS, Precondition, check_precondition
from wispd.control.secrets import check_present
from wispd.control.tenancy import must_exist
from wispd.control.writer import Writer
from wispd.model.alias import LIVE
from wispd.model.function import Version
from wispd.model.published import Entry, Withdrawn
from wispd.ports.access import UploadKind
from wispd.ports.catalogue import Catalogue, Reading, Registered, Wanted

Check = Callable[[Catalogue, Wanted], None]  # raises `Fault("quota_exceeded")`
TRIALS_MAX: Final = 8  # at once; each is an instance
WARM_EXTRA_S: Final = 30.0  # above the function's own timeout


class Deployed(Struct, frozen=True, kw_only=True):
    """A deployment. `trial` is None when nothing new was started."""

    function: Registered
    version: Version
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

    async def deploy(
        self, namespace: str, name: str, document: object, *,
        alias: str = LIVE, by: str = "", only: Precondition = ALWAYS,
    ) -> Deployed:  # fmt: skip
        """Make the version that `document` declares, and point `alias` at it; "": point none at it.

        Idempotent: equal content is the version it was. A function's first version is live in any case.
        `only`: looked at before anything is started, and once more inside of the change: of two who read the same
        state, one wins.

        Raises: `Fault` `invalid_argument`, `not_found` (no such upload), `init_failed` and the like (the trial;
        HTTP 422 here), `conflict`, `precondition_failed`, `unavailable`, `storage_full`; every alias stays where it
        was then.
        """
        declared = self.declared(namespace, name, document)
        if alias:
            check_alias(alias)
        current = self._reading.find(namespace, name)
        check_precondition(only, current, name)
        known = self._reading.versions.same(namespace, name, fingerprint=declared.fingerprint())
        if current is not None and known is not None and _is_there(current, declared, known, alias):
            return Deployed(function=current, version=known, fresh=False, trial=None)
        trial = None
        if known is None:
            self.check_uploads(declared.version, self._reading)
            trial = await self.tried(declared.version) if declared.trial else None
        wanted = self.wanted(declared, known, trial, alias=alias, by=by)
        if current is not None and alias == LIVE and declared.trial:
            wanted = await self._warmed(wanted, only)
        stored, fresh = await self._pointed(wanted, only, staged=known is None and wanted.version.number > 0)
        fresh = fresh or (known is None and trial is not None)
        version = self._reading.versions.same(namespace, name, fingerprint=wanted.fingerprint)
        return Deployed(function=stored, version=version or wanted.version, fresh=fresh, trial=trial)

    def declared(self, namespace: str, name: str, document: object) -> Declaration:
        """Return what a document asks for. Raises: `Fault("invalid_argument")`."""
        check_name(namespace, "namespace")
        check_name(name)
        return declare(document, namespace=namespace, name=name)

    def wanted(
        self, declared: Declaration, known: Version | None, trial: Trial | None, *, alias: str, by: str
    ) -> Wanted:
        """Return what the store is to keep. A version gets an id of its own: what was tried is not what serves."""
        return Wanted(
            version=known or self._named(declared.resolved(*((trial.dialect, trial.entries) if trial else ("",)))),
            fingerprint=declared.fingerprint(),
            alias=alias,
            by=by,
            enabled=declared.enabled,
            concurrency_reserved=declared.concurrency_reserved,
            versions_kept=declared.versions_kept,
        )

    def put(
        self, catalogue: Catalogue, wanted: Wanted, only: Precondition = ALWAYS
    ) -> tuple[tuple[Registered, bool], list[Entry]]:
        """Store it, as a change. What it refers to is looked for once more: nothing is swept away after that."""
        must_exist(catalogue, wanted.version.namespace)
        if only != ALWAYS:
            found = catalogue.find(wanted.version.namespace, wanted.version.function)
            check_precondition(only, found, wanted.version.function)
        self.check_uploads(wanted.version, catalogue)
        if wanted.alias == LIVE:
            check_rolling(catalogue, wanted.version.namespace, wanted.version.function)
        if self.check is not None:
            self.check(catalogue, wanted)
        stored, fresh = catalogue.put(wanted)
        return (stored, fresh), [stored.published]

    async def withdraw(self, namespace: str, name: str, *, only: Precondition = ALWAYS) -> None:
        """Delete a function. Raises: `Fault` `not_found`, `precondition_failed`."""
        found = self.show(namespace, name).published

        def change(catalogue: Catalogue) -> tuple[bool, list[Entry]]:
            check_precondition(only, catalogue.find(found.namespace, found.name), found.name)
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

    def check_uploads(self, version: Version, store: Reading) -> None:
        """Raises: `Fault("not_found")` for code, a layer or a secret that is not here, or is another namespace's."""
        owns, layer = store.uploads.has, version.layer
        if not self._code.has(version.code) or not owns(version.namespace, "code", version.code):
            raise Fault("not_found", f"code {version.code} is not here: upload the package first", key="code")
        if layer and (not self._layers.has(layer) or not owns(version.namespace, "layer", layer)):
            raise Fault("not_found", f"layer {layer} is not here: upload it first", key="layer")
        check_present(store, version.namespace, version.secrets)

    async def tried(self, version: Version) -> Trial:
        """Start a version for trial. Raises: what it fails with, as HTTP 422."""
        async with self._trials:
            with _refused():
                return await self._gateway.trial(self._named(version))

    async def _pointed(self, wanted: Wanted, only: Precondition, *, staged: bool) -> tuple[Registered, bool]:
        """Store what is wanted. A version that was staged for it goes again where somebody else was first."""

        def change(catalogue: Catalogue) -> tuple[tuple[Registered, bool], list[Entry]]:
            return self.put(catalogue, wanted, only)

        try:
            return await self._writer.apply(change)
        except Fault as fault:
            if staged and fault.code == "precondition_failed":
                await self._forget(wanted.version)
            raise

    async def _warmed(self, wanted: Wanted, only: Precondition) -> Wanted:
        """Give the version its number, and start what it needs, while the old one serves."""

        def stage(catalogue: Catalogue) -> tuple[Version, list[Entry]]:
            self.put(catalogue, msgspec.structs.replace(wanted, alias="", enabled=None), only)
            version = wanted.version
            found = catalogue.versions.same(version.namespace, version.function, fingerprint=wanted.fingerprint)
            assert found is not None, "what was just put is there"
            return found, []

        if wanted.version.number:
            with _refused():
                await self._gateway.warm(wanted.version, patience_s=wanted.version.timeout_s + WARM_EXTRA_S)
            return wanted
        version = await self._writer.apply(stage)
        try:
            with _refused():
                await self._gateway.warm(version, patience_s=version.timeout_s + WARM_EXTRA_S)
        except BaseException:
            await self._forget(version)
            raise
        return msgspec.structs.replace(wanted, version=version)

    async def _forget(self, version: Version) -> None:
        """Take back a version that does not start: a later deployment of the same content is to be tried again."""

        def change(catalogue: Catalogue) -> tuple[None, list[Entry]]:
            with contextlib.suppress(Fault):  # gone already, or somebody uses it nevertheless
                catalogue.versions.remove_version(version.namespace, version.function, number=version.number)
            return None, []

        await self._writer.apply(change)

    def _named(self, version: Version) -> Version:
        return msgspec.structs.replace(version, id=to_text("ver", self._ids()))


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """Say with 422 that what was sent can't be started: no gateway failed here."""
    try:
        yield
    except Fault as fault:
        if fault.blame == "function":
            fault.http_status = 422
        raise


def _is_there(current: Registered, declared: Declaration, known: Version, alias: str) -> bool:
    """Would a deployment change nothing?"""
    published = current.published
    pointer = published.pointer(alias) if alias else None
    return (
        (not alias or (pointer is not None and pointer.whole == known.number))
        and declared.enabled in (None, published.enabled)
        and published.concurrency_reserved == declared.concurrency_reserved
        and current.versions_kept == declared.versions_kept
    )
