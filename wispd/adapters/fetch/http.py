"""Fetches files from addresses that somebody else named.

The name is resolved once, the address judged, and the connection made to that very address: what a name means a
moment later plays no part. A redirect is a new address and is judged like the first. The environment is not read.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final
from urllib.parse import urljoin

import httpx

from wispd.adapters.fetch.addresses import Endpoint, Judge
from wispd.base.errors import Fault

REDIRECTS_MAX: Final = 5
TRIES: Final = 3
CONNECT_S: Final = 10.0
SILENCE_S: Final = 60.0
_PIECE: Final = 256 * 1024


class HttpFetcher:
    """Implements `wispd.ports.fetching.Fetching`. `ca_file`: authorities to trust, "" for the system's."""

    def __init__(self, judge: Judge, *, ca_file: str = "") -> None:
        self._judge = judge
        self._ca_file = ca_file
        self.opened = judge.opened

    async def fetch(self, url: str, write: Callable[[bytes], None], *, limit_bytes: int) -> None:
        for attempt in range(TRIES):
            begun = False

            def once(piece: bytes) -> None:
                nonlocal begun
                begun = True
                write(piece)

            try:
                await self._follow(url, once, limit_bytes)
                return
            except httpx.TransportError as error:
                if begun or attempt == TRIES - 1:  # what was passed on can't be taken back
                    host = Endpoint(url).host
                    text = f"{host} can't be reached: {error or type(error).__name__}"
                    raise Fault("build_failed", text, reason="offline", host=host) from error

    async def _follow(self, url: str, write: Callable[[bytes], None], limit_bytes: int) -> None:
        transport = httpx.AsyncHTTPTransport(verify=self._context(), trust_env=False, retries=0)
        try:
            for _ in range(REDIRECTS_MAX + 1):
                endpoint = Endpoint(url)
                address = await self._judge.choose(endpoint)
                response = await transport.handle_async_request(_request(url, endpoint, address))
                try:
                    if response.has_redirect_location:
                        url = _next(url, response.headers["location"])
                        continue
                    await _copy(url, response, write, limit_bytes)
                    return
                finally:
                    await response.aclose()
        finally:
            await transport.aclose()
        raise Fault("build_failed", f"{url[:200]} redirects more than {REDIRECTS_MAX} times", reason="offline")

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise Fault("unavailable", f"[build] ca_file {self._ca_file} can't be used: {error}") from error


def _request(url: str, endpoint: Endpoint, address: str) -> httpx.Request:
    """Return a request to the judged address that says, in Host and in TLS, which name was meant."""
    parsed = httpx.URL(url)
    headers = {"host": parsed.netloc.decode(), "accept": "*/*", "accept-encoding": "identity", "user-agent": "wisp"}
    if parsed.userinfo:
        headers["authorization"] = httpx.BasicAuth(parsed.username, parsed.password)._auth_header
    timeout = {"connect": CONNECT_S, "read": SILENCE_S, "write": CONNECT_S, "pool": CONNECT_S}
    return httpx.Request(
        "GET",
        parsed.copy_with(host=address, userinfo=b"", fragment=None),
        headers=headers,
        extensions={"timeout": timeout, "sni_hostname": endpoint.host},
    )


def _next(url: str, location: str) -> str:
    target = urljoin(url, location)
    if Endpoint(url).scheme == "https" and Endpoint(target).scheme != "https":
        raise Fault("forbidden", f"{Endpoint(url).host} redirects from https to http, which is not followed")
    return target


async def _copy(url: str, response: httpx.Response, write: Callable[[bytes], None], limit_bytes: int) -> None:
    host = Endpoint(url).host
    if response.status_code != 200:
        raise Fault(
            "build_failed",
            f"{host} answers {response.status_code} for {httpx.URL(url).path[:200]}",
            reason="offline",
            host=host,
        )
    size = 0
    async for piece in response.aiter_raw(_PIECE):
        size += len(piece)
        if size > limit_bytes:
            raise Fault("payload_too_large", f"{host} sends more than {limit_bytes} bytes", limit=limit_bytes)
        write(piece)
