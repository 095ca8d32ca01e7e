"""The document of `PUT …/functions/{name}`: what it may say, and the version it asks for."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final, cast, get_args

import msgspec
from msgspec import Struct

from wispd.base.errors import Fault
from wispd.control import fields
from wispd.control.units import duration_s, size_bytes
from wispd.model.entry import Entry
from wispd.model.function import MEMORY_CAP, Access, Dialect, Network, Version

STREAMING_CONCURRENCY: Final = 64  # default of ASGI and WSGI, which carry many requests at once
MEMORY_MIN: Final = 32 * 1024 * 1024
TIMEOUT_MAX_S: Final = 900.0
IDLE_MAX_S: Final = 86_400.0
CONCURRENCY_MAX: Final = 1000
VERSIONS_KEPT_MAX: Final = 1000
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HANDLER: Final = re.compile(r"[A-Za-z0-9_./-]{1,200}(?::[A-Za-z0-9_.]{1,200})?|", re.ASCII)
_RUNTIME: Final = re.compile(r"python3(\.[0-9]{1,2})?", re.ASCII)
KEYS: Final = [
    *("code", "handler", "layer", "runtime", "dialect", "env", "memory", "cpu", "timeout", "concurrency"),
    *("instances", "access", "async", "network", "routes", "secrets", "description", "labels"),
    *("concurrency_reserved", "enabled", "trial", "versions_kept"),
]


class Declaration(Struct, frozen=True, kw_only=True):
    """A checked document: a version without id, number and time. Without `concurrency_given` the dialect decides."""

    version: Version
    concurrency_given: bool = False
    concurrency_reserved: int = -1
    enabled: bool | None = None
    versions_kept: int = 0
    trial: bool = True

    def fingerprint(self) -> bytes:
        """Return what is equal exactly for equal content."""
        content = msgspec.json.encode([self.version, self.concurrency_given], order="sorted")
        return hashlib.sha256(content).digest()

    def content(self) -> bytes:
        """Return what is equal for functions that differ in their names only."""
        version = msgspec.structs.replace(self.version, namespace="", function="")
        return hashlib.sha256(msgspec.json.encode([version, self.concurrency_given], order="sorted")).digest()

    def resolved(self, dialect: str, entries: tuple[Entry, ...] = ()) -> Version:
        """Return the version with what the trial found, and the concurrency that follows from the dialect."""
        known = cast(Dialect, dialect if dialect in get_args(Dialect) else self.version.dialect)
        concurrency = self.version.concurrency
        if not self.concurrency_given and known in ("asgi", "wsgi"):
            concurrency = STREAMING_CONCURRENCY
        return msgspec.structs.replace(self.version, dialect=known, concurrency=concurrency, entries=entries)


def declare(document: object, *, namespace: str, name: str) -> Declaration:
    """Return what a document asks for.

    Raises: `Fault("invalid_argument")` naming the key, and for an unknown key the nearest valid one.
    """
    if not isinstance(document, dict):
        raise Fault("invalid_argument", "the body must be a JSON object")
    fields.refuse_unknown(document, KEYS)
    given = {key: value for key, value in document.items() if value is not None}
    env = fields.environment(given)
    version = Version(
        id="",
        namespace=namespace,
        function=name,
        number=0,
        code=_digest(given, "code"),
        layer=_digest(given, "layer", empty=True),
        handler=fields.matching(given, "handler", _HANDLER, "module:name"),
        runtime=fields.matching(given, "runtime", _RUNTIME, "python3 or python3.N") or "python3",
        env=env,
        secrets=fields.secrets(given, env),
        description=fields.text(given, "description", 1024),
        labels=fields.labels(given),
        routes=fields.routes(given),
        **_choices(given),
        **_sizes(given),
    )
    return Declaration(
        version=version,
        concurrency_given="concurrency" in given,
        concurrency_reserved=fields.whole(given, "concurrency_reserved", -1, low=-1, high=1_000_000),
        enabled=fields.flag(given, "enabled", True) if "enabled" in given else None,
        versions_kept=fields.whole(given, "versions_kept", 0, low=0, high=VERSIONS_KEPT_MAX),
        trial=fields.flag(given, "trial", True),
    )


def _digest(given: dict[str, Any], key: str, *, empty: bool = False) -> str:
    value = given.get(key, "")
    if isinstance(value, str) and (_DIGEST.fullmatch(value) or (empty and not value)):
        return value
    raise Fault("invalid_argument", f"{key} must be the SHA-256 in hex that an upload answered", key=key)


def _choices(given: dict[str, Any]) -> dict[str, Any]:
    network = given.get("network", {})
    if isinstance(network, str):
        network = {"mode": network}
    if not isinstance(network, dict):
        raise Fault("invalid_argument", 'network must be an object such as {"mode": "egress"}', key="network")
    fields.refuse_unknown(network, ["mode", "allow"], "network.")
    return {
        "dialect": fields.choice(given, "dialect", get_args(Dialect), ""),
        "access": fields.choice(given, "access", get_args(Access), ""),
        "allow_async": fields.flag(given, "async", False),
        "network": fields.choice(network, "mode", get_args(Network), "egress"),
        "network_allow": fields.allow(network),
    }


def _sizes(given: dict[str, Any]) -> dict[str, Any]:
    instances = given.get("instances", {})
    if not isinstance(instances, dict):
        raise Fault("invalid_argument", 'instances must be an object such as {"min": 0}', key="instances")
    fields.refuse_unknown(instances, ["min", "max", "idle"], "instances.")
    least = fields.whole(instances, "min", 0, low=0, high=1000)
    memory = given.get("memory", "auto")
    size = 0 if memory in ("auto", 0) else size_bytes(memory, "memory")
    if size:
        fields.within(size, "memory", MEMORY_MIN, MEMORY_CAP)
    return {
        "memory_bytes": size,
        "cpu": fields.within(fields.number(given, "cpu", 1.0), "cpu", 0.01, 64),
        "timeout_s": fields.within(duration_s(given.get("timeout", 30), "timeout"), "timeout", 0.001, TIMEOUT_MAX_S),
        "concurrency": fields.whole(given, "concurrency", 1, low=1, high=CONCURRENCY_MAX),
        "instances_min": least,
        "instances_max": fields.whole(instances, "max", 1000, low=max(least, 1), high=10_000),
        "idle_s": fields.within(
            duration_s(instances.get("idle", 60), "instances.idle"), "instances.idle", 0, IDLE_MAX_S
        ),
    }
