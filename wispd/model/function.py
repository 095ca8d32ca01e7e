"""Function and Version: what is deployed. A version never changes; what is served is a `Published` entry."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from wispd.model.alias import LIVE, Pointer, whole
from wispd.model.entry import Entry
from wispd.model.secret import SecretUse

Access = Literal["", "public", "token", "private"]
Network = Literal["egress", "none", "private"]
Dialect = Literal["", "native", "lambda", "asgi", "wsgi", "app"]

MEMORY_START: Final = 256 * 1024 * 1024  # where memory = "auto" starts
MEMORY_CAP: Final = 2 * 1024 * 1024 * 1024  # where memory = "auto" ends
NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
BUILD_FUNCTION: Final = "wisp.build"  # what a build runs as; no function can be called that


class Route(Struct, frozen=True, array_like=True):
    """One declared route. An empty host means every host, an empty method every method."""

    host: str
    method: str
    path: str  # exact, or a prefix when it ends with "/*"


class Version(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An immutable deployment of a function: code, layer and settings.

    `code` and `layer` are SHA-256 digests (hex) of unpacked trees; an empty layer means none. `memory_bytes` 0 means
    auto. `access` "" means the default that is decided per request. `streaming` dialects (ASGI, WSGI) get request
    bodies as they arrive. `scratch_bytes` 0 means half of the memory, as far as the node allows.
    """

    id: str  # ver_…
    namespace: str
    function: str
    number: int
    code: str
    handler: str
    layer: str = ""
    runtime: str = "python3"
    dialect: Dialect = ""
    env: dict[str, str] = {}
    memory_bytes: int = 0
    scratch_bytes: int = 0
    cpu: float = 1.0
    timeout_s: float = 30.0
    concurrency: int = 1
    instances_min: int = 0
    instances_max: int = 1000
    idle_s: float = 60.0
    access: Access = ""
    allow_async: bool = False
    network: Network = "egress"
    network_allow: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    secrets: tuple[SecretUse, ...] = ()
    description: str = ""
    labels: dict[str, str] = {}
    entries: tuple[Entry, ...] = ()  # what an App declares, as its trial told
    created_us: int = 0

    @property
    def streaming(self) -> bool:
        """May the request body reach the instance while it is still arriving?"""
        return self.dialect in ("asgi", "wsgi")


class Published(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the data plane knows of one function: enough to serve it without the control plane.

    `live` is the version with the largest part of the alias `live`; the function's routes are its routes. `pointers`
    are all other aliases, and `live` where it is divided; `others` are the versions that these need besides `live`.
    """

    namespace: str
    name: str
    live: Version
    enabled: bool = True
    disabled_reason: str = ""
    concurrency_reserved: int = -1  # share of the namespace's concurrency; -1: none reserved; 0: off
    pointers: tuple[Pointer, ...] = ()
    others: tuple[Version, ...] = ()

    def pointer(self, alias: str) -> Pointer | None:
        """Return what an alias points at; None when there is no such alias."""
        for pointer in self.pointers:
            if pointer.alias == alias:
                return pointer
        return whole(LIVE, self.live.number) if alias == LIVE else None

    def version(self, number: int) -> Version | None:
        """Return a version that some alias points at."""
        return next((one for one in (self.live, *self.others) if one.number == number), None)

    def serves(self, version_id: str) -> bool:
        """Does an alias point at this version?"""
        return self.live.id == version_id or any(one.id == version_id for one in self.others)


class Withdrawn(Struct, frozen=True, kw_only=True):
    """A journal entry: the function is deleted."""

    namespace: str
    name: str
