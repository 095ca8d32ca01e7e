"""The shapes of versions, aliases, history and rollouts in the API's document and in its answers."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from wispd.api.function_shapes import FunctionView
from wispd.control.pointing import NUMBER_MAX, REASON_MAX
from wispd.model.alias import SHARES_MAX, WEIGHT_MAX
from wispd.model.function import Version
from wispd.model.rollout import State

_Number = Annotated[str, Meta(pattern="^[0-9]{1,16}$")]
_Weight = Annotated[int, Meta(ge=0, le=WEIGHT_MAX)]
_VersionNumber = Annotated[int, Meta(ge=1, le=NUMBER_MAX)]


class StickyDeclaration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What keeps callers with a version: one header, or one cookie, which `issue` gives them."""

    header: str | None = None
    cookie: str | None = None
    issue: bool = False


class AliasDeclaration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an alias is to point at: versions and their weights."""

    versions: Annotated[dict[_Number, _Weight], Meta(min_length=1, max_length=SHARES_MAX)]
    sticky: StickyDeclaration | None = None


class StickyView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What keeps callers with a version."""

    header: str = ""
    cookie: str = ""
    issue: bool = False


class AliasView(Struct, frozen=True, kw_only=True):
    """Where an alias points, by the numbers of versions; weights are parts of their sum."""

    alias: str
    versions: dict[str, int]
    sticky: StickyView | None
    url: str
    revision: int
    updated: str
    updated_by: str


class AliasList(Struct, frozen=True, kw_only=True):
    items: list[AliasView]
    next: str | None


class ChangeView(Struct, frozen=True, kw_only=True):
    """What an alias was pointed at. No versions: it was deleted."""

    alias: str
    versions: dict[str, int]
    sticky: StickyView | None
    revision: int
    why: str
    at: str
    by: str


class ChangeList(Struct, frozen=True, kw_only=True):
    items: list[ChangeView]
    next: str | None


def _kept_version() -> type[Struct]:
    """Return a struct of a version as lists show it: what is as by default is left out, values of `env` too."""
    fields: list[Any] = []
    for one in msgspec.structs.fields(Version):
        if one.name in ("env", "created_us"):
            continue
        required = one.default is msgspec.NODEFAULT and one.default_factory is msgspec.NODEFAULT
        fields.append((one.name, one.type) if required else (one.name, one.type | msgspec.UnsetType, msgspec.UNSET))
    own = [
        ("env", Annotated[list[str], Meta(description="The names only.")]),
        ("memory", int | str),
        ("created", str),
        ("created_by", str),
        ("aliases", Annotated[dict[str, float], Meta(description="What points at it, with which percentage.")]),
    ]
    return msgspec.defstruct("KeptVersion", [*fields, *own], kw_only=True, frozen=True)


KeptVersion: Final = _kept_version()


class KeptVersionList(Struct, frozen=True, kw_only=True):
    items: list[KeptVersion]  # type: ignore[valid-type]
    next: str | None


class RollbackTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to go back to; without a version: to what was live before."""

    version: Annotated[int, Meta(ge=0, le=NUMBER_MAX)] | None = None


class DeployedView(FunctionView, frozen=True, kw_only=True):
    """A function, and the number of the version that was made, or was there."""

    version: int


class RolledBackView(FunctionView, frozen=True, kw_only=True):
    """A function, and the version that had all calls `before`."""

    before: int | None


class Enabling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether new calls are let in, and what callers are told if not."""

    enabled: bool
    reason: Annotated[str, Meta(max_length=REASON_MAX)] = ""


class RolloutDeclaration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to go, in which steps, and what ends it. `max_latency` such as `"p95=300ms"` or `{"p95": "300ms"}`."""

    version: _VersionNumber
    steps: list[Annotated[int, Meta(ge=1, le=100)]] | None = None
    every: str | float = 60.0
    max_errors: str | float | None = None
    max_latency: str | dict[str, Any] | None = None
    min_calls: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0
    sticky: StickyDeclaration | None = None


class SeenView(Struct, frozen=True, kw_only=True):
    """What one version did within the present step."""

    calls: int
    failed: int


class SeenBoth(Struct, frozen=True, kw_only=True):
    new: SeenView
    old: SeenView


class RolloutView(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A rollout and how far it is. `percent`: the new version's part of the calls now."""

    function: str
    namespace: str
    state: State
    reason: str
    from_: int
    to: int
    percent: int
    step: int
    steps: tuple[int, ...]
    every_s: float
    max_errors: float | None
    max_latency_s: dict[str, float] | None
    min_calls: int
    sticky: StickyView | None
    started: str
    started_by: str
    updated: str
    waits_for: str
    seen: SeenBoth | None
