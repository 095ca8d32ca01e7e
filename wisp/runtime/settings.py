"""What INIT tells an instance about the function it is to run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from wisp.runtime.frames import DIALECTS


class SettingsError(ValueError):
    """INIT can't be understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """INIT's JSON.

    `dialect` "" means: find out. `mount` is the path prefix of the function's URL. `describe`: a trial, READY says
    which entry points there are.
    """

    function: str
    namespace: str = "default"
    version: int = 1
    version_id: str = ""
    handler: str = ""
    dialect: str = ""
    code: str = "/app"
    layer: str = ""
    env: dict[str, str]
    memory_bytes: int = 0
    timeout_s: float = 30.0
    concurrency: int = 1
    mount: str = ""
    describe: bool = False


_KINDS: dict[str, type | tuple[type, ...]] = {
    "function": str,
    "namespace": str,
    "version": int,
    "version_id": str,
    "handler": str,
    "dialect": str,
    "code": str,
    "layer": str,
    "env": dict,
    "memory_bytes": int,
    "timeout_s": (int, float),
    "concurrency": int,
    "mount": str,
    "describe": bool,
}


def parse_settings(head: bytes) -> Settings:
    """Return the settings of an INIT head; unknown keys are ignored (a newer gateway).

    Raises: `SettingsError`, which names the key.
    """
    try:
        found: Any = json.loads(head)
    except ValueError as error:
        raise SettingsError(f"INIT is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise SettingsError(f"INIT is {type(found).__name__}, not an object")
    values: dict[str, Any] = {"function": "function", "env": {}}
    for key, kind in _KINDS.items():
        if key in found:
            if not isinstance(found[key], kind):
                raise SettingsError(f"INIT's {key} is {type(found[key]).__name__}")
            values[key] = found[key]
    if values.get("dialect", "") not in DIALECTS:
        raise SettingsError(f"dialect {values['dialect']!r} is not one of {', '.join(DIALECTS[1:])}")
    for name, value in values["env"].items():
        if not isinstance(value, str) or not name or "=" in name or "\0" in name + value:
            raise SettingsError(f"environment variable {name!r} is not name and text")
    values["concurrency"] = max(1, values.get("concurrency", 1))
    return Settings(**values)
