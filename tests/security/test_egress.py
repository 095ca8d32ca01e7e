"""Network mode `egress` with real sockets: reliability cases A2 and A3, and clients of all kinds."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import threading
import urllib.request
from typing import Any

import boxes
import httpx
import pytest
import uvloop
from boxes import as_user, brokered, reach, server

USERS = [pytest.param(True, marks=pytest.mark.needs_root, id="root"), pytest.param(False, id="unprivileged")]
REFUSED = {"EACCES", "ECONNREFUSED", "ENETUNREACH", "EHOSTUNREACH", "EAFNOSUPPORT"}
HTTP = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\noutside"


def own_addresses() -> list[str]:
    """Addresses of this host other than loopback, found without sending anything."""
    found = []
    for family, far in ((socket.AF_INET, "192.0.2.254"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            try:
                one.connect((far, 9))
                found.append(one.getsockname()[0])
            except OSError:
                continue
    return found


def spellings() -> list[str]:
    fixed = "127.0.0.1 127.1.2.3 0.0.0.0 ::1 :: ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:7f00:1::1 ::127.0.0.1"
    return [*fixed.split(), *own_addresses(), *(f"::ffff:{one}" for one in own_addresses() if ":" not in one)]


@pytest.mark.parametrize("root", USERS)
def test_nothing_of_the_host_answers(root: bool) -> None:
    """A2: all spellings of loopback and of the host's addresses, with a server that does listen there."""

    def scenario() -> Any:
        with server(address="::") as six, server(address="0.0.0.0") as four, brokered() as one:
            targets = [(host, port) for port in (four, six) for host in spellings()]
            return one.run(lambda: {f"{host} {port}": reach(host, port) for host, port in targets})

    answers = as_user(scenario, root=root)
    assert answers
    assert set(answers.values()) <= REFUSED, answers


@pytest.mark.parametrize("root", USERS)
def test_what_is_allowed_answers_and_nothing_beside_it(root: bool) -> None:
    """The negative control of the test above: the same server, named."""

    def scenario() -> Any:
        with server() as named, server() as other, brokered() as one:
            allow = [f"127.0.0.1:{named}"]
            return one.run(
                lambda: [reach("127.0.0.1", named), reach("::ffff:127.0.0.1", named), reach("127.0.0.1", other)],
                allow=allow,
            )

    assert as_user(scenario, root=root) == ["outside", "outside", "ECONNREFUSED"]


@pytest.mark.parametrize("root", USERS)
def test_metadata_and_private_addresses_are_closed(root: bool) -> None:
    """A3: refused without a packet sent, by address, however it is written; libc's own notations end up the same."""
    hosts = "169.254.169.254 ::ffff:169.254.169.254 fd00:ec2::254 168.63.129.16 100.100.100.200 10.0.0.1 224.0.0.1"

    def scenario() -> Any:
        with brokered() as one:
            return one.run(
                lambda: [reach(host, 80) for host in [*hosts.split(), "0x7f000001", "2852039166", "localhost"]]
            )

    answers = as_user(scenario, root=root)
    assert set(answers) <= REFUSED, answers
    assert answers[0] == "EACCES"


def dns_server(addresses: list[str]) -> tuple[socket.socket, int]:
    """A name server on loopback that answers each question with the next address, the last one for ever."""
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", 0))
    left = list(addresses)

    def serve() -> None:
        while True:
            try:
                question, peer = one.recvfrom(4096)
            except OSError:
                return
            address = left.pop(0) if len(left) > 1 else left[0]
            head = question[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0)
            body = question[12:] + b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(address)
            one.sendto(head + body, peer)

    threading.Thread(target=serve, daemon=True).start()
    return one, one.getsockname()[1]


def resolve(name: str, port: int) -> str:
    """Ask for a name's address over TCP, as the C library does inside."""
    question = b"\x12\x34\x01\x00\x00\x01" + bytes(6)
    question += b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0\0\1\0\1"
    with socket.create_connection(("127.0.0.1", port), 5) as one:
        one.sendall(struct.pack(">H", len(question)) + question)
        size = struct.unpack(">H", one.recv(2))[0]
        return socket.inet_ntoa(one.recv(size)[-4:])


@pytest.mark.parametrize("root", USERS)
def test_a_name_that_leads_inside_is_refused_after_resolution(root: bool) -> None:
    """A3: DNS rebinding. The answer changes between two questions; each connect is judged by its own address."""

    def scenario() -> Any:
        with server() as named:
            names, dns_port = dns_server(["127.0.0.1", "169.254.169.254"])
            boxes.egress.DNS_PORT = dns_port  # in this child only; the broker forks from it
            with brokered(resolver_path="/nonexistent") as one:  # then 127.0.0.1, as for the C library
                answers = one.run(
                    lambda: [reach(resolve("rebind.example", dns_port), named) for _ in range(2)],
                    allow=[f"127.0.0.1:{named}"],
                )
            names.close()
            return answers

    assert as_user(scenario, root=root) == ["outside", "EACCES"]


@pytest.mark.parametrize("root", USERS)
def test_a_redirect_to_a_closed_address_is_refused(root: bool) -> None:
    """A3: 302 to the metadata service."""
    moved = (
        b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )

    def probe(port: int) -> str:
        try:
            return httpx.get(
                f"http://127.0.0.1:{port}/", follow_redirects=True, trust_env=False, verify=boxes.TLS
            ).text
        except httpx.ConnectError as error:
            return f"refused on the way to {error.request.url}"

    def scenario() -> Any:
        with server(moved) as named, brokered() as one:
            return one.run(lambda: probe(named), allow=[f"127.0.0.1:{named}"])

    assert as_user(scenario, root=root) == "refused on the way to http://169.254.169.254/"


async def over_streams(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    return answer[-7:]


def with_timeout(port: int, timeout_s: float | None) -> str:
    with socket.socket() as one:
        one.settimeout(timeout_s)
        one.connect(("127.0.0.1", port))
        assert one.gettimeout() == timeout_s
        assert os.get_blocking(one.fileno()) == (timeout_s is None)
        assert not os.get_inheritable(one.fileno())
        one.sendall(b"GET / HTTP/1.1\r\n\r\n")
        return one.recv(4096)[-7:].decode()


def every_client(port: int) -> list[str]:
    url = f"http://127.0.0.1:{port}/"
    return [
        with_timeout(port, None),
        with_timeout(port, 5.0),
        asyncio.run(over_streams(port)),
        uvloop.run(over_streams(port)),
        httpx.get(url, trust_env=False, verify=boxes.TLS).text,
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5).read().decode(),
        in_threads(port),
        in_a_fork(port),
    ]


def in_threads(port: int) -> str:
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(with_timeout(port, None))) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return answers[0] if len(answers) == 8 and len(set(answers)) == 1 else repr(answers)


def in_a_fork(port: int) -> str:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, with_timeout(port, None).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return os.read(reading, 100).decode()


@pytest.mark.parametrize("root", USERS)
def test_clients_of_all_kinds(root: bool) -> None:
    """Blocking, with a time limit, asyncio, uvloop, httpx, urllib, threads, forks: each through the broker."""

    def scenario() -> Any:
        with server(HTTP) as named, brokered() as one:
            return one.run(lambda: every_client(named), allow=[f"127.0.0.1:{named}"])

    assert as_user(scenario, root=root) == ["outside"] * 8


@pytest.mark.parametrize("root", USERS)
def test_errors_are_the_networks_own(root: bool) -> None:
    """A port nobody listens on; a name server that is a plain TCP port; a connect that is under way; a second one."""

    def probe(closed: int, named: int) -> list[object]:
        with socket.socket() as one:
            one.connect(("127.0.0.1", named))
            twice = one.connect_ex(("127.0.0.1", named))
            peer = one.getpeername()[1] == named
        with socket.socket() as one:
            one.setblocking(False)
            begun = one.connect_ex(("127.0.0.1", named))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            datagram = one.connect_ex(("8.8.8.8", 53))
        return [reach("127.0.0.1", closed), twice, peer, begun in (0, errno.EINPROGRESS), datagram]

    def scenario() -> Any:
        with server() as named, brokered() as one, socket.create_server(("127.0.0.1", 0)) as gone:
            closed = gone.getsockname()[1]
            gone.close()
            allow = [f"127.0.0.1:{named}", f"127.0.0.1:{closed}"]
            return one.run(lambda: probe(closed, named), allow=allow)

    answers = as_user(scenario, root=root)
    assert answers == ["ECONNREFUSED", errno.EISCONN, True, True, errno.ENETUNREACH]


@pytest.mark.parametrize("root", USERS)
def test_options_set_before_survive_the_connect(root: bool) -> None:
    def probe(port: int) -> list[int]:
        wanted = [
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77),
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 12_345),
            (socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000),
        ]
        with socket.socket() as one:
            for option in wanted:
                one.setsockopt(*option)
            before = [one.getsockopt(level, name) for level, name, _ in wanted]
            one.connect(("127.0.0.1", port))
            return [a == one.getsockopt(level, name) for a, (level, name, _) in zip(before, wanted, strict=True)]

    def scenario() -> Any:
        with server() as named, brokered() as one:
            return one.run(lambda: probe(named), allow=[f"127.0.0.1:{named}"])

    assert as_user(scenario, root=root) == [True] * 5


@pytest.mark.parametrize("root", USERS)
def test_servers_inside_work_and_stay_inside(root: bool) -> None:
    """TCP on the own loopback, Unix sockets by path and by abstract name, asyncio and uvloop servers."""

    async def echo() -> str:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read(3))
            writer.close()

        listener = await asyncio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        writer.write(b"abc")
        got = (await reader.read()).decode()
        writer.close()
        listener.close()
        return got

    def unix(address: str) -> str:
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as one:
            listener.bind(address)
            listener.listen()
            one.connect(address)
            return "connected"

    def probe(path: str) -> list[str]:
        return [asyncio.run(echo()), uvloop.run(echo()), unix(path), unix("\0wisp-test")]

    def scenario() -> Any:
        path = f"/tmp/wisp-{os.getpid()}.sock"
        with brokered() as one:
            try:
                return one.run(lambda: probe(path))
            finally:
                os.unlink(path)

    assert as_user(scenario, root=root) == ["abc", "abc", "connected", "connected"]
