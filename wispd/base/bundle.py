"""The container of a backup: a plain tar with a last line that has the SHA-256 of everything before it.

Any tar reads it (`tar tf`), nothing in it is compressed, so nothing can grow, and a flipped bit anywhere or a missing
end is noticed before a single header is believed. What is read back is checked by hand: regular files with plain
relative paths only. Source: POSIX.1-1988 ustar, and GNU long names.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

from wispd.base.errors import Fault

FORMAT: Final = 1
MARK: Final = b"WISP-BACKUP "
TRAILER_BYTES: Final = len(MARK) + 4 + 1 + 64 + 1  # mark, format in four digits, space, digest, newline
BLOCK: Final = 512
PIECE: Final = 256 * 1024
MEMBERS_MAX: Final = 2_000_000
PATH_BYTES_MAX: Final = 4096
PART_BYTES_MAX: Final = 255
PARTS_MAX: Final = 70
_TRAILER: Final = re.compile(rb"WISP-BACKUP ([0-9]{4}) ([0-9a-f]{64})\n")
_EXECUTABLE: Final = 0o555
_PLAIN: Final = 0o444


class Member(NamedTuple):
    """A file of a bundle: where its content is."""

    path: str
    size: int
    executable: bool
    offset: int


class BundleWriter:
    """Turns files into the bytes of a bundle. Feed every piece that it returns to the output, in order."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._left = 0  # padding that the current file needs

    def begin(self, path: str, size: int, *, executable: bool = False) -> bytes:
        """Return what comes before a file's content."""
        header = tarfile.TarInfo(path)
        header.size = size
        header.mode = _EXECUTABLE if executable else _PLAIN
        self._left = -size % BLOCK
        return self.content(header.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict"))

    def content(self, piece: bytes) -> bytes:
        """Return a piece of a file's content, counted in."""
        self._hash.update(piece)
        return piece

    def finish(self) -> bytes:
        """Return what comes behind a file's content."""
        return self.content(bytes(self._left))

    def end(self) -> bytes:
        """Return the end of the bundle."""
        last = self.content(bytes(2 * BLOCK))
        return last + trailer(self._hash.hexdigest())


class StreamCheck:
    """Checks a bundle while it arrives: the last bytes must be the digest of all before them."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._tail = b""
        self.size = 0

    def feed(self, piece: bytes) -> None:
        """Take in a piece of the bundle."""
        self.size += len(piece)
        joined = self._tail + piece
        cut = max(0, len(joined) - TRAILER_BYTES)
        self._hash.update(joined[:cut])
        self._tail = joined[cut:]

    def finish(self) -> str:
        """Return the digest. Raises: `Fault("invalid_argument")` when this was not a whole bundle."""
        return _checked(self._tail, self._hash.hexdigest())


def trailer(digest: str) -> bytes:
    """Return the last line of a bundle with this digest."""
    return MARK + f"{FORMAT:04d} {digest}\n".encode()


def check(file: BinaryIO) -> int:
    """Read a bundle to its end; return how many bytes its tar has. Raises: `Fault("invalid_argument")`."""
    whole = StreamCheck()
    file.seek(0)
    while piece := file.read(PIECE):
        whole.feed(piece)
    whole.finish()
    return whole.size - TRAILER_BYTES


def members(file: BinaryIO, length: int) -> Iterator[Member]:
    """Yield the files of a checked bundle. Raises: `Fault("invalid_argument")` for whatever is no plain file."""
    position, name, count = 0, "", 0
    while position + BLOCK <= length:
        header = _header(file, position)
        position += BLOCK
        if header is None:  # the end, which the writer makes of zeros only
            return
        count += 1
        if count > MEMBERS_MAX or header.size < 0 or position + header.size > length:
            raise refused(f"it has more than {MEMBERS_MAX} files, or one that is longer than the backup")
        if header.type == tarfile.GNUTYPE_LONGNAME and not name and 0 < header.size <= PATH_BYTES_MAX:
            name = _read(file, position, header.size).rstrip(b"\0").decode("utf-8", "replace")
        elif header.type == tarfile.REGTYPE:
            yield Member(check_path(name or header.name), header.size, bool(header.mode & 0o111), position)
            name = ""
        else:
            raise refused(f"{header.name[:80]!a} is no plain file")
        position += header.size + -header.size % BLOCK
    raise refused("its end is missing")


def check_path(path: str) -> str:
    """Return a path that stays below the folder it is unpacked in. Raises: `Fault("invalid_argument")`."""
    parts = path.split("/")
    plain = all(part not in ("", ".", "..") and len(part.encode()) <= PART_BYTES_MAX for part in parts)
    odd = any(ord(letter) < 32 or ord(letter) == 127 or letter == "\\" for letter in path)
    if not plain or odd or len(parts) > PARTS_MAX or len(path.encode()) > PATH_BYTES_MAX:
        raise refused(f"the path {path[:80]!a} is not plain")
    return path


def refused(why: str) -> Fault:
    """Return the fault of a backup that is not believed."""
    return Fault("invalid_argument", f"the backup is refused: {why}")


def _header(file: BinaryIO, position: int) -> tarfile.TarInfo | None:
    block = _read(file, position, BLOCK)
    if not block.strip(b"\0"):
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeError) as error:
        raise refused(f"a header at byte {position} is damaged: {error}") from None


def _read(file: BinaryIO, position: int, size: int) -> bytes:
    file.seek(position)
    content = file.read(size)
    if len(content) != size:
        raise refused("it ends too early")
    return content


def _checked(tail: bytes, digest: str) -> str:
    found = _TRAILER.fullmatch(tail)
    if found is None:
        raise refused("it is no backup of Wisp, or its end is missing")
    if int(found[1]) > FORMAT:
        raise refused(f"it has format {int(found[1])}, this version of Wisp reads up to {FORMAT}; use a newer one")
    if found[2].decode() != digest:
        raise refused("its content is not what was written: it is damaged or was changed")
    return digest
