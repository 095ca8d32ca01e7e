"""Secrets in the gateway: opened when an instance starts, told to it in INIT, and masked in what it prints.

The sealed ones come with the journal and the master key from its file, so that cold starts need no control process.
Values are in memory while an instance that was told them lives, and nowhere else.
"""

from __future__ import annotations

import binascii
import contextlib
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from wisp.runtime.frames import BODY_MAX
from wispd.base.errors import Fault
from wispd.gateway.masking import masker
from wispd.gateway.router import RouteTable
from wispd.model.function import Version
from wispd.model.secret import SealedSecret, SecretUse
from wispd.ports.secrets import Opener

Mask = Callable[[bytes], bytes]
Stamp = tuple[int, ...]  # versions of the secrets of a function, in the order it asks for them


def unmasked(text: bytes) -> bytes:
    """Return the text as it is: what instances without secrets use."""
    return text


class Opened(Struct, frozen=True, kw_only=True):
    """What one instance is told. `body` is that of its INIT frame."""

    body: bytes = b""
    mask: Mask = unmasked
    stamp: Stamp = ()

    def __repr__(self) -> str:
        return "Opened(…)"


NOTHING: Final = Opened()


class Secrets:
    """The published secrets of the node."""

    def __init__(self, table: RouteTable, opener: Opener) -> None:
        self._table = table
        self._opener = opener

    def published(self) -> None:
        """Take in that secrets may have changed: the keys for all of them should be in memory."""
        if any(not self._opener.knows(secret.key_id) for secret in self._table.secrets.values()):
            with contextlib.suppress(Fault):  # an unusable key file: each start that needs it says so
                self._opener.load()

    def stamp(self, version: Version) -> Stamp:
        """Return which values its instances should have. 0: not set."""
        found = (self._table.secrets.get((version.namespace, use.name)) for use in version.secrets)
        return tuple(secret.version if secret else 0 for secret in found)

    def obstacle(self, version: Version) -> Fault | None:
        """Return why no instance of this version can be told what it asks for; None: it can, as far as is known."""
        for use in version.secrets:
            if (version.namespace, use.name) not in self._table.secrets:
                text = f"secret {use.name} is not set in namespace {version.namespace}"
                return Fault("init_failed", f"{text}; set it with `wisp secret set {use.name}`", secret=use.name)
        return None

    def open(self, version: Version) -> Opened:
        """Return what an instance of this version is told. Raises: `Fault` naming the secret."""
        if not version.secrets:
            return NOTHING
        obstacle = self.obstacle(version)
        if obstacle is not None:
            raise obstacle
        stamp = self.stamp(version)
        values = [(use, self._value(version.namespace, use)) for use in version.secrets]
        env = {use.name: _text(use, value) for use, value in values if not use.file}
        files = {use.file: binascii.b2a_base64(value, newline=False).decode() for use, value in values if use.file}
        body = msgspec.json.encode({"env": env, "files": files})
        if len(body) > BODY_MAX:
            text = f"the secrets of {version.function} are {len(body)} bytes together, encoded; limit {BODY_MAX}"
            raise Fault("init_failed", text)
        return Opened(body=body, mask=masker([value for _, value in values]), stamp=stamp)

    def _value(self, namespace: str, use: SecretUse) -> bytes:
        secret: SealedSecret = self._table.secrets[namespace, use.name]
        if not self._opener.knows(secret.key_id):
            self._opener.load()
        return self._opener.open(secret)


def _text(use: SecretUse, value: bytes) -> str:
    """Return a value for a variable."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise Fault("init_failed", f"secret {use.name} is not text; ask for it as a file", secret=use.name)
    return text
