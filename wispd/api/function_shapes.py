"""The shapes of functions in the API's document, made from the code that reads and writes them."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from wispd.control.declaration import KEYS
from wispd.model.function import Access, Dialect, Version

_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", description="What an upload answered.")]
_Amount = Annotated[str, Meta(max_length=40)] | int
_TYPES: Final[dict[str, Any]] = {
    "code": _Digest,
    "layer": Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")],
    "handler": Annotated[str, Meta(max_length=401)],
    "runtime": str,
    "dialect": Dialect,
    "env": dict[str, str],
    "memory": _Amount,
    "cpu": Annotated[float, Meta(ge=0.01, le=64)],
    "timeout": _Amount,
    "concurrency": Annotated[int, Meta(ge=1, le=1000)],
    "instances": dict[str, Any],
    "access": Access,
    "async": bool,
    "network": dict[str, Any] | str,
    "routes": Annotated[list[tuple[str, str, str]], Meta(max_length=100)],
    "description": Annotated[str, Meta(max_length=1024)],
    "labels": dict[str, str],
    "concurrency_reserved": Annotated[int, Meta(ge=-1, le=1_000_000)],
    "enabled": bool,
    "trial": bool,
}


def _declaration() -> type[Struct]:
    """Return a struct of every key that a declaration may have."""
    fields = [
        (f"{key}_" if key == "async" else key, _TYPES.get(key, Any) | None, None) for key in KEYS if key != "code"
    ]
    names = {f"{key}_": key for key in KEYS if key == "async"}
    return msgspec.defstruct(
        "FunctionDeclaration", [("code", _Digest), *fields], kw_only=True, forbid_unknown_fields=True, rename=names
    )


def _version_view() -> type[Struct]:
    """Return a struct of a version as the API shows it."""
    kept = [(one.name, one.type) for one in msgspec.structs.fields(Version) if one.name != "created_us"]
    return msgspec.defstruct("VersionView", [*kept, ("memory", int | str), ("created", str)], kw_only=True)


FunctionDeclaration: Final = _declaration()
VersionView: Final = _version_view()


class TrialView(Struct, frozen=True, kw_only=True):
    """How the start for trial went."""

    ran: bool
    init_ms: float


class FunctionView(Struct, frozen=True, kw_only=True):
    """A function and its live version."""

    name: str
    namespace: str
    url: str
    enabled: bool
    disabled_reason: str
    concurrency_reserved: int
    versions_kept: int
    aliases: dict[str, dict[str, int]]
    created: str
    updated: str
    live: VersionView  # type: ignore[valid-type]
    trial: TrialView | None = None


class FunctionList(Struct, frozen=True, kw_only=True):
    items: list[FunctionView]
    next: str | None


class UploadedCode(Struct, frozen=True, kw_only=True):
    """A tree of code, named by its content."""

    code: str
    files: int
    bytes: int


class UploadedLayer(Struct, frozen=True, kw_only=True):
    """A tree of dependencies, named by its content."""

    layer: str
    files: int
    bytes: int
