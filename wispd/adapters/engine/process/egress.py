"""May a function connect to this address? Pure: addresses are numbers, nothing is resolved or asked here.

Every address is judged in its 128-bit form (IPv4 as ``::ffff:a.b.c.d``), after resolution, on the copy the broker
connects with. Closed: whatever IANA does not call globally reachable, the node's own addresses, the metadata services
of clouds, and every IPv6 form that carries a closed IPv4 address. `allow` entries open what they name.
Source: IANA IPv4 and IPv6 Special-Purpose Address Registries; RFC 6052 (NAT64), 3056 (6to4), 5214 (ISATAP).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from wispd.adapters.engine.process.protocol import ALLOW, ALLOW_MAX

DNS_PORT: Final = 53
_MAPPED: Final = 0xFFFF << 32  # ::ffff:0:0/96
_WORD: Final = 0xFFFF_FFFF


class Verdict(Enum):
    """What the broker does with a connect."""

    CONNECT = "connect"  # a socket of its own, outside
    RESOLVER = "resolver"  # answer DNS in the function's name
    INSIDE = "inside"  # the instance's own loopback
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Allowed:
    """One entry of `network.allow`: a range in 128-bit form; port 0 means every port."""

    network: int
    prefix: int
    port: int

    def covers(self, address: int, port: int) -> bool:
        return self.port in {0, port} and (address ^ self.network) >> (128 - self.prefix) == 0

    def pack(self) -> bytes:
        """Return the entry as START carries it."""
        return ALLOW.pack(self.network.to_bytes(16, "big"), self.prefix, 0, self.port)


@dataclass(frozen=True, slots=True)
class Policy:
    """What one instance may reach. `resolvers`: the name servers of the host, in 128-bit form."""

    allowed: tuple[Allowed, ...] = ()
    resolvers: frozenset[int] = frozenset()

    def judge(self, address: int, port: int) -> Verdict:
        """Decide on a 128-bit address and port.

        `CONNECT` still needs a look at the host's own addresses unless `names(address, port)`.
        """
        if self.names(address, port):
            return Verdict.CONNECT
        if port == DNS_PORT and address in self.resolvers:
            return Verdict.RESOLVER
        if is_loopback(address):
            return Verdict.INSIDE
        return Verdict.REFUSE if is_closed(address) else Verdict.CONNECT

    def names(self, address: int, port: int) -> bool:
        """Does the user's own list name this address? It opens even what is closed to everybody."""
        return any(entry.covers(address, port) for entry in self.allowed)


def number(text: str) -> int:
    """Return the 128-bit form of a literal address; a zone (``%eth0``) is dropped. Raises `ValueError`."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return int(address) | _MAPPED if address.version == 4 else int(address)


def _ranges(version: int, texts: str) -> tuple[tuple[int, int], ...]:
    """(network, shift) of each range: an address is in it when the bits above the shift agree."""
    networks = (ipaddress.ip_network(text) for text in texts.split())
    bits = 32 if version == 4 else 128
    return tuple((int(one.network_address) >> bits - one.prefixlen, bits - one.prefixlen) for one in networks)


_CLOSED_4: Final = _ranges(
    4,
    # this host, private, CGNAT, loopback, link-local, private
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 "
    # protocol assignments, documentation, 6to4 relays, private, benchmarking, documentation, multicast, reserved
    "192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 "
    "224.0.0.0/4 240.0.0.0/4 "
    # Azure's platform service: a public address that only its virtual machines reach
    "168.63.129.16/32",
)
_GLOBAL_6: Final = _ranges(6, "2000::/3")
# protocol assignments (with Teredo and ORCHID), documentation twice
_CLOSED_6: Final = _ranges(6, "2001::/23 2001:db8::/32 3fff::/20")
_NAT64, _SIX_TO_FOUR = _ranges(6, "64:ff9b::/96 2002::/16")
_LOOPBACKS: Final = frozenset({0, 1, _MAPPED})  # ::, ::1 and 0.0.0.0, which the kernel takes for 127.0.0.1


def _within(address: int, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(address >> shift == network for network, shift in ranges)


def is_loopback(address: int) -> bool:
    """Does the kernel take this address for the own host's loopback?"""
    return address in _LOOPBACKS or address >> 24 == (_MAPPED | 127 << 24) >> 24


def is_closed(address: int) -> bool:
    """Is a 128-bit address closed to every function that does not name it?"""
    if address >> 32 == _MAPPED >> 32:
        return _within(address & _WORD, _CLOSED_4)
    if _within(address, (_NAT64,)):
        return _within(address & _WORD, _CLOSED_4)
    if not _within(address, _GLOBAL_6) or _within(address, _CLOSED_6):
        return True
    if _within(address, (_SIX_TO_FOUR,)):
        return _within(address >> 80 & _WORD, _CLOSED_4)
    # ISATAP: the interface identifier 0:5efe or 200:5efe carries the IPv4 address
    return address >> 32 & 0xFDFF_FFFF == 0x5EFE and _within(address & _WORD, _CLOSED_4)


def parse_allow(text: str) -> Allowed:
    """Read ``address:port`` or ``address/prefix:port``, IPv6 in brackets; port ``*`` means every port.

    Raises `ValueError` with a sentence for the user.
    """
    host, separator, port_text = text.strip().rpartition(":")
    port = 0 if port_text == "*" else int(port_text) if port_text.isascii() and port_text.isdigit() else -1
    if not separator or port > 65_535 or port < 0 or (port == 0 and port_text != "*"):
        raise ValueError(f"{text!r}: want address:port with a port from 1 to 65535 or *")
    bare = host.replace("[", "").replace("]", "")
    if (":" in bare) != (host.startswith("[") and "]" in host):
        raise ValueError(f"{text!r}: write IPv6 addresses in brackets, as [fd00::1]:5432")
    try:
        network = ipaddress.ip_network(bare)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}; names are not allowed here, they may change what they mean") from None
    if network.version == 4:
        return Allowed(int(network.network_address) | _MAPPED, network.prefixlen + 96, port)
    return Allowed(int(network.network_address), network.prefixlen, port)


def unpack_allow(content: bytes) -> tuple[Allowed, ...]:
    """Read the entries that follow a START or ADOPT message. Raises `ValueError` on anything out of shape."""
    if len(content) % ALLOW.size or len(content) > ALLOW.size * ALLOW_MAX:
        raise ValueError(f"{len(content)} bytes are no list of at most {ALLOW_MAX} entries of {ALLOW.size} bytes")
    entries = []
    for raw, prefix, protocol, port in ALLOW.iter_unpack(content):
        network = int.from_bytes(raw, "big")
        if prefix > 128 or protocol != 0 or network & ((1 << 128 - prefix) - 1):
            raise ValueError(f"no allow entry: prefix {prefix}, protocol {protocol}, address {raw.hex()}")
        entries.append(Allowed(network, prefix, port))
    return tuple(entries)


def resolvers(text: str) -> list[str]:
    """Return the name servers of a resolv.conf, at most three, as the C library reads it."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                number(words[1])
            except ValueError:
                continue
            found.append(words[1])
    return found[:3] or ["127.0.0.1"]


_OVER_TCP: Final = "options use-vc"


def resolver_file(text: str) -> str:
    """Return the resolv.conf a sandbox sees: the host's, asking over TCP, which the broker answers."""
    lines = [line for line in text.splitlines() if line.split() and line[:1] not in "#;" and line != _OVER_TCP]
    if not any(line.split()[0] == "nameserver" for line in lines):
        lines.append("nameserver 127.0.0.1")
    return "\n".join([*lines, _OVER_TCP, ""])
