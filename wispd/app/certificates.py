"""Certificates of the listeners, on the supervisor's side: read, checked, watched, and handed on.

The supervisor alone opens the files, with the rights of whoever started the node; gateway and control, which may have
fewer, get what is in them through a sealed memory file. A certificate that is replaced by a bad one stays in use.
"""

from __future__ import annotations

import fcntl
import os
import ssl
from typing import Final

from msgspec import Struct

from wispd.app.settings import Settings
from wispd.base.errors import Fault

LOOK_S: Final = 1.0  # between two looks at the files
FILE_MAX: Final = 1_048_576  # bytes
NONE: Final = "none"  # as the admin listener's certificate: no TLS although the public one has it
DESCRIPTOR: Final = "tls"  # its name in boot messages
LISTENERS: Final = {"gateway": "public", "control": "admin"}  # role → the listener that it serves
_NS: Final = 1_000_000_000


class Files(Struct, frozen=True, kw_only=True):
    """Where one listener's certificate is. `cert` may hold the key too; then `key` is the same path."""

    cert: str
    key: str
    flag: str  # for messages


class Certificate(Struct, frozen=True, kw_only=True):
    """What was read. `pem` is everything, `chain` what may be shown to anybody."""

    pem: bytes
    chain: str


def files_of(settings: Settings) -> dict[str, Files]:
    """Return the files per listener; a listener without TLS is not in it. Raises: `Fault("invalid_argument")`."""
    found = {}
    if settings.tls_key and not settings.tls_cert:
        raise Fault("invalid_argument", "there is a tls-key without a tls-cert; name both")
    if settings.tls_cert:
        key = settings.tls_key or settings.tls_cert
        found["public"] = found["admin"] = Files(cert=settings.tls_cert, key=key, flag="tls-cert")
    if settings.admin_tls_cert == NONE:
        found.pop("admin", None)
    elif settings.admin_tls_cert:
        key = settings.admin_tls_key or settings.admin_tls_cert
        found["admin"] = Files(cert=settings.admin_tls_cert, key=key, flag="admin-tls-cert")
    elif settings.admin_tls_key:
        raise Fault("invalid_argument", "there is an admin-tls-key without an admin-tls-cert; name both")
    return found


def read(files: Files) -> Certificate:
    """Read and check a certificate and its key. Raises: `Fault`, which names the file."""
    cert = _content(files.cert, files.flag)
    key = cert if files.key == files.cert else _content(files.key, files.flag)
    if b"-----BEGIN CERTIFICATE-----" not in cert:
        raise Fault("invalid_argument", f"{files.cert} ({files.flag}) has no PEM certificate in it")
    if b"PRIVATE KEY-----" not in key:
        raise Fault("invalid_argument", f"{files.key} has no PEM private key in it, which {files.cert} needs")
    pem = cert if key is cert else cert.rstrip() + b"\n" + key
    fd = sealed(pem)
    try:
        load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), fd)
    except ssl.SSLError as error:
        raise Fault("invalid_argument", _why(error, files)) from error
    except ValueError as error:
        raise Fault("invalid_argument", f"the key in {files.key} is encrypted; {error}") from error
    finally:
        os.close(fd)
    return Certificate(pem=pem, chain=_public_part(cert))


def _content(path: str, flag: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(FILE_MAX + 1)
    except PermissionError as error:
        text = f"{path} ({flag}) can't be read by uid {os.geteuid()}, which starts the node: {error.strerror}"
        raise Fault("forbidden", text, path=path) from error
    except OSError as error:
        raise Fault("invalid_argument", f"{path} ({flag}) can't be read: {error.strerror}", path=path) from error
    if len(content) > FILE_MAX:
        raise Fault("invalid_argument", f"{path} ({flag}) has more than {FILE_MAX} bytes", path=path)
    return content


def _why(error: ssl.SSLError, files: Files) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key in {files.key} does not belong to the certificate in {files.cert}"
    return f"{files.cert} and {files.key} can't be used: {error.reason or error}"


def _public_part(cert: bytes) -> str:
    """Return the certificates of a PEM file, without a key that may be in it as well."""
    blocks, inside = [], False
    for line in cert.decode("ascii", "replace").splitlines():
        inside = inside or line.strip() == "-----BEGIN CERTIFICATE-----"
        if inside:
            blocks.append(line.strip())
        inside = inside and line.strip() != "-----END CERTIFICATE-----"
    return "\n".join([*blocks, ""])


def sealed(pem: bytes) -> int:
    """Return a descriptor of memory that holds `pem`, and that nobody can change any more."""
    fd = os.memfd_create("wisp-tls", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, pem)
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def server_context(fd: int) -> ssl.SSLContext:
    """Return a context that serves the certificate behind `fd`, and close that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    renew(context, fd)
    return context


def renew(context: ssl.SSLContext, fd: int) -> None:
    """Let new connections get the certificate behind `fd`, and close that. Open ones go on with theirs."""
    try:
        load(context, fd)
    finally:
        os.close(fd)


def load(context: ssl.SSLContext, fd: int) -> None:
    """Raises: `ssl.SSLError`; `ValueError` for a key that is encrypted."""

    def no_passphrase() -> str:
        raise ValueError("Wisp has nobody to ask for a passphrase: decrypt it and protect the file")

    context.load_cert_chain(f"/proc/self/fd/{fd}", password=no_passphrase)


class Certificates:
    """The certificates in use, and whether their files have changed since."""

    def __init__(self, settings: Settings) -> None:
        """Raises: `Fault` for what can't be used."""
        self._files = files_of(settings)
        self._stamps = {name: _stamp(files) for name, files in self._files.items()}
        self._seen = dict(self._stamps)
        self.current = {name: read(files) for name, files in self._files.items()}
        self.errors: dict[str, str] = {}
        self._due_ns = 0

    def descriptor(self, role: str) -> dict[str, int]:
        """Return a descriptor for the role's listener, to be closed by the caller; nothing without TLS."""
        certificate = self.current.get(LISTENERS.get(role, ""))
        return {DESCRIPTOR: sealed(certificate.pem)} if certificate is not None else {}

    def look(self, now_ns: int, *, asked: bool = False) -> list[str]:
        """Read what has changed and return the roles that have to be told; errors are kept in `errors`.

        A file is read when it looks the same twice, so that one that is being written is left alone. `asked`: read
        all of them now.
        """
        if not self._files or (now_ns < self._due_ns and not asked):
            return []
        self._due_ns = now_ns + int(LOOK_S * _NS)
        told = []
        for role, name in LISTENERS.items():
            if name in self._files and self._changed(name, asked=asked) and self._reread(name):
                told.append(role)
        return told

    def _changed(self, name: str, *, asked: bool) -> bool:
        stamp = _stamp(self._files[name])
        settled, self._seen[name] = stamp == self._seen[name], stamp
        if not asked and (not settled or stamp == self._stamps[name]):
            return False
        self._stamps[name] = stamp
        return True

    def _reread(self, name: str) -> bool:
        try:
            self.current[name] = read(self._files[name])
        except Fault as fault:
            self.errors[name] = f"{fault.message}; the former certificate stays in use"
            return False
        self.errors.pop(name, None)
        return True

    def status(self) -> dict[str, object]:
        """Return what `run/status.json` says."""
        return {
            name: {"cert": files.cert, "error": self.errors.get(name, ""), "chain": self.current[name].chain}
            for name, files in self._files.items()
        }


def _stamp(files: Files) -> tuple[object, ...]:
    """Return what changes when a file or what its links lead to is replaced."""
    stamps: list[object] = []
    for path in (files.cert, files.key):
        try:
            found = os.stat(path)
            stamps.append((found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))
        except OSError as error:
            stamps.append(error.errno)
    return tuple(stamps)
