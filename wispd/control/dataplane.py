"""How control talks to the gateway: HTTP over its Unix socket in the data directory."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct

from wispd.base.errors import CODES, Fault
from wispd.model.counts import VersionCounts
from wispd.model.entry import Entry
from wispd.model.function import Version

SOCKET: Final = "run/gateway.sock"
CONNECTIONS_MAX: Final = 1000  # as many as the admin listener takes
CONNECT_S: Final = 2.0
ASK_S: Final = 5.0
TRIAL_EXTRA_S: Final = 30.0  # above the function's own timeout: the start, on a busy machine
CALLS_S: Final = 30.0  # above what the gateway waits for a call to tell of
SILENCE_S: Final = 1200.0  # between two pieces of an answer; the gateway ends calls long before
ANSWER_MAX: Final = 64 * 1024 * 1024


class Trial(Struct, frozen=True, kw_only=True):
    """How a start for trial went."""

    dialect: str = ""
    init_ms: float = 0.0
    entries: tuple[Entry, ...] = ()  # what an App declares


class DataPlane:
    """The gateway as control sees it. Raises: `Fault("unavailable")` when it can't be reached."""

    def __init__(self, data_dir: Path) -> None:
        limits = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=64, keepalive_expiry=30)
        self._transport = httpx.AsyncHTTPTransport(uds=str(data_dir / SOCKET), limits=limits)

    async def trial(self, version: Version) -> Trial:
        """Start an instance of a version that is not live yet, and end it.

        Raises: `Fault("init_failed")` with the reason when it does not start.
        """
        content = msgspec.json.encode(version)
        status, answer = await self._ask(
            "POST", "/_wisp/trial", content, patience_s=version.timeout_s + TRIAL_EXTRA_S
        )
        if status != 200:
            raise fault_of(status, answer)
        try:
            return msgspec.json.decode(answer, type=Trial)
        except msgspec.DecodeError as error:
            raise Fault("unavailable", f"the gateway's answer is not understood: {error}") from error

    async def warm(self, version: Version, *, patience_s: float) -> int:
        """Start what a version's function needs now, before calls go to it; return how many instances are ready.

        Raises: `Fault` when none is: why it does not start, or `unavailable` after `patience_s`.
        """
        status, answer = await self._ask("POST", "/_wisp/warm", msgspec.json.encode(version), patience_s=patience_s)
        if status != 200:
            raise fault_of(status, answer)
        return int(msgspec.json.decode(answer, type=dict[str, int]).get("ready", 0))

    async def counts(self, namespace: str, name: str) -> list[VersionCounts]:
        """Return what was counted of a function, version by version, since the gateway started."""
        asked = msgspec.json.encode({"namespace": namespace, "name": name})
        status, answer = await self._ask("POST", "/_wisp/counts", asked)
        if status != 200:
            raise fault_of(status, answer)
        return msgspec.json.decode(answer, type=list[VersionCounts])

    async def introduce(self, version: Version) -> None:
        """Let a version be invoked that no alias points at."""
        status, answer = await self._ask("POST", "/_wisp/version", msgspec.json.encode(version))
        if status != 200:
            raise fault_of(status, answer)

    async def announce(self, offset: int) -> bool:
        """Tell the gateway how far the journal reaches; False when it is away."""
        try:
            status, _ = await self._ask("POST", "/_wisp/published", msgspec.json.encode({"offset": offset}))
        except Fault:
            return False
        return status == 200

    async def status(self) -> dict[str, Any]:
        """Return what the gateway says about itself."""
        return dict(msgspec.json.decode(await self._get("/_wisp/status"), type=dict[str, Any]))

    async def calls(self, namespace: str, after: int) -> dict[str, Any]:
        """Return calls that ended behind event `after`, when there are any or the gateway has waited long enough."""
        path = f"/_wisp/calls?namespace={quote(namespace, safe='')}&after={after}"
        status, answer = await self._ask("GET", path, patience_s=CALLS_S)
        if status != 200:
            raise fault_of(status, answer)
        return dict(msgspec.json.decode(answer, type=dict[str, Any]))

    async def metrics(self) -> bytes:
        """Return the gateway's counters: a `Snapshot` as JSON, or text."""
        return await self._get("/_wisp/metrics")

    async def build(self, version: Version) -> AsyncIterator[bytes]:
        """Yield what a build's sandbox sends. Raises: `Fault`, `httpx.TransportError` when it ends half-way."""
        content = msgspec.json.encode(version)
        headers = [(b"host", b"gateway"), (b"content-length", str(len(content)).encode())]
        response = await self.send("POST", b"/_wisp/build", headers, _once(content))
        try:
            if response.status_code != 200:
                raise fault_of(response.status_code, await _whole(response))
            async for piece in response.aiter_raw():
                yield piece
        finally:
            await response.aclose()

    async def send(
        self, method: str, target: bytes, headers: list[tuple[bytes, bytes]], body: AsyncIterable[bytes] | None
    ) -> httpx.Response:
        """Send a request as it is and return the answer before its body; the caller closes it."""
        stream = body if body is not None else b""
        request = httpx.Request(
            method, "http://gateway/", headers=headers, content=stream, extensions=_timeouts(SILENCE_S)
        )
        request.extensions["target"] = target  # as received: nothing of it is normalised
        try:
            return await self._transport.handle_async_request(request)
        except httpx.TransportError as error:
            raise _away(error) from error

    async def close(self) -> None:
        await self._transport.aclose()

    async def _get(self, path: str) -> bytes:
        status, answer = await self._ask("GET", path)
        if status != 200:
            raise fault_of(status, answer)
        return answer

    async def _ask(
        self, method: str, path: str, body: bytes = b"", *, patience_s: float = ASK_S
    ) -> tuple[int, bytes]:
        request = httpx.Request(method, f"http://gateway{path}", content=body, extensions=_timeouts(patience_s))
        try:
            response = await self._transport.handle_async_request(request)
            try:
                return response.status_code, await _whole(response)
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise _away(error) from error


def fault_of(status: int, answer: bytes) -> Fault:
    """Return the fault of a problem document, facts included."""
    try:
        problem = msgspec.json.decode(answer, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = {}
    code = problem.get("code")
    if code not in CODES:
        return Fault("unavailable", f"the gateway answers {status}: {answer[:200]!r}")
    standard = ("type", "title", "status", "detail", "code", "invocation_id", "retryable", "message", "retry_after_s")
    facts = {str(key): value for key, value in problem.items() if key not in standard}
    return Fault(code, str(problem.get("detail", code)), **facts)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _whole(response: httpx.Response) -> bytes:
    content = bytearray()
    async for piece in response.aiter_raw():
        content += piece
        if len(content) > ANSWER_MAX:
            raise Fault("unavailable", f"the gateway's answer is larger than {ANSWER_MAX} bytes")
    return bytes(content)


def _timeouts(patience_s: float) -> dict[str, Any]:
    return {"timeout": {"connect": CONNECT_S, "read": patience_s, "write": patience_s, "pool": CONNECT_S}}


def _away(error: httpx.TransportError) -> Fault:
    return Fault("unavailable", f"the gateway can't be reached: {error or type(error).__name__}", retry_after_s=1)
