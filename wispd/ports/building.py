"""What builds keep: what was made of which input, and how builds went."""

from __future__ import annotations

from typing import Protocol

from wispd.model.build import Build


class BuildReading(Protocol):
    """Questions about builds."""

    def made(self, scope: str, key: bytes) -> tuple[str, str] | None:
        """Return (digest, id of the build) that was made of an input; scope "" is what every namespace may use."""

    def build(self, namespace: str, build_id: str) -> Build | None: ...

    def builds(self, namespace: str, *, before: str, limit: int) -> list[Build]:
        """Return builds, newest first, those older than `before` ("": all)."""


class BuildWriting(Protocol):
    """Changes; nothing is kept before `ControlStore.commit`."""

    def keep(self, build: Build) -> list[str]:
        """Insert or replace a build; return the ids of old ones that were forgotten for it."""

    def remember(self, scope: str, key: bytes, *, digest: str, build_id: str) -> None:
        """Note what was made of an input."""

    def abandon(self) -> list[Build]:
        """Fail builds that were running when an earlier process ended; return them."""
