"""Reads the publication journal into the route table, from where it stopped. Never writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from wispd.gateway.router import RouteTable
from wispd.model.published import JOURNAL_NAME, decode

LINE_MAX: Final = 1_048_576  # bytes


class JournalReader:
    """Keeps a `RouteTable` current."""

    def __init__(self, folder: Path, table: RouteTable, *, domain: str = "localhost") -> None:
        self._path = folder / JOURNAL_NAME
        self._table = table
        self._domain = domain
        self._file = (0, 0)  # device and inode
        self.offset = 0  # bytes taken in
        self.corrupt = 0  # lines skipped so far

    def refresh(self) -> int:
        """Take in what was added since the last time and return the offset reached.

        A replaced or shortened file is read from its start into a new table, which then takes the old one's place. A
        last line without its end is left for the next time. A file that is not there changes nothing. Blocks: about
        5 µs a new line.
        """
        try:
            with self._path.open("rb") as file:
                self._read(file)
        except FileNotFoundError:
            pass
        return self.offset

    def _read(self, file: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        identity = (status.st_dev, status.st_ino)
        if identity == self._file and status.st_size >= self.offset:
            self.offset = self._apply(file, self._table, self.offset)
            return
        table = RouteTable(self._domain)
        self.offset = self._apply(file, table, 0)
        self._table.replace(table)
        self._file = identity

    def _apply(self, file: BinaryIO, table: RouteTable, offset: int) -> int:
        file.seek(offset)
        while line := file.readline(LINE_MAX):
            if not line.endswith(b"\n"):
                if len(line) < LINE_MAX:
                    break  # torn: its writer has not finished
                line = self._skip(file, line)
            self._take(line, table)
            offset += len(line)
        return offset

    @staticmethod
    def _skip(file: BinaryIO, line: bytes) -> bytes:
        """Return the whole of a line above the limit (it can't be decoded, but its length counts)."""
        rest = line
        while rest and not rest.endswith(b"\n"):
            rest = file.readline(LINE_MAX)
            line += rest
        return line

    def _take(self, line: bytes, table: RouteTable) -> None:
        try:
            if len(line) > LINE_MAX:
                raise ValueError(f"journal line of {len(line)} bytes, limit {LINE_MAX}")
            table.apply(decode(line), line)
        except (msgspec.DecodeError, ValueError):
            self.corrupt += 1
