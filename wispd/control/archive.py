"""A zip from a stranger, read by hand: what it says is checked before anything is inflated, and counted while it is.

`entries` reads the central directory and decides; `inflate` yields an entry's bytes in bounded pieces and holds it to
what it said. Zip64, encryption, links and every method but stored and deflated are refused: no deployment within the
limits needs them. Local headers must agree with the directory and entries may not overlap, so that no two readers
can see different files. Source: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.4.
"""

from __future__ import annotations

import encodings.cp437  # noqa: F401  (codecs load late, and this process may be unable to read the library then)
import stat
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

import msgspec
from msgspec import Struct

from wispd.base.errors import Fault

_END: Final = struct.Struct("<4s4H2LH")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_END_SEARCH: Final = _END.size + 65_535
_DIRECTORY_BYTES_MAX: Final = 16 * 1024 * 1024
_PIECE: Final = 256 * 1024
_UTF8, _ENCRYPTED, _STRONG = 0x800, 0x1, 0x2040
_STORED, _DEFLATED = 0, 8
_UNIX_SYSTEMS: Final = (3, 19)
NAME_MAX: Final = 1024
PART_BYTES_MAX: Final = 255
PARTS_MAX: Final = 64


class Entry(Struct, frozen=True, kw_only=True):
    """One file or directory of the archive. `path` is relative, plain and uses slashes."""

    path: str
    directory: bool
    executable: bool
    method: int
    crc: int
    compressed_bytes: int
    file_bytes: int
    offset: int  # of the local header
    raw_name: bytes
    bound: int = 0  # where the next entry, or the directory, begins


def bad(message: str) -> Fault:
    """Return the fault of a zip that is refused."""
    return Fault("invalid_argument", f"the zip is refused: {message}")


def entries(file: BinaryIO, *, files_max: int) -> list[Entry]:
    """Return all entries of the archive, checked.

    Raises: `Fault` `invalid_argument` naming the entry and what is wrong; `payload_too_large` for too many entries.
    """
    start, length, declared = _directory(file)
    if declared > files_max:
        raise _too_many(declared, files_max)
    if length > _DIRECTORY_BYTES_MAX:
        raise bad(f"its directory is {length} bytes, limit {_DIRECTORY_BYTES_MAX}")
    file.seek(start)
    content = file.read(length)
    found: list[Entry] = []
    position = 0
    while position < len(content):
        if len(found) >= files_max:
            raise _too_many(len(found) + 1, files_max)
        entry, position = _central(content, position)
        found.append(entry)
    if len(found) != declared:
        raise bad(f"it declares {declared} entries and has {len(found)}")
    _check_twins(found)
    return _bounded(found, start)


def inflate(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    """Yield the bytes of a file, at most 256 KiB at a time, no more than it declared.

    Raises: `Fault("invalid_argument")` when they are not what the directory said.
    """
    _seek_content(file, entry)
    left = entry.compressed_bytes
    engine = zlib.decompressobj(-15) if entry.method == _DEFLATED else None
    crc = size = 0
    for piece in _pieces(file, left, engine, entry):
        size += len(piece)
        if size > entry.file_bytes:
            raise bad(f"{entry.path!r} is larger than the {entry.file_bytes} bytes it declares")
        crc = zlib.crc32(piece, crc)
        yield piece
    if size != entry.file_bytes or crc != entry.crc:
        raise bad(f"{entry.path!r} is damaged: its size or checksum is not what the archive says")


def _directory(file: BinaryIO) -> tuple[int, int, int]:
    """Return (offset, length, entries) of the central directory."""
    size = file.seek(0, 2)
    tail_start = max(size - _END_SEARCH, 0)
    file.seek(tail_start)
    tail = file.read(_END_SEARCH)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or at + _END.size > len(tail):
        raise bad("it is no zip, or it is cut off: there is no end record")
    _, disk, first_disk, here, total, length, start, comment = _END.unpack_from(tail, at)
    if tail_start + at + _END.size + comment != size:
        raise bad("something follows its end record, or its comment is cut off")
    if 0xFFFF in (here, total):
        raise _too_many(0xFFFF, 0xFFFE)
    if 0xFFFFFFFF in (length, start):
        raise bad("it is a zip64 archive, which no package within the limits needs")
    if disk or first_disk or here != total or start + length != tail_start + at:
        raise bad("its directory is not where its end record says")
    return start, length, total


def _central(content: bytes, at: int) -> tuple[Entry, int]:
    if at + _CENTRAL.size > len(content) or content[at : at + 4] != b"PK\x01\x02":
        raise bad("its directory is damaged")
    fields = _CENTRAL.unpack_from(content, at)
    made_by, flags, method = fields[1], fields[3], fields[4]
    crc, compressed, size, name_length, extra, comment = fields[7:13]
    raw = content[at + _CENTRAL.size : at + _CENTRAL.size + name_length]
    path, directory = _checked_path(raw, flags)
    mode = fields[15] >> 16 if made_by >> 8 in _UNIX_SYSTEMS else 0
    if flags & (_ENCRYPTED | _STRONG):
        raise bad(f"{path!r} is encrypted")
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR) > directory:
        raise bad(f"{path!r} is a link or a special file; only files and directories are taken")
    if method not in (_STORED, _DEFLATED):
        raise bad(f"{path!r} is compressed by method {method}; store or deflate it")
    if 0xFFFFFFFF in (compressed, size, fields[16]) or (directory and size):
        raise bad(f"{path!r} declares an impossible size")
    entry = Entry(
        path=path,
        directory=directory,
        executable=bool(mode & 0o111),
        method=method,
        crc=crc,
        compressed_bytes=compressed,
        file_bytes=size,
        offset=fields[16],
        raw_name=raw,
    )
    return entry, at + _CENTRAL.size + name_length + extra + comment


def _checked_path(raw: bytes, flags: int) -> tuple[str, bool]:
    """Return the path and whether it names a directory."""
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError as error:
        raise bad(f"the name {raw[:80]!r} is not UTF-8") from error
    shown = ascii(name[:80])
    if not name or len(name) > NAME_MAX:
        raise bad(f"the name {shown} has {len(name)} characters, allowed are 1 to {NAME_MAX}")
    if "\\" in name or any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise bad(f"the name {shown} has a backslash, NUL or control character")
    if name.startswith("/") or name[1:2] == ":":
        raise bad(f"the name {shown} is absolute")
    directory = name.endswith("/")
    parts = name.removesuffix("/").split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise bad(f"the name {shown} has an empty part, '.' or '..'")
    if len(parts) > PARTS_MAX or any(len(part.encode()) > PART_BYTES_MAX for part in parts):
        raise bad(f"the name {shown} has a part of more than {PART_BYTES_MAX} bytes, or more than {PARTS_MAX} parts")
    return "/".join(parts), directory


def _bounded(found: list[Entry], directory_start: int) -> list[Entry]:
    """Return the entries in the order of their bytes, each with its bound; refuse those that share bytes.

    Source: D. Fifield, "A better zip bomb", 2019.
    """
    ordered = sorted(found, key=lambda entry: entry.offset)
    bounds = [entry.offset for entry in ordered[1:]] + [directory_start]
    for entry, bound in zip(ordered, bounds, strict=False):
        if entry.offset + _LOCAL.size + len(entry.raw_name) + entry.compressed_bytes > bound:
            raise bad(f"{entry.path!r} overlaps another entry or the directory")
    return [msgspec.structs.replace(entry, bound=bound) for entry, bound in zip(ordered, bounds, strict=False)]


def _check_twins(found: list[Entry]) -> None:
    """Refuse names that some file systems, or two readers, would take for the same one."""
    spelled: dict[str, str] = {}
    files: set[str] = set()
    seen: set[str] = set()
    for entry in found:
        if entry.path in seen:
            raise bad(f"{entry.path!r} is there twice")
        seen.add(entry.path)
        if not entry.directory:
            files.add(entry.path)
        parts = entry.path.split("/")
        for depth in range(1, len(parts) + 1):
            prefix = "/".join(parts[:depth])
            key = unicodedata.normalize("NFC", prefix).casefold()
            if spelled.setdefault(key, prefix) != prefix:
                raise bad(f"{prefix!r} and {spelled[key]!r} differ in case or Unicode form only")
    for path in seen:
        parts = path.split("/")
        if any("/".join(parts[:depth]) in files for depth in range(1, len(parts))):
            raise bad(f"{path!r} lies below a file")


def _seek_content(file: BinaryIO, entry: Entry) -> None:
    """Move to the first byte of an entry's content, after holding its local header to the directory."""
    file.seek(entry.offset)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or head[:4] != b"PK\x03\x04":
        raise bad(f"{entry.path!r} has no local header where the directory says")
    fields = _LOCAL.unpack(head)
    name_length, extra = fields[9], fields[10]
    start = entry.offset + _LOCAL.size + name_length + extra
    if start + entry.compressed_bytes > entry.bound:
        raise bad(f"{entry.path!r} overlaps another entry or the directory")
    if file.read(name_length) != entry.raw_name or fields[3] != entry.method or fields[2] & (_ENCRYPTED | _STRONG):
        raise bad(f"{entry.path!r} is called something else in its local header")
    file.seek(start)


def _pieces(file: BinaryIO, left: int, engine: zlib._Decompress | None, entry: Entry) -> Iterator[bytes]:
    while left > 0:
        raw = file.read(min(left, _PIECE))
        if not raw:
            raise bad(f"{entry.path!r} is cut off")
        left -= len(raw)
        if engine is None:
            yield raw
            continue
        try:
            while raw:
                yield engine.decompress(raw, _PIECE)
                raw = engine.unconsumed_tail
        except zlib.error as error:
            raise bad(f"{entry.path!r} is damaged: {error}") from error
    if engine is not None:
        yield from _last_pieces(engine, entry)


def _last_pieces(engine: zlib._Decompress, entry: Entry) -> Iterator[bytes]:
    """Yield what the engine still holds; the stream must end with it."""
    try:
        while piece := engine.decompress(b"", _PIECE):
            yield piece
    except zlib.error as error:
        raise bad(f"{entry.path!r} is damaged: {error}") from error
    if not engine.eof or engine.unused_data:
        raise bad(f"{entry.path!r} is cut off, or holds more than its content")


def _too_many(count: int, limit: int) -> Fault:
    return Fault("payload_too_large", f"the zip has {count} entries, limit {limit}", entries=count, limit=limit)
