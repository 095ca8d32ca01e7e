"""The document of `POST …/builds`: what it may say."""

from __future__ import annotations

import re
from typing import Any, Final

from wispd.base.errors import Fault
from wispd.control import fields
from wispd.model.build import BuildRequest

KEYS: Final = ["code", "dependencies", "runtime", "run", "refresh"]
COMMANDS_MAX: Final = 20
PARTS_MAX: Final = 100
PART_CHARACTERS_MAX: Final = 1000
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PATH: Final = re.compile(r"[A-Za-z0-9_./ -]{1,200}", re.ASCII)
_RUNTIME: Final = re.compile(r"python3(\.[0-9]{1,2})?", re.ASCII)


def parse_request(document: object) -> BuildRequest:
    """Return what a document asks for. Raises: `Fault("invalid_argument")` naming the key."""
    if not isinstance(document, dict):
        raise Fault("invalid_argument", "the body must be a JSON object")
    fields.refuse_unknown(document, KEYS)
    given = {key: value for key, value in document.items() if value is not None}
    code = fields.matching(given, "code", _DIGEST, "the SHA-256 in hex that an upload answered")
    if not code:
        raise Fault("invalid_argument", "code must be the SHA-256 in hex that an upload answered", key="code")
    return BuildRequest(
        code=code,
        dependencies=fields.matching(given, "dependencies", _PATH, "the path of a file in the code"),
        runtime=fields.matching(given, "runtime", _RUNTIME, "python3 or python3.N") or "python3",
        run=_commands(given),
        refresh=fields.flag(given, "refresh", False),
    )


def _commands(given: dict[str, Any]) -> tuple[tuple[str, ...], ...]:
    listed = given.get("run", [])
    if not isinstance(listed, list) or len(listed) > COMMANDS_MAX:
        raise fields.refused("run", f"must be a list of at most {COMMANDS_MAX} commands, each a list of texts")
    return tuple(_command(command) for command in listed)


def _command(command: object) -> tuple[str, ...]:
    if not isinstance(command, list) or not 0 < len(command) <= PARTS_MAX:
        raise fields.refused("run", f"has {str(command)[:80]!r}, where a list of 1 to {PARTS_MAX} texts is wanted")
    for part in command:
        if not isinstance(part, str) or len(part) > PART_CHARACTERS_MAX or "\0" in part:
            raise fields.refused(
                "run", f"has {str(part)[:80]!a}: parts are texts of {PART_CHARACTERS_MAX} characters"
            )
    return tuple(command)
