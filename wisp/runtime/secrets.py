"""Secrets that INIT brings: variables of the environment, and files in a folder of the instance's own memory."""

from __future__ import annotations

import binascii
import json
import os
from typing import Any, Final

from wisp.runtime.settings import SettingsError

FOLDER: Final = "/run/secrets"  # a link of the sandbox's root
PLACE: Final = "/tmp/.secrets"  # noqa: S108 - where it leads: inside the sandbox, in the instance's own tmpfs


def apply_secrets(body: bytes) -> None:
    """Set the variables and write the files, for the instance alone. Raises: `SettingsError`, without values."""
    if not body:
        return
    found: Any = json.loads(body)
    for name, value in found["env"].items():
        os.environ[name] = value
    if not found["files"]:
        return
    if not (os.path.islink(FOLDER) and os.readlink(FOLDER) == PLACE):
        raise SettingsError("secrets as files need a sandbox with a root of its own: isolation level namespaces")
    os.mkdir(PLACE, 0o700)
    for name, text in found["files"].items():
        fd = os.open(os.path.join(PLACE, name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        with open(fd, "wb") as file:
            file.write(binascii.a2b_base64(text))
