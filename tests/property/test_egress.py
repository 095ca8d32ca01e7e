"""What a function may reach, as laws over all addresses: no spelling of a closed one is open."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wispd.adapters.engine.process import egress
from wispd.adapters.engine.process.egress import Policy, Verdict

IPV4 = st.integers(0, (1 << 32) - 1)
IPV6 = st.integers(0, (1 << 128) - 1)
PORTS = st.integers(1, 65_535)
CLOSED = """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.168.0.0/16 224.0.0.0/4 240.0.0.0/4
"""
TARGETS = """
    127.0.0.1 127.9.9.9 0.0.0.0 :: ::1 169.254.169.254 ::ffff:169.254.169.254 100.100.100.200 168.63.129.16
    fd00:ec2::254 fe80::1 ff02::1 255.255.255.255 192.168.1.1 64:ff9b::a9fe:a9fe 2002:7f00:1::1 ::127.0.0.1
    2001:0:7f00:1::1
"""
CLOSED_4 = [ipaddress.ip_network(text) for text in CLOSED.split()]
MAPPED = 0xFFFF << 32


@st.composite
def closed_ipv4(draw: st.DrawFn) -> int:
    network = draw(st.sampled_from(CLOSED_4))
    return draw(st.integers(int(network[0]), int(network[-1])))


def open_ipv4(address: int) -> bool:
    one = ipaddress.IPv4Address(address)
    return one.is_global and not one.is_multicast


def spellings(address: int) -> list[int]:
    """Every IPv6 address that stands for, or leads to, this IPv4 address."""
    return [
        MAPPED | address,
        address,  # ::a.b.c.d
        0xFFFF << 48 | address,  # ::ffff:0:a.b.c.d
        0x0064_FF9B << 96 | address,  # NAT64
        0x0064_FF9B_0001 << 80 | address,  # local-use NAT64
        0x2002 << 112 | address << 80 | 1,  # 6to4
        0x2001_0000 << 96 | address << 64 | 0xFFFF,  # Teredo server
        0x2001_0000 << 96 | (address ^ 0xFFFF_FFFF),  # Teredo client
        0x2606_4700 << 96 | 0x5EFE << 32 | address,  # ISATAP
        0x2606_4700 << 96 | 0x0200_5EFE << 32 | address,
    ]


@given(closed_ipv4(), PORTS)
def test_no_spelling_of_a_closed_address_is_open(address: int, port: int) -> None:
    for spelling in spellings(address):
        assert Policy().judge(spelling, port) is not Verdict.CONNECT, ipaddress.IPv6Address(spelling)


@given(IPV4, PORTS)
def test_public_addresses_are_open_and_nothing_else_is(address: int, port: int) -> None:
    assert (Policy().judge(MAPPED | address, port) is Verdict.CONNECT) <= open_ipv4(address)
    if open_ipv4(address) and ipaddress.IPv4Address(address) not in EXTRA_CLOSED:
        assert Policy().judge(MAPPED | address, port) is Verdict.CONNECT


EXTRA_CLOSED = [ipaddress.IPv4Address("168.63.129.16"), *ipaddress.ip_network("192.88.99.0/24")]
EXTRA_CLOSED += list(ipaddress.ip_network("192.0.0.0/24"))


@given(IPV6)
def test_ipv6_is_open_only_where_it_is_global(address: int) -> None:
    one = ipaddress.IPv6Address(address)
    if Policy().judge(address, 443) is Verdict.CONNECT and one.ipv4_mapped is None:
        assert address >> 125 == 1 or address >> 32 == 0x0064_FF9B << 64
        assert not one.is_private or address >> 32 == 0x0064_FF9B << 64


@given(IPV6, IPV6, st.integers(0, 128), PORTS, PORTS)
def test_an_entry_opens_what_it_names_and_no_more(
    address: int, network: int, prefix: int, port: int, entry_port: int
) -> None:
    network &= ~((1 << 128 - prefix) - 1)
    policy = Policy((egress.Allowed(network, prefix, entry_port),))
    named = ipaddress.IPv6Address(address) in ipaddress.IPv6Network((network, prefix)) and port == entry_port
    assert policy.names(address, port) == named
    if named:
        assert policy.judge(address, port) is Verdict.CONNECT
    else:
        assert policy.judge(address, port) is Policy().judge(address, port)


@given(IPV4, st.integers(0, 32), st.integers(0, 65_535))
def test_entries_survive_the_wire(address: int, prefix: int, port: int) -> None:
    network = ipaddress.ip_network((address, prefix), strict=False)
    text = f"{network}:{port or '*'}"
    entry = egress.parse_allow(text)
    assert egress.unpack_allow(entry.pack()) == (entry,)
    assert entry.covers(MAPPED | int(network[-1]), port or 80)


@given(st.binary(max_size=200))
def test_hostile_entries_are_refused_or_well_formed(content: bytes) -> None:
    try:
        entries = egress.unpack_allow(content)
    except ValueError:
        return
    assert b"".join(one.pack() for one in entries) == content


@given(PORTS)
def test_a_resolver_is_reached_for_dns_only(port: int) -> None:
    policy = Policy(resolvers=frozenset({egress.number("10.0.0.2"), egress.number("127.0.0.53")}))
    for text in ("10.0.0.2", "127.0.0.53"):
        verdict = policy.judge(egress.number(text), port)
        assert (verdict is Verdict.RESOLVER) == (port == 53)
        assert verdict is not Verdict.CONNECT


@pytest.mark.parametrize("text", TARGETS.split())
def test_known_targets_of_request_forgery_are_closed(text: str) -> None:
    assert Policy().judge(egress.number(text), 80) in (Verdict.REFUSE, Verdict.INSIDE)


@pytest.mark.parametrize(
    "text",
    ["", "x", "1.2.3.4", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536", "::1:80", "host:80", "1.2.3.4/8:80", "1.2.3.4:٣"],
)
def test_wrong_entries_are_named(text: str) -> None:
    with pytest.raises(ValueError, match=r".+") as caught:
        egress.parse_allow(text)
    assert repr(text) in str(caught.value)


def test_right_entries() -> None:
    assert egress.parse_allow("[fd00::1]:5432").covers(egress.number("fd00::1"), 5432)
    assert egress.parse_allow("10.0.0.0/8:*").covers(egress.number("::ffff:10.9.9.9"), 1)
    assert egress.parse_allow("[fd00::]/8:*") == egress.parse_allow("[fd00::/8]:*")


def test_resolver_files() -> None:
    text = "# by hand\nsearch lan\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\nnameserver x\noptions ndots:2\n"
    assert egress.resolvers(text) == ["10.0.0.2", "fe80::1%eth0"]
    assert egress.resolvers("") == ["127.0.0.1"]
    assert egress.resolver_file(text).splitlines()[-1] == "options use-vc"
    assert "nameserver 127.0.0.1" in egress.resolver_file("search lan\n")
