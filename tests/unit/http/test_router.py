"""Routes, hosts, mounts, and the journal they come from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from http_harness import published

from wispd.gateway.journal import JournalReader
from wispd.gateway.router import RouteTable
from wispd.model.function import Route
from wispd.model.published import JOURNAL_NAME, Entry, Token, TokenRevoked, Withdrawn, encode


def table(*entries: Entry, domain: str = "localhost") -> RouteTable:
    made = RouteTable(domain)
    for entry in entries:
        made.apply(entry, encode(entry))
    return made


def find(routes: RouteTable, path: str, method: str = "GET", host: str = "localhost") -> str | None:
    match = routes.resolve(host.encode(), path.encode(), method.encode())
    return match.function.name if match is not None and match.function is not None else None


@pytest.mark.parametrize(
    ("host", "path", "name", "mount"),
    [
        ("localhost", "/fn/Hello", "Hello", 9),
        ("localhost", "/fn/hello/x/y", "Hello", 9),
        ("127.0.0.1", "/fn/HELLO/", "Hello", 9),
        ("hello.localhost", "/x", "Hello", 0),
        ("hello.default.localhost", "/x", "Hello", 0),
        ("hello.example.com", "/x", "Hello", 0),
        ("tool.acme.localhost", "/", "tool", 0),
    ],
)
def test_function_urls(host: str, path: str, name: str, mount: int) -> None:
    routes = table(published("Hello"), published("tool", namespace="acme"), domain="example.com")
    match = routes.resolve(host.encode(), path.encode(), b"GET")
    assert match is not None
    assert match.function is not None
    assert (match.function.name, match.mount) == (name, mount)


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("localhost", "/fn/tool"),
        ("tool.localhost", "/"),
        ("a.tool.acme.localhost", "/"),
        ("nobody.localhost", "/fn/hello"),
        (".localhost", "/"),
        ("localhost", "/fn/hello\xff"),
        ("localhost", "*"),
    ],
)
def test_nothing_there(host: str, path: str) -> None:
    assert find(table(published(), published("tool", namespace="acme")), path, host=host) is None


def test_longest_route_wins() -> None:
    routes = table(
        published("all", routes=(Route("", "", "/*"),)),
        published("api", routes=(Route("", "", "/api/*"),)),
        published("users", routes=(Route("", "GET", "/api/users/{id}"),)),
        published("me", routes=(Route("", "GET", "/api/users/me"),)),
        published("host", routes=(Route("Shop.Example", "", "/api/*"),)),
    )
    found = {
        path: find(routes, path)
        for path in ("/", "/x", "/api", "/api/", "/api/x", "/api/users/7", "/api/users/me", "/api/users/7/x", "/apix")
    }
    assert found == {
        "/": "all",
        "/x": "all",
        "/api": "api",
        "/api/": "api",
        "/api/x": "api",
        "/api/users/7": "users",
        "/api/users/me": "me",
        "/api/users/7/x": "api",
        "/apix": "all",
    }
    assert find(routes, "/api/users/me", "PUT") == "api"
    assert find(routes, "/api/users/me", "HEAD") == "me"
    assert find(routes, "/api/users/me", host="shop.example") == "host"
    assert find(routes, "/x", host="shop.example") == "all"
    assert routes.declared(b"shop.example")
    assert not routes.declared(b"other.example")


def test_route_can_take_over_neither_reserved_paths_nor_another_functions_host() -> None:
    routes = table(published(), published("evil", routes=(Route("", "", "/*"), Route("hello.localhost", "", "/*"))))
    assert find(routes, "/", host="hello.localhost") == "hello"
    assert find(routes, "/fn/hello") == "hello"
    assert [find(routes, path) for path in ("/fn", "/async/x", "/events", "/_wisp/x")] == [None] * 4


def test_branching_templates_are_bounded() -> None:
    names = [f"/{'/'.join('{x}' if bit == '1' else 'a' for bit in f'{number:010b}')}/end" for number in range(1024)]
    routes = table(published("many", routes=tuple(Route("", "GET", name) for name in names)))
    assert find(routes, "/a" * 10 + "/end") == "many"
    assert find(routes, "/a" * 10 + "/nowhere") is None  # gives up, rather than looking at all of them


def test_new_version_and_withdrawal_take_their_routes_with_them() -> None:
    routes = table(published(routes=(Route("a.b", "", "/old"), Route("", "", "/{x}/deep/*"))))
    assert find(routes, "/old", host="a.b") == "hello"
    generation = routes.generation
    entry = published(routes=(Route("", "", "/new"),))
    routes.apply(entry, encode(entry))
    assert routes.generation > generation
    assert (find(routes, "/old", host="a.b"), find(routes, "/q/deep"), find(routes, "/new")) == (None, None, "hello")
    assert not routes.declared(b"a.b")
    gone = Withdrawn(namespace="default", name="HELLO")
    routes.apply(gone, encode(gone))
    assert (find(routes, "/new"), find(routes, "/fn/hello"), len(routes)) == (None, None, 0)


# ── journal ─────────────────────────────────────────────────────────────────────────────────────────────────


class Journal:
    def __init__(self, folder: Path) -> None:
        self.path = folder / JOURNAL_NAME
        self.table = RouteTable()
        self.reader = JournalReader(folder, self.table)

    def add(self, *lines: bytes) -> int:
        with self.path.open("ab") as file:
            file.writelines(lines)
        return self.reader.refresh()


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def test_no_journal_is_an_empty_table(journal: Journal) -> None:
    assert (journal.reader.refresh(), len(journal.table)) == (0, 0)


def test_journal_is_read_on(journal: Journal) -> None:
    assert journal.add(encode(published("a"))) == journal.path.stat().st_size
    assert journal.add(encode(published("b"))) == journal.path.stat().st_size
    assert (find(journal.table, "/fn/a"), find(journal.table, "/fn/b")) == ("a", "b")
    generation = journal.table.generation
    journal.reader.refresh()
    assert journal.table.generation == generation


def test_torn_last_line_is_left_for_later(journal: Journal) -> None:
    line = encode(published("a"))
    assert journal.add(line[:20]) == 0
    assert (len(journal.table), journal.reader.corrupt) == (0, 0)
    assert journal.add(line[20:]) == len(line)
    assert find(journal.table, "/fn/a") == "a"


def test_corrupt_lines_are_skipped_and_counted(journal: Journal) -> None:
    journal.add(b"nonsense\n", b"{}\n", b"\xff\n", b'{"function":{"namespace":1}}\n', b"x" * 1_500_000 + b"\n")
    journal.add(encode(published("a")))
    assert (journal.reader.corrupt, find(journal.table, "/fn/a")) == (5, "a")
    assert journal.reader.offset == journal.path.stat().st_size


def test_replaced_journal_replaces_the_whole_table(journal: Journal) -> None:
    tokens = journal.table.tokens
    old, new = Token(digest="o", role="admin"), Token(digest="n", role="admin")
    journal.add(encode(published("a", routes=(Route("", "", "/a"),))), encode(old), encode(new))
    fresh = journal.path.with_suffix(".new")
    fresh.write_bytes(encode(published("b")) + encode(new))
    os.replace(fresh, journal.path)
    assert journal.reader.refresh() == journal.path.stat().st_size
    assert (find(journal.table, "/fn/a"), find(journal.table, "/a"), find(journal.table, "/fn/b")) == (
        None,
        None,
        "b",
    )
    assert list(tokens) == ["n"]
    assert tokens is journal.table.tokens
    journal.add(encode(TokenRevoked(digest="n")))
    assert not tokens


def test_shortened_journal_is_read_anew(journal: Journal) -> None:
    journal.add(encode(published("a")), encode(published("b")))
    with journal.path.open("r+b") as file:
        file.truncate(len(encode(published("a"))))
    journal.reader.refresh()
    assert (find(journal.table, "/fn/a"), find(journal.table, "/fn/b")) == ("a", None)
