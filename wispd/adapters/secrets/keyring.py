"""Envelope encryption with a key file: AES-256-GCM, a key per value, wrapped by the node's master key.

The master key's id is made from the key, so a wrong key can never pass for the right one. What is authenticated with
a value is its namespace, name and version, and with its key also the master key's id: a ciphertext that is moved to
another row does not open. Source: NIST SP 800-38D (GCM, random 96-bit nonces: at most 2^32 seals a key; a value's
key seals once, a master key once a value).
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from wispd.adapters.secrets.keyfile import KeyFile, Keys
from wispd.base.errors import Fault
from wispd.model.secret import SealedSecret

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Keyring:
    """Implements `wispd.ports.secrets.Sealer`. One thread changes keys at a time; opening may go on meanwhile."""

    def __init__(self, file: KeyFile) -> None:
        self._file = file
        self._keys: Keys | None = None

    def load(self) -> None:
        """Read the key file, if it is there. Raises: `Fault("unavailable")` when it can't be used."""
        self._keys = self._file.read()

    def require(self, needed: frozenset[str]) -> None:
        """Read the key file, which must hold these keys. Never makes one.

        Raises: `Fault("unavailable")` naming the file and the keys.
        """
        self.load()
        held = frozenset(self._keys.keys) if self._keys else frozenset()
        missing = sorted(needed - held)
        if not missing:
            return
        what = f"holds {', '.join(sorted(held))}" if held else "is not there"
        text = f"secrets are sealed with the key {', '.join(missing)}, and the key file {self._file.path} {what}"
        raise Fault("unavailable", f"{text}; put the right file back: no other key opens them")

    @property
    def key_ids(self) -> frozenset[str]:
        """Return the ids of the keys in memory."""
        return frozenset(self._keys.keys) if self._keys else frozenset()

    def knows(self, key_id: str) -> bool:
        return self._keys is not None and key_id in self._keys.keys

    def open(self, secret: SealedSecret) -> bytes:
        try:
            return _decrypt(self._unwrap(secret), secret.sealed, _bound("value", secret))
        except InvalidTag:
            raise _refused(secret, "it was changed, or moved from another place") from None

    def seal(self, secret: SealedSecret, value: bytes) -> SealedSecret:
        keys = self._keys or self._first()
        own = AESGCM.generate_key(KEY_BYTES * 8)
        named = msgspec.structs.replace(secret, key_id=keys.current)
        return msgspec.structs.replace(
            named,
            sealed=_encrypt(own, value, _bound("value", named)),
            wrapped=_encrypt(keys.keys[keys.current], own, _bound("key", named, keys.current)),
        )

    def rewrap(self, secret: SealedSecret) -> SealedSecret:
        keys = self._keys
        if keys is None or secret.key_id == keys.current:
            return secret
        try:
            own = self._unwrap(secret)
        except InvalidTag:
            raise _refused(secret, "it was changed, or moved from another place") from None
        named = msgspec.structs.replace(secret, key_id=keys.current)
        wrapped = _encrypt(keys.keys[keys.current], own, _bound("key", named, keys.current))
        return msgspec.structs.replace(named, wrapped=wrapped)

    def begin_rotation(self) -> str:
        former = self._keys or self._first()
        keys = _with_new(former)
        self._file.replace(keys)
        self._keys = keys
        return keys.current

    def forget(self, needed: frozenset[str]) -> int:
        keys = self._keys
        if keys is None:
            return 0
        kept = {name: key for name, key in keys.keys.items() if name == keys.current or name in needed}
        dropped = len(keys.keys) - len(kept)
        if dropped:
            left = Keys(format=keys.format, current=keys.current, keys=kept)
            self._file.replace(left)
            self._keys = left
        return dropped

    def _first(self) -> Keys:
        """Make the first key. A file that is there already stays: `require` has read it, or there is none."""
        self._keys = self._file.read()
        if self._keys is None:
            keys = _with_new(None)
            self._file.create(keys)
            self._keys = keys
        return self._keys

    def _unwrap(self, secret: SealedSecret) -> bytes:
        key = self._keys.keys.get(secret.key_id) if self._keys else None
        if key is None:
            raise _refused(secret, f"its key {secret.key_id} is not in {self._file.path}")
        return _decrypt(key, secret.wrapped, _bound("key", secret, secret.key_id))


def key_name(key: bytes) -> str:
    """Return the id of a master key."""
    return hashlib.sha256(b"wisp master key\0" + key).hexdigest()[:16]


def _with_new(former: Keys | None) -> Keys:
    key = AESGCM.generate_key(KEY_BYTES * 8)
    name = key_name(key)
    return Keys(format=1, current=name, keys={**(former.keys if former else {}), name: key})


def _bound(what: str, secret: SealedSecret, *more: str) -> bytes:
    """Return what a ciphertext is bound to."""
    return msgspec.json.encode(["wisp secret", 1, what, secret.namespace, secret.name, secret.version, *more])


def _encrypt(key: bytes, content: bytes, bound: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, content, bound)


def _decrypt(key: bytes, content: bytes, bound: bytes) -> bytes:
    if len(content) < _NONCE_BYTES:
        raise InvalidTag
    return AESGCM(key).decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], bound)


def _refused(secret: SealedSecret, why: str) -> Fault:
    text = f"secret {secret.name} of namespace {secret.namespace} can't be opened: {why}"
    return Fault("unavailable", text, secret=secret.name)
