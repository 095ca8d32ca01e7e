"""Alias: a name that points at one version or divides calls among several. Every function has the alias `live`."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

LIVE: Final = "live"
WHOLE: Final = 100  # the weight of a version that has an alias to itself
WEIGHT_MAX: Final = 10_000
SHARES_MAX: Final = 8  # versions of one alias
ALIAS_PATTERN: Final = r"^[a-z](?:[a-z0-9]|-(?=[a-z0-9])){0,31}$"  # no "--": host labels are <alias>--<function>
ALIAS_MARK: Final = ":"  # /fn/<function>:<alias>
ALIAS_LABEL: Final = "--"


class Share(Struct, frozen=True, array_like=True):
    """A version's part of an alias: its weight by the sum of all weights."""

    number: int
    weight: int


class Sticky(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Equal values get the same version. `issue`: a caller without the cookie is given one."""

    header: str = ""
    cookie: str = ""
    issue: bool = False


class Pointer(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an alias points at. No weight is 0."""

    alias: str
    shares: tuple[Share, ...]
    sticky: Sticky | None = None

    @property
    def primary(self) -> int:
        """The version with the largest part; of equal ones the older."""
        return min(self.shares, key=lambda share: (-share.weight, share.number)).number

    @property
    def whole(self) -> int:
        """The only version it points at; 0 when there are several."""
        return self.shares[0].number if len(self.shares) == 1 else 0


def whole(alias: str, number: int, sticky: Sticky | None = None) -> Pointer:
    """Return the pointer that gives all calls to one version."""
    return Pointer(alias=alias, shares=(Share(number, WHOLE),), sticky=sticky)
