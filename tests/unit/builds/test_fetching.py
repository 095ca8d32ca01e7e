"""Files from addresses that somebody else named: private ones are refused after resolution and at each redirect."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from wispd.adapters.fetch import addresses
from wispd.adapters.fetch.addresses import Endpoint, Judge
from wispd.adapters.fetch.http import HttpFetcher
from wispd.base.errors import Fault
from wispd.control.fetched import Fetched
from wispd.model.build import Artifact

CONTENT = b"a wheel" * 1000


def judge(*allow: str, hosts: tuple[str, ...] = ()) -> Judge:
    return Judge(allow, lambda: hosts)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "localhost",
            "[::1]",
            "10.1.2.3",
            "192.168.1.1",
            "169.254.169.254",
            "[::ffff:169.254.169.254]",
        ),
        *("0x7f000001", "2130706433", "0.0.0.0", "[fd00::1]", "[64:ff9b::a9fe:a9fe]", "100.64.0.1"),
    ],
)
async def test_private_addresses_are_refused(host: str) -> None:
    with pytest.raises(Fault, match=r"private addresses|can't be resolved") as caught:
        await judge().choose(Endpoint(f"https://{host}/x.zip"))
    assert caught.value.code in ("forbidden", "build_failed")


async def test_the_operator_opens_one_address_and_no_other() -> None:
    assert await judge("10.1.2.3:443").choose(Endpoint("https://10.1.2.3/x")) == "10.1.2.3"
    for other in ("https://10.1.2.4/x", "https://10.1.2.3:8443/x"):
        with pytest.raises(Fault, match="private"):
            await judge("10.1.2.3:443").choose(Endpoint(other))


async def test_an_index_of_the_operator_s_own_is_open() -> None:
    own = judge(hosts=("http://127.0.0.1:3141/simple",))
    assert await own.choose(Endpoint("http://127.0.0.1:3141/files/x.whl")) == "127.0.0.1"
    assert await own.opened() == ("127.0.0.1:3141",)
    with pytest.raises(Fault, match="private"):
        await own.choose(Endpoint("http://127.0.0.1:8081/v1/status"))


async def test_a_name_that_changes_its_meaning_is_judged_by_what_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rebinding: public when asked first, private afterwards."""
    answers = iter([["192.0.43.8"], ["127.0.0.1"]])

    async def resolve(_host: str, _port: int) -> list[str]:
        return next(answers)

    monkeypatch.setattr(addresses, "resolve", resolve)
    assert await judge().choose(Endpoint("https://rebinding.example.org/")) == "192.0.43.8"
    with pytest.raises(Fault, match="private"):
        await judge().choose(Endpoint("https://rebinding.example.org/"))


async def test_an_address_of_this_machine_is_private_whatever_its_range() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        assert addresses.is_own("127.0.0.1")
    assert not addresses.is_own("192.0.43.8")


@pytest.mark.parametrize("url", ["ftp://a.org/x", "file:///etc/passwd", "https://", "gopher://x", "https://a:99999/"])
def test_other_schemes_are_no_addresses(url: str) -> None:
    with pytest.raises(Fault, match="address"):
        Endpoint(url)


Answer = Callable[[str], bytes]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[tuple[int, list[str]]]:
    """Serve HTTP on loopback; yields the port and the targets that were asked for."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head.split()[1])
        writer.write(answer(asked[-1]))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked


def ok(content: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(content) + content


def redirect(where: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


async def test_a_file_is_fetched_and_redirects_are_followed() -> None:
    async with serving(lambda target: redirect("/b") if target == "/a" else ok(CONTENT)) as (port, asked):
        found = bytearray()
        fetcher = HttpFetcher(judge(f"127.0.0.1:{port}"))
        await fetcher.fetch(f"http://127.0.0.1:{port}/a", found.extend, limit_bytes=1 << 20)
    assert bytes(found) == CONTENT
    assert asked == ["/a", "/b"]


async def test_a_redirect_to_a_private_address_is_not_followed() -> None:
    to: list[int] = []
    async with (
        serving(lambda _: ok(b"secret")) as (inner, inside),
        serving(lambda _: redirect(f"http://127.0.0.1:{to[0]}/")) as (port, asked),
    ):
        to.append(inner)
        fetcher = HttpFetcher(judge(f"127.0.0.1:{port}"))
        with pytest.raises(Fault, match="private"):
            await fetcher.fetch(f"http://127.0.0.1:{port}/", lambda _: None, limit_bytes=100)
        assert len(asked) == 1
        assert inside == []
        opened = HttpFetcher(
            judge(f"127.0.0.1:{port}", f"127.0.0.1:{inner}")
        )  # the control: it is the rule that acts
        found = bytearray()
        await opened.fetch(f"http://127.0.0.1:{port}/", found.extend, limit_bytes=100)
        assert bytes(found) == b"secret"


async def test_endless_redirects_and_endless_files_end() -> None:
    async with serving(lambda _: redirect("/again")) as (port, asked):
        with pytest.raises(Fault, match="redirects more than"):
            await HttpFetcher(judge(f"127.0.0.1:{port}")).fetch(
                f"http://127.0.0.1:{port}/", lambda _: None, limit_bytes=100
            )
    assert len(asked) == 6
    async with serving(lambda _: ok(CONTENT)) as (port, _):
        with pytest.raises(Fault, match="more than 100 bytes"):
            await HttpFetcher(judge(f"127.0.0.1:{port}")).fetch(
                f"http://127.0.0.1:{port}/", lambda _: None, limit_bytes=100
            )


class _Fetching:
    """What the cache asks, answered from memory."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[str] = []

    async def fetch(self, url: str, write: Callable[[bytes], None], *, limit_bytes: int) -> None:
        self.asked.append(url)
        write(self.content)

    async def opened(self) -> tuple[str, ...]:
        return ()


def artifact(url: str = "https://a.org/x-1-py3-none-any.whl") -> Artifact:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return Artifact(name="x", version="1", kind="wheel", filename=url.rpartition("/")[2], url=url, sha256=sha256)


def cache(folder: Path, fetching: _Fetching, **given: int | bool) -> Fetched:
    wanted = {"bytes_max": 1 << 30, "offline": False} | given
    return Fetched(folder, fetching, **wanted)  # type: ignore[arg-type]


Told = Callable[[int, int], Awaitable[None] | None]


async def test_what_was_fetched_is_not_fetched_again(tmp_path: Path) -> None:
    fetching = _Fetching(CONTENT)
    for _ in range(2):
        found = await cache(tmp_path, fetching).all([artifact()], lambda *_: None)
    assert len(fetching.asked) == 1
    file = found["x-1-py3-none-any.whl"]
    assert file.path.read_bytes() == CONTENT
    assert file.path.stat().st_mode & 0o222 == 0


async def test_a_file_with_another_hash_is_never_kept(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="SHA-256") as caught:
        await cache(tmp_path, _Fetching(b"something else")).all([artifact()], lambda *_: None)
    assert caught.value.facts["reason"] == "hash"
    assert list((tmp_path / "wheels").iterdir()) == []


async def test_knowing_the_hash_is_not_enough_to_get_a_file_of_another_address(tmp_path: Path) -> None:
    await cache(tmp_path, _Fetching(CONTENT)).all([artifact()], lambda *_: None)
    other = _Fetching(b"not it")
    with pytest.raises(Fault, match="SHA-256"):
        await cache(tmp_path, other).all([artifact("https://evil.org/x-1-py3-none-any.whl")], lambda *_: None)
    assert len(other.asked) == 1


async def test_offline_uses_what_is_there_and_names_what_is_not(tmp_path: Path) -> None:
    await cache(tmp_path, _Fetching(CONTENT)).all([artifact()], lambda *_: None)
    assert await cache(tmp_path, _Fetching(b""), offline=True).all([artifact()], lambda *_: None)
    with pytest.raises(Fault, match="offline"):
        await cache(tmp_path, _Fetching(b""), offline=True).all([artifact("https://a.org/y.whl")], lambda *_: None)


async def test_the_cache_stays_within_its_bound(tmp_path: Path) -> None:
    small = cache(tmp_path, _Fetching(CONTENT), bytes_max=len(CONTENT))
    await small.all([artifact(), artifact("https://a.org/y-1-py3-none-any.whl")], lambda *_: None)
    assert len(list((tmp_path / "wheels").iterdir())) == 2
    small.evict()
    assert len(list((tmp_path / "wheels").iterdir())) == 1
