"""What control asks of the network: files from addresses that somebody else named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Fetching(Protocol):
    """Fetches over HTTP. Every address is judged after it is resolved, and again at each redirect."""

    async def fetch(self, url: str, write: Callable[[bytes], None], *, limit_bytes: int) -> None:
        """Fetch `url` and pass its content on, piece by piece.

        Raises: `Fault` `forbidden` (a private address), `build_failed` with reason `offline` (not reached, or no
        200), `payload_too_large`.
        """

    async def opened(self) -> tuple[str, ...]:
        """Return the addresses, `address:port`, that are closed to functions but open to builds: the operator's
        own indexes and what the settings allow.
        """
