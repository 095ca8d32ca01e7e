"""From the text of a lock (pylock.toml) to the distributions that one runtime on this machine installs. Pure.

The text comes out of a sandbox or from a user: everything in it is checked. Source: PyPA, pylock.toml specification.
"""

from __future__ import annotations

import hashlib
import platform
import re
import tomllib
from collections.abc import Sequence
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

from packaging.markers import Environment, default_environment
from packaging.pylock import (
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockUnsupportedVersionError,
    PylockValidationError,
)
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from wispd.base.errors import Fault
from wispd.model.build import Artifact

PACKAGES_MAX: Final = 2000
LOCK_BYTES_MAX: Final = 16 * 1024 * 1024
_FORMAT: Final = 1  # of the keys: a change of how layers are built makes all of them new
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SCHEMES: Final = ("https", "http")


class Target:
    """What a layer is built for: a minor version of CPython on this machine."""

    def __init__(self, minor: int) -> None:
        self.minor = minor
        self.tags: Sequence[Tag] = [
            *cpython_tags((3, minor)),
            *compatible_tags((3, minor), f"cp3{minor}"),
        ]

    @property
    def name(self) -> str:
        libc = "-".join(platform.libc_ver())
        return f"cp3{self.minor}-{platform.system().lower()}-{platform.machine()}-{libc}"

    def environment(self) -> Environment:
        """Return what markers are evaluated against."""
        own = default_environment()
        version = f"3.{self.minor}"
        if own["python_version"] != version:
            full = f"{version}.0"
            own |= {"python_version": version, "python_full_version": full, "implementation_version": full}
        return own


def read_lock(content: bytes, target: Target, *, folder: str = "") -> list[Artifact]:
    """Return what is to be installed, sorted by name. `folder`: where in the code the lock's own paths begin.

    Raises: `Fault("build_failed")` naming the package and what to do.
    """
    try:
        lock = Pylock.from_dict(tomllib.loads(content.decode()))
        chosen = list(lock.select(environment=target.environment(), tags=target.tags))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Fault("build_failed", f"the lock can't be read: {error}") from error
    except (PylockValidationError, PylockUnsupportedVersionError) as error:
        raise Fault("build_failed", f"the lock is not a valid pylock.toml: {error}") from error
    except PylockSelectError as error:
        raise Fault("build_failed", _not_selectable(str(error), target), reason="no_wheel") from error
    if len(chosen) > PACKAGES_MAX:
        raise Fault("build_failed", f"the lock has {len(chosen)} packages, limit {PACKAGES_MAX}")
    found = [_artifact(str(package.name), str(package.version or ""), one, folder) for package, one in chosen]
    return sorted(found, key=lambda one: one.name)


def layer_key(artifacts: Sequence[Artifact], target: Target) -> bytes:
    """Return what is equal exactly for layers of the same files for the same target."""
    total = hashlib.sha256(f"{_FORMAT}\n{target.name}\n".encode())
    for one in artifacts:
        total.update("\0".join((one.name, one.version, one.kind, one.filename, one.url, one.sha256, "\n")).encode())
    return total.digest()


def request_key(files: dict[str, bytes], target: Target, *, more: Sequence[str]) -> bytes:
    """Return what is equal exactly for equal dependency files, target and settings: it needs no resolution."""
    total = hashlib.sha256(f"{_FORMAT}\n{target.name}\n".encode())
    for part in (
        *more,
        *(text for path in sorted(files) for text in (path, hashlib.sha256(files[path]).hexdigest())),
    ):
        total.update(f"{len(part)}:{part}\n".encode())
    return total.digest()


def _artifact(name: str, version: str, one: object, folder: str) -> Artifact:
    if isinstance(one, PackageVcs):
        raise Fault(
            "build_failed",
            f"{name} comes from version control ({one.url or one.path}), which a build does not clone; "
            "name an archive of it by https address instead",
        )
    if isinstance(one, PackageDirectory):
        return Artifact(name=name, version=version, kind="local", filename=_inside(folder, one.path, name))
    file = cast("PackageWheel | PackageSdist | PackageArchive", one)
    sha256 = dict(file.hashes or {}).get("sha256", "").lower()
    filename, url = _named(file, name)
    kind = _kind(filename, name)
    if url and not _SHA256.fullmatch(sha256):
        raise Fault("build_failed", f"{name}: the lock has no SHA-256 of {filename}; lock it again with hashes")
    return Artifact(
        name=name,
        version=version,
        kind=kind,
        filename=filename,
        url=url,
        sha256=sha256,
        size_bytes=max(0, int(file.size or 0)),
    )


def _named(file: Any, name: str) -> tuple[str, str]:
    """Return (plain file name, URL or "")."""
    if file.url:
        parts = urlsplit(file.url)
        if parts.scheme not in _SCHEMES or not parts.hostname:
            if parts.scheme == "file":
                return _plain(unquote(PurePosixPath(parts.path).name), name), ""
            raise Fault("build_failed", f"{name}: {file.url[:200]!r} is no http or https address")
        return _plain(getattr(file, "name", "") or unquote(PurePosixPath(parts.path).name), name), file.url
    return _plain(PurePosixPath(str(file.path)).name, name), ""


def _plain(filename: str, name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.+!\-]{1,240}", filename, re.ASCII) or filename.startswith("."):
        raise Fault("build_failed", f"{name}: {filename[:100]!a} is no name of a package file")
    return filename


def _kind(filename: str, name: str) -> Any:
    try:
        if filename.endswith(".whl"):
            parse_wheel_filename(filename)
            return "wheel"
        if not filename.endswith((".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tgz")):
            raise InvalidSdistFilename(filename)
        if filename.endswith(".tar.gz"):
            parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        raise Fault("build_failed", f"{name}: {filename!r} is neither a wheel nor a source archive") from error
    return "sdist"


def _inside(folder: str, path: str, name: str) -> str:
    whole = normpath(f"{folder}/{path}" if folder else path)
    if path.startswith("/") or whole.split("/")[0] == "..":
        raise Fault("build_failed", f"{name} lies outside of the code, at {path[:200]!r}")
    return whole


def _not_selectable(text: str, target: Target) -> str:
    return (
        f"{text}. The lock offers nothing for Python 3.{target.minor} on {platform.machine()}; "
        "lock for it, or deploy with another --runtime"
    )
