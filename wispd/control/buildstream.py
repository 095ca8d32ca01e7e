"""Takes the records of a build's stream apart, however they arrive. What they say is not believed, only read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import msgspec
from msgspec import Struct

from wisp.runtime.building import records
from wispd.base.errors import Fault

TEXT_MAX: Final = 4096
Reason = Literal["exit", "timeout", "disk", "program", "tree", "internal"]


class Step(Struct, frozen=True):
    """A step begins."""

    label: str


class FileHead(Struct, frozen=True):
    """A file begins; its bytes follow."""

    tree: str
    path: str
    executable: bool
    size: int


class Failed(Struct, frozen=True):
    """A step failed, and with it the build."""

    reason: Reason
    label: str
    detail: str


class Log(Struct, frozen=True):
    """Output of a step."""

    text: bytes


class Piece(Struct, frozen=True):
    """Bytes of the file that began last."""

    content: bytes


class Done(Struct, frozen=True):
    """Everything worked."""


Record = Step | FileHead | Failed | Log | Piece | Done
_JSON: Final[dict[int, type[Step | FileHead | Failed]]] = {
    records.STEP: Step,
    records.FILE: FileHead,
    records.FAILED: Failed,
}


class StreamReader:
    """Feed it bytes; it yields whole records."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, content: bytes) -> Iterator[Record]:
        """Yield the records that are complete now. Raises: `Fault("build_failed")` for what is no record."""
        self._waiting += content
        at = 0
        while len(self._waiting) - at >= records.HEAD.size:
            kind, length = records.HEAD.unpack_from(self._waiting, at)
            if length > records.LENGTH_MAX:
                raise _nonsense(f"a record of {length} bytes")
            end = at + records.HEAD.size + length
            if end > len(self._waiting):
                break
            yield _record(kind, bytes(self._waiting[at + records.HEAD.size : end]))
            at = end
        del self._waiting[:at]


def _record(kind: int, content: bytes) -> Record:
    if kind == records.BYTES:
        return Piece(content)
    if kind == records.LOG:
        return Log(content)
    if kind == records.DONE:
        return Done()
    wanted = _JSON.get(kind)
    if wanted is None:
        raise _nonsense(f"a record of type {kind}")
    try:
        return msgspec.json.decode(content, type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _nonsense(str(error)) from error


def _nonsense(what: str) -> Fault:
    return Fault(
        "build_failed", f"the build's sandbox sent {what}: what ran in it broke its output", reason="internal"
    )
