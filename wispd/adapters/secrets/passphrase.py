"""The master key in a backup: sealed with a passphrase. Source: RFC 7914 (scrypt), OWASP's parameters for it."""

from __future__ import annotations

import os
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from wispd.adapters.secrets.keyfile import KeyFile, Keys
from wispd.base.errors import Fault
from wispd.model.backup import WrappedKeys

PASSPHRASE_MIN: Final = 12  # characters
_COST, _BLOCK, _LANES = 2**16, 8, 1  # 64 MiB; constants, so that a backup can't ask for more
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12
_BOUND: Final = b"wisp backup keys 1"


class KeyFileWrapper:
    """Implements `wispd.ports.backup.KeyWrapper` for a key file."""

    def __init__(self, file: KeyFile) -> None:
        self._file = file

    def wrapped(self, passphrase: str) -> WrappedKeys | None:
        if len(passphrase) < PASSPHRASE_MIN:
            text = f"the passphrase has {len(passphrase)} characters, at least {PASSPHRASE_MIN} are needed"
            raise Fault("invalid_argument", text)
        keys = self._file.read()
        if keys is None:
            return None
        salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
        sealed = AESGCM(_derived(passphrase, salt)).encrypt(nonce, msgspec.json.encode(keys), _BOUND)
        return WrappedKeys(salt=salt, sealed=nonce + sealed)


def unwrapped(wrapped: WrappedKeys, passphrase: str) -> Keys:
    """Return the keys of a backup. Raises: `Fault("invalid_argument")` for a wrong passphrase."""
    nonce, sealed = wrapped.sealed[:_NONCE_BYTES], wrapped.sealed[_NONCE_BYTES:]
    try:
        content = AESGCM(_derived(passphrase, wrapped.salt)).decrypt(nonce, sealed, _BOUND)
        return msgspec.json.decode(content, type=Keys)
    except (InvalidTag, ValueError, msgspec.DecodeError):
        raise Fault("invalid_argument", "the passphrase does not open the master key of this backup") from None


def _derived(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=_COST, r=_BLOCK, p=_LANES).derive(passphrase.encode())
