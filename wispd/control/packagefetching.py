"""A package that the node fetches itself: a zip at an https address, held to its hash."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Final

from wispd.base.errors import Fault
from wispd.control.packaging import Packages, Tree
from wispd.ports.access import UploadKind
from wispd.ports.fetching import Fetching

AT_ONCE: Final = 4
PATIENCE_S: Final = 300.0
Own = Callable[[str, UploadKind, str], Awaitable[None]]


class PackageFetching:
    """Fetches packages. `own` notes whose they are."""

    def __init__(self, fetcher: Fetching, code: Packages, own: Own, *, zip_bytes_max: int) -> None:
        self._fetcher = fetcher
        self._code = code
        self._own = own
        self._zip_bytes_max = zip_bytes_max
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def fetch(self, namespace: str, url: str, sha256: str) -> Tree:
        """Fetch, check, unpack and store.

        Raises: `Fault` `invalid_argument` (the address, the zip, or its hash), `forbidden` (a private address),
        `build_failed` (not reached), `payload_too_large`, `timeout`.
        """
        if not url.startswith("https://"):
            raise Fault("invalid_argument", f"{url[:200]!r} is no https address", key="url")
        total = hashlib.sha256()
        async with self._slots:
            with self._code.upload() as file:

                def write(piece: bytes) -> None:
                    total.update(piece)
                    file.write(piece)

                try:
                    async with asyncio.timeout(PATIENCE_S):
                        await self._fetcher.fetch(url, write, limit_bytes=self._zip_bytes_max)
                except TimeoutError as error:
                    raise Fault("timeout", f"{url[:200]} was not fetched within {PATIENCE_S:g} s") from error
                if total.hexdigest() != sha256:
                    text = f"{url[:200]} has the SHA-256 {total.hexdigest()}, not {sha256}"
                    raise Fault("invalid_argument", text, key="sha256")
                tree = await asyncio.to_thread(self._code.store, file)
        await self._own(namespace, "code", tree.digest)
        return tree
