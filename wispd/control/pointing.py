"""Moving what functions point at: aliases, rollback, forgetting a version, enabling and disabling."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from wispd.base.errors import Fault
from wispd.control import fields
from wispd.control.dataplane import DataPlane
from wispd.control.names import check_name
from wispd.control.writer import Writer
from wispd.model.alias import ALIAS_PATTERN, LIVE, SHARES_MAX, WEIGHT_MAX, Pointer, Share, Sticky, whole
from wispd.model.published import Entry
from wispd.ports.catalogue import Catalogue, Reading, Registered
from wispd.ports.versions import Alias, Cause, Change, Kept

ROLLBACK_WARM_S: Final = 0.5  # calls go back to the old version after that, whether it is warm or not
SHIFT_WARM_S: Final = 60.0
REASON_MAX: Final = 200
STICKY_MAX: Final = 64  # characters of the name of a header or a cookie
NUMBER_MAX: Final = 2**53
_ALIAS: Final = re.compile(ALIAS_PATTERN, re.ASCII)
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)  # Source: RFC 9110 §5.1
_FORBIDDEN: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


class Moved(Struct, frozen=True, kw_only=True):
    """What an alias points at now, and what it pointed at before (0: nothing single)."""

    function: Registered
    alias: Alias
    before: int


def check_alias(text: str) -> str:
    """Return a name when an alias may have it. Raises: `Fault("invalid_argument")` saying why not."""
    if not isinstance(text, str) or not _ALIAS.fullmatch(text):
        rule = "a lower-case letter, then at most 31 of a-z 0-9 and single hyphens"
        raise Fault("invalid_argument", f"the alias name {str(text)[:80]!a} is not allowed: {rule}", key="alias")
    return text


def check_rolling(catalogue: Catalogue, namespace: str, name: str) -> None:
    """Refuse to move `live` by hand while a rollout does. Raises: `Fault("conflict")`."""
    found = catalogue.rollouts.latest(namespace, name)
    if found is not None and found.state == "running":
        message = f"a rollout of {name} to version {found.target} is running; abort or promote it first"
        raise Fault("conflict", message, version=found.target)


def pointer_of(alias: str, document: object) -> Pointer:
    """Return what a request body says: `{"versions": {"3": 90, "4": 10}, "sticky": {"header": "X-User"}}`.

    Raises: `Fault("invalid_argument")` naming the key.
    """
    if not isinstance(document, dict):
        raise Fault("invalid_argument", "the body must be a JSON object")
    fields.refuse_unknown(document, ["versions", "sticky"])
    versions = document.get("versions")
    if not isinstance(versions, dict) or not 1 <= len(versions) <= SHARES_MAX:
        wanted = f'1 to {SHARES_MAX} versions and weights such as {{"3": 90, "4": 10}}'
        raise Fault("invalid_argument", f"versions must be an object of {wanted}", key="versions")
    shares = [share for number, weight in versions.items() if (share := _share(number, weight)).weight]
    if not shares:
        raise Fault("invalid_argument", "all weights are 0: nothing would answer", key="versions")
    ordered = tuple(sorted(shares, key=lambda share: share.number))
    if len({share.number for share in ordered}) < len(ordered):
        raise Fault("invalid_argument", "a version is named twice", key="versions")
    return Pointer(alias=check_alias(alias), shares=ordered, sticky=sticky_of(document.get("sticky")))


def sticky_of(document: object) -> Sticky | None:
    """Return how callers stay with a version. Raises: `Fault("invalid_argument")`."""
    if document is None:
        return None
    if not isinstance(document, dict):
        raise Fault("invalid_argument", 'sticky must be an object such as {"header": "X-User"}', key="sticky")
    fields.refuse_unknown(document, ["header", "cookie", "issue"], "sticky.")
    given = {key: value for key, value in document.items() if value is not None}
    header, cookie = (fields.text(given, key, STICKY_MAX) for key in ("header", "cookie"))
    if bool(header) == bool(cookie) or not _HEADER.fullmatch(header or cookie):
        raise Fault("invalid_argument", "sticky must name one header or one cookie", key="sticky")
    if header.lower() in _FORBIDDEN:
        raise Fault("invalid_argument", f"sticky.header may not be {header}", key="sticky.header")
    issue = fields.flag(document, "issue", False)
    if issue and not cookie:
        raise Fault("invalid_argument", "sticky.issue is for a cookie: a header comes from the caller", key="issue")
    return Sticky(header=header, cookie=cookie, issue=issue)


def before(history: Iterable[Change], present: int) -> int:
    """Return the version that had `live` to itself before `present`; 0 when there is none. Pure.

    `history`: the newest first. A version that only had a part of the calls was not live.
    """
    lived = (one.pointer.whole for one in history if one.pointer.alias == LIVE)
    return next((number for number in lived if number not in (0, present)), 0)


def _share(number: object, weight: object) -> Share:
    text = str(number)
    if not (text.isascii() and text.isdigit() and 0 < int(text[:17]) < NUMBER_MAX):
        raise Fault("invalid_argument", f"{text[:40]!r} is no version number", key="versions")
    if not isinstance(weight, int) or isinstance(weight, bool) or not 0 <= weight <= WEIGHT_MAX:
        shown = str(weight)[:40]
        raise Fault("invalid_argument", f"the weight of version {text} is {shown}, allowed are 0 to {WEIGHT_MAX}")
    return Share(int(text), weight)


class Pointing:
    """Aliases, versions and their history of all functions. Raises, everywhere: `not_found`, `invalid_argument`."""

    def __init__(self, reading: Reading, writer: Writer, gateway: DataPlane) -> None:
        self._reading = reading
        self._writer = writer
        self._gateway = gateway

    # ── questions ───────────────────────────────────────────────────────────────────────────────────────────

    def versions(self, namespace: str, name: str, *, before: int, limit: int) -> list[Kept]:
        return self._reading.versions.versions(*_checked(namespace, name), before=before or NUMBER_MAX, limit=limit)

    def version(self, namespace: str, name: str, *, number: int) -> Kept:
        return self._reading.versions.version(*_checked(namespace, name), number=number)

    def aliases(self, namespace: str, name: str) -> list[Alias]:
        return self._reading.versions.aliases(*_checked(namespace, name))

    def alias(self, namespace: str, name: str, alias: str) -> Alias:
        found = next((one for one in self.aliases(namespace, name) if one.pointer.alias == alias), None)
        if found is None:
            raise Fault("not_found", f"function {name!r} has no alias {alias[:40]!r}", alias=alias[:40])
        return found

    def history(self, namespace: str, name: str, *, before: int, limit: int) -> list[Change]:
        return self._reading.versions.history(*_checked(namespace, name), before=before or NUMBER_MAX, limit=limit)

    # ── changes ─────────────────────────────────────────────────────────────────────────────────────────────

    async def point(self, namespace: str, name: str, *, pointer: Pointer, cause: Cause) -> Alias:
        """Move an alias. What it goes to is started first, where the function is busy."""
        _checked(namespace, name)
        await self.warm(namespace, name, [share.number for share in pointer.shares], patience_s=SHIFT_WARM_S)

        def change(catalogue: Catalogue) -> tuple[Alias, list[Entry]]:
            if pointer.alias == LIVE:
                check_rolling(catalogue, namespace, name)
            alias = catalogue.versions.point(namespace, name, pointer=pointer, cause=cause)
            return alias, _entry(catalogue, namespace, name)

        return await self._writer.apply(change)

    async def remove_alias(self, namespace: str, name: str, *, alias: str, cause: Cause) -> None:
        _checked(namespace, name)
        if alias == LIVE:
            raise Fault("conflict", "every function has the alias 'live'; delete or disable the function instead")

        def change(catalogue: Catalogue) -> tuple[None, list[Entry]]:
            catalogue.versions.remove_alias(namespace, name, alias=alias, cause=cause)
            return None, _entry(catalogue, namespace, name)

        await self._writer.apply(change)

    async def rollback(self, namespace: str, name: str, *, number: int = 0, by: str = "") -> Moved:
        """Give all calls of `live` to a version, 0: to the one that was live before. Ends a rollout that runs.

        Raises: `Fault` `not_found` (no such version), `conflict` (nothing was live before, or a route is taken).
        """
        live = self.alias(namespace, name, LIVE).pointer
        target = number or before(self.history(namespace, name, before=0, limit=1000), live.whole or -1)
        rolling = self._reading.rollouts.latest(namespace, name)
        if not number and rolling is not None and rolling.state == "running":
            target = rolling.base
        if not target:
            raise Fault(
                "conflict", f"no other version of {name!r} was live before; name one of `wisp versions {name}`"
            )
        self.version(namespace, name, number=target)
        await self.warm(namespace, name, [target], patience_s=ROLLBACK_WARM_S)
        cause = Cause(why=f"rolled back from {_named(live)}", by=by)

        def change(catalogue: Catalogue) -> tuple[tuple[Registered, Alias], list[Entry]]:
            abort(catalogue, namespace, name, reason="rolled back by hand")
            alias = catalogue.versions.point(namespace, name, pointer=whole(LIVE, target, live.sticky), cause=cause)
            found = catalogue.find(namespace, name)
            assert found is not None, "it was just pointed somewhere"
            return (found, alias), [found.published]

        found, alias = await self._writer.apply(change)
        return Moved(function=found, alias=alias, before=live.whole)

    async def remove_version(self, namespace: str, name: str, *, number: int) -> None:
        _checked(namespace, name)

        def change(catalogue: Catalogue) -> tuple[None, list[Entry]]:
            catalogue.versions.remove_version(namespace, name, number=number)
            return None, []

        await self._writer.apply(change)

    async def enable(self, namespace: str, name: str, *, enabled: bool, reason: str = "") -> Registered:
        """Let calls in, or refuse them with 409 `disabled` and the reason; what runs finishes."""
        _checked(namespace, name)
        if len(reason) > REASON_MAX or not reason.isprintable():
            raise Fault("invalid_argument", f"reason must be at most {REASON_MAX} printable characters", key="reason")

        def change(catalogue: Catalogue) -> tuple[Registered, list[Entry]]:
            catalogue.versions.enable(namespace, name, enabled=enabled, reason=reason)
            found = catalogue.find(namespace, name)
            assert found is not None, "it was just enabled or disabled"
            return found, [found.published]

        return await self._writer.apply(change)

    async def warm(self, namespace: str, name: str, numbers: Sequence[int], *, patience_s: float) -> None:
        """Start versions that do not serve yet, as far as the gateway is there and they do start."""
        found = self._reading.find(namespace, name)
        live = found.published.pointer(LIVE) if found else None
        serving = {share.number for share in live.shares} if live else set()
        for number in numbers:
            if number not in serving:
                version = self.version(namespace, name, number=number).version
                with contextlib.suppress(Fault):  # a version that does not start is the mover's decision
                    await self._gateway.warm(version, patience_s=patience_s)


def abort(catalogue: Catalogue, namespace: str, name: str, *, reason: str) -> None:
    """End a rollout that runs, as part of a change that moves `live` itself."""
    found = catalogue.rollouts.latest(namespace, name)
    if found is not None and found.state == "running":
        catalogue.rollouts.keep(msgspec.structs.replace(found, state="aborted", reason=reason))


def _entry(catalogue: Catalogue, namespace: str, name: str) -> list[Entry]:
    found = catalogue.find(namespace, name)
    return [found.published] if found is not None else []


def _checked(namespace: str, name: str) -> tuple[str, str]:
    return check_name(namespace, "namespace"), check_name(name)


def _named(pointer: Pointer) -> str:
    return " and ".join(f"version {share.number}" for share in pointer.shares)
