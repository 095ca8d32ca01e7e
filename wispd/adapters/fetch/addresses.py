"""Which addresses the platform itself connects to on behalf of somebody: public ones, and what its operator names."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from wispd.adapters.engine.process import egress
from wispd.adapters.engine.process.protocol import ALLOW_MAX
from wispd.base.errors import Fault

RESOLVE_S: Final = 10.0
_PORTS: Final = {"https": 443, "http": 80}


class Endpoint:
    """Scheme, host and port of a URL. Raises: `Fault("invalid_argument")` for anything but http and https."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise Fault("invalid_argument", f"{url[:200]!r} is no address: {error}") from error
        if parts.scheme not in _PORTS or not parts.hostname:
            raise Fault("invalid_argument", f"{url[:200]!r} is no http or https address")
        self.scheme = parts.scheme
        self.host = parts.hostname
        self.port = port or _PORTS[parts.scheme]


class Judge:
    """Decides about resolved addresses. `allow`: what the settings open; `hosts`: URLs of the operator's own choice.

    What an operator's host resolves to is open whoever else lives there: an index often serves files by another name.
    """

    def __init__(self, allow: Sequence[str], hosts: Callable[[], Sequence[str]]) -> None:
        """Raises `ValueError` for an entry that is no `address:port`. `hosts` may block."""
        self._texts = tuple(allow)
        self._allowed = [egress.parse_allow(text) for text in allow]
        self._hosts = hosts

    async def choose(self, endpoint: Endpoint) -> str:
        """Return an address of the endpoint that may be connected to.

        Raises: `Fault` `forbidden` when all of them are closed, `build_failed` when the name does not resolve.
        """
        found = await resolve(endpoint.host, endpoint.port)
        named = [*self._allowed, *map(egress.parse_allow, await self._closed())]
        for address in found:
            number = egress.number(address)
            if any(one.covers(number, endpoint.port) for one in named):
                return address
            if not egress.is_closed(number) and not is_own(address):
                return address
        raise Fault(
            "forbidden",
            f"{endpoint.host} is {', '.join(found[:4])}: private addresses, and those of this machine, are not "
            "fetched from; the node's operator can open one in [build] allow",
            host=endpoint.host,
        )

    async def opened(self) -> tuple[str, ...]:
        """Return `address:port` of closed addresses that are open to builds."""
        return (*self._texts, *await self._closed())[:ALLOW_MAX]

    async def _closed(self) -> list[str]:
        """Return the closed addresses of the operator's own hosts."""
        found: dict[str, None] = {}
        for url in await asyncio.to_thread(self._hosts):
            one = Endpoint(url)
            with contextlib.suppress(Fault):
                for address in await resolve(one.host, one.port):
                    if egress.is_closed(egress.number(address)) or is_own(address):
                        found[f"[{address}]:{one.port}" if ":" in address else f"{address}:{one.port}"] = None
        return list(found)


def is_own(address: str) -> bool:
    """Is it an address of this machine? Then the kernel would answer from the same one."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))  # sends nothing
        except OSError:
            return False
        return str(probe.getsockname()[0]) == address


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host, without duplicates. Raises: `Fault("build_failed")`."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_S):
            answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise Fault(
            "build_failed", f"{host} can't be resolved: {error or 'no answer'}", reason="offline", host=host
        ) from error
    return list(dict.fromkeys(str(answer[4][0]).partition("%")[0] for answer in answers))
