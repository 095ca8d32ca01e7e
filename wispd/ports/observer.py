"""What the data plane tells those who watch. An observer gets values, never waits, never raises."""

from __future__ import annotations

from typing import Protocol

from wispd.model.function import Version
from wispd.model.invocation import Invocation


class Observer(Protocol):
    """Records, metrics and usage hang on this."""

    def finished(self, invocation: Invocation) -> None:
        """An admitted invocation reached its end; all its fields are final. Called once per invocation."""

    def refused(self, namespace: str, function: str, code: str) -> None:
        """A call was refused before admission (counted, not recorded)."""

    def cold_started(self, version: Version, start_ns: int, init_ns: int, pooled: bool) -> None:
        """An instance became ready: time to the sandbox, time to initialise."""

    def instance_log(self, version: Version, instance: int, text: bytes) -> None:
        """Output that belongs to no invocation (initialisation, the pipe behind descriptors 1 and 2)."""

    def invocation_log(self, invocation_id: bytes, version: Version, text: bytes) -> None:
        """Lines of a running invocation that came ahead of its outcome."""


class Quota(Protocol):
    """A namespace's share of concurrency on this gateway. Leased by epoch once there are several gateways."""

    def limit(self, namespace: str) -> int:
        """Return how many invocations of the namespace may be in flight here."""
