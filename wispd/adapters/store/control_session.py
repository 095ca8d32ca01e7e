"""One connection to ``control.db`` and its open transaction; what the stores of the control plane share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from wispd.adapters.store.control_schema import open_store
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.ports.catalogue import StorageFailed

FILE_NAME: Final = "control.db"
_BROKEN: Final = (
    apsw.IOError, apsw.CorruptError, apsw.NotADBError, apsw.CantOpenError, apsw.ReadOnlyError,
)  # fmt: skip


class Session:
    """Reads at once, changes kept by `commit`. One thread at a time. `source` is (node_id, epoch) of new rows.

    Raises, everywhere: `Fault` `storage_full`, `unavailable`; `StorageFailed` when the disk failed.
    """

    def __init__(self, data_dir: Path, clock: Clock, *, source: tuple[bytes, int]) -> None:
        self._clock = clock
        self._changed = False
        self.source = source
        with told():
            self.connection = open_store(str(data_dir / FILE_NAME))

    def rows(self, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Return all rows of a short question."""
        with told():
            found: list[tuple[Any, ...]] = self.connection.execute(sql, arguments).fetchall()
            return found

    def execute(self, sql: str, *arguments: Any) -> int:
        """Run one statement inside of `change`; return how many rows it changed."""
        self.connection.execute(sql, arguments)
        return int(self.connection.changes())

    @contextmanager
    def change(self) -> Iterator[None]:
        """One change of the open transaction: all of it, or nothing."""
        with told():
            if not self._changed:
                self.connection.execute("BEGIN IMMEDIATE")
                self._changed = True
            self._must_be_open()
            with self.connection:  # a savepoint
                yield

    def commit(self) -> None:
        """Put all changes since the last commit on the disk, or none."""
        if self._changed:
            try:
                with told():
                    self._must_be_open()
                    self.connection.execute("COMMIT")
                self._changed = False
            except BaseException:
                self.rollback()
                raise

    def rollback(self) -> None:
        """Forget all changes since the last commit."""
        self._changed = False
        if self.connection.in_transaction:
            with told():
                self.connection.execute("ROLLBACK")

    def _must_be_open(self) -> None:
        """SQLite ends a transaction by itself when the disk is full or fails. What follows would stand alone then,
        without the changes that it came after."""
        if not self.connection.in_transaction:
            raise Fault("storage_full", "control.db could not take the changes before this one; try again")

    def now_us(self) -> int:
        """Return Unix microseconds."""
        return self._clock.unix_ns() // 1000

    def close(self) -> None:
        self.connection.close()


@contextmanager
def told() -> Iterator[None]:
    """Say in our words what SQLite raises."""
    try:
        yield
    except apsw.FullError as error:
        raise Fault("storage_full", f"control.db can't grow: {error}") from error
    except _BROKEN as error:
        raise StorageFailed(f"control.db can't be read or written: {error}") from error
    except apsw.Error as error:
        raise Fault("unavailable", f"control.db can't be used: {error}") from error
