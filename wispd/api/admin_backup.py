"""The admin API's route for backups."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Request
from msgspec import Meta, Struct
from starlette.concurrency import iterate_in_threadpool, run_in_threadpool
from starlette.responses import Response, StreamingResponse

from wispd.api.admin_body import body_of
from wispd.api.permitting import Raw, needs
from wispd.control.backup import Backup, Backups

TAR: Final = Raw("A tar whose last line is the SHA-256 of all before it.", ("application/x-tar",))


class BackupWanted(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes into a backup. With a `passphrase` the master key of the secrets goes along, sealed with it."""

    records: bool = True
    passphrase: Annotated[str, Meta(max_length=1024)] = ""

    def __repr__(self) -> str:
        return f"BackupWanted(records={self.records})"


def backup_routes(backups: Backups) -> APIRouter:
    """Return the route."""
    router = APIRouter()

    @router.post(
        "/v1/backup", **needs("node.write", takes=BackupWanted, returns=TAR, errors=["conflict", "storage_full"])
    )
    async def backup(request: Request) -> Response:
        """Stream a backup of the node, as it is at this moment. An answer without its last line is not whole."""
        wanted = await body_of(request, BackupWanted)
        made = await run_in_threadpool(backups.begin, records=wanted.records, passphrase=wanted.passphrase)
        return StreamingResponse(_streamed(made), media_type="application/x-tar")

    return router


async def _streamed(backup: Backup) -> AsyncIterator[bytes]:
    try:
        async for piece in iterate_in_threadpool(backup.pieces()):
            yield piece
    finally:
        backup.close()
