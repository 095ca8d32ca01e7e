"""Router: host and path → function, from the publication journal. Readers never see half of a change.

Every function keeps its journal line as bytes and is decoded on first use, so that one that is never called costs
its line and two dictionary entries.
"""

from __future__ import annotations

from itertools import islice
from typing import Final, NamedTuple

from wispd.gateway.limits import PublishedLimits
from wispd.gateway.routes import RouteTree
from wispd.model.alias import ALIAS_LABEL, ALIAS_MARK, LIVE
from wispd.model.budget import Budget, BudgetRemoved, Quota
from wispd.model.function import Published, Route, Version, Withdrawn
from wispd.model.published import Entry, SealedSecret, SecretDeleted, Token, TokenRevoked, decode

DEFAULT_NAMESPACE: Final = "default"
MOUNT: Final = b"/fn/"
RESERVED: Final = frozenset({b"fn", b"async", b"events", b"_wisp"})  # first segments that no route may have

_CACHED_MAX: Final = 8_192
_CACHED_KEY_MAX: Final = 256
LEARNED_MAX: Final = 256  # versions that no alias points at, and that somebody invokes by number


class Match(NamedTuple):
    """Where a request goes. `mount` bytes at the path's start are the function's own prefix.

    `function` None: something answers on this path, but only to the methods in `allow`.
    """

    function: Published | None
    mount: int
    allow: tuple[str, ...] = ()
    alias: str = LIVE


class RouteTable:
    """All functions, routes and tokens that are served. Mutated only between requests, by its journal reader."""

    def __init__(self, domain: str = "localhost") -> None:
        self.domain = domain.lower()
        self._suffixes = tuple({b".localhost", b"." + domain.lower().encode("ascii")})
        self._functions: dict[str, bytes | Published] = {}  # "namespace/name" in lower case → line or entry
        self._routes = RouteTree()
        self._cache: dict[tuple[bytes, bytes, bytes], Match] = {}
        self._altered: set[str] | None = set()  # keys since the last `altered`; None: all
        self._special: set[str] = set()  # keys of functions with a minimum of instances or a reserved share
        self._learned: dict[tuple[str, str, int], Version] = {}  # the latest last
        self.tokens: dict[str, Token] = {}
        self.limits = PublishedLimits()
        self.secrets: dict[tuple[str, str], SealedSecret] = {}  # by namespace and name
        self.generation = 0  # grows with every change of functions and routes

    def __len__(self) -> int:
        return len(self._functions)

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────

    def function(self, namespace: str, name: str) -> Published | None:
        """Return the function of a name, ignoring case."""
        key = f"{namespace}/{name}".lower()
        found = self._functions.get(key)
        if isinstance(found, bytes):
            entry = decode(found)
            assert isinstance(entry, Published)  # it was when the line came in
            self._functions[key] = found = entry
        return found

    def some(self, count: int) -> list[Published]:
        """Return as many functions at most, those that came first."""
        found = [self.function(*key.split("/", 1)) for key in islice(self._functions, count)]
        return [entry for entry in found if entry is not None]

    def addressed(self, namespace: str, text: str) -> tuple[Published, str] | None:
        """Return the function of `name` or `name:alias`, and the alias."""
        name, mark, alias = text.partition(ALIAS_MARK)
        function = self.function(namespace, name)
        if function is None or (mark and function.pointer(alias) is None):
            return None
        return function, alias if mark else LIVE

    def learn(self, version: Version) -> None:
        """Remember a version that no alias points at."""
        key = (version.namespace, version.function, version.number)
        self._learned.pop(key, None)
        if len(self._learned) >= LEARNED_MAX:
            del self._learned[next(iter(self._learned))]
        self._learned[key] = version

    def version(self, function: Published, number: int) -> Version | None:
        """Return a version that an alias points at or that was learned."""
        return function.version(number) or self._learned.get((function.namespace, function.name, number))

    def special(self) -> list[Published]:
        """Return the functions that ask for something before they are called: instances kept, a share reserved."""
        found = [self.function(*key.split("/", 1)) for key in sorted(self._special)]
        return [entry for entry in found if entry is not None]

    def altered(self) -> set[str] | None:
        """Return the keys of functions that changed since the last time; None: look at all."""
        found, self._altered = self._altered, set()
        return found

    def declared(self, host: bytes) -> bool:
        """Is `host` (lower-case, no port) one this node was told about, by `domain` or by a route?"""
        return self._routes.knows(host) or host.endswith(self._suffixes) or b"." + host in self._suffixes

    def resolve(self, host: bytes, path: bytes, method: bytes) -> Match | None:
        """Return what answers. `host`: lower-case, no port; `path`: as received, without the query."""
        key = (host, path, method)
        match = self._cache.get(key)
        if match is None:
            match = self._resolve(host, path, method)
            if match is not None and len(path) <= _CACHED_KEY_MAX:
                if len(self._cache) >= _CACHED_MAX:
                    self._cache.clear()
                self._cache[key] = match
        return match

    def _resolve(self, host: bytes, path: bytes, method: bytes) -> Match | None:
        if not path.startswith(b"/"):
            return None
        labels = self._labels(host)
        if labels:  # a function's own host first, so that no route of another one can take it over
            found = self._by_labels(labels)
            if found is not None:
                return Match(found[0], 0, alias=found[1])
            if not self._routes.knows(host):
                return None
        if path.startswith(MOUNT):
            return self._by_mount(path)
        segments = path.split(b"/")[1:]
        if segments[0] in RESERVED:
            return None
        key, allow = self._routes.find(host, segments, method)
        if key is not None:
            namespace, _, name = key.partition("/")
            function = self.function(namespace, name)
            return Match(function, 0) if function is not None else None
        return Match(None, 0, allow) if allow else None

    def _labels(self, host: bytes) -> list[bytes]:
        """Return the labels in front of a domain of ours; none for the domain itself and for other hosts."""
        for suffix in self._suffixes:
            if host.endswith(suffix):
                return host[: -len(suffix)].split(b".")
        return []

    def _by_labels(self, labels: list[bytes]) -> tuple[Published, str] | None:
        """Return what `<function>` or `<alias>--<function>` names; a function of that very name comes first."""
        if len(labels) > 2 or not all(label.isascii() for label in labels):
            return None
        namespace = labels[1].decode() if len(labels) == 2 else DEFAULT_NAMESPACE
        name = labels[0].decode()
        function = self.function(namespace, name)
        if function is not None:
            return function, LIVE
        alias, mark, name = name.partition(ALIAS_LABEL)
        return self.addressed(namespace, f"{name}{ALIAS_MARK}{alias}") if mark else None

    def _by_mount(self, path: bytes) -> Match | None:
        end = path.find(b"/", len(MOUNT))
        name = path[len(MOUNT) : end] if end >= 0 else path[len(MOUNT) :]
        found = self.addressed(DEFAULT_NAMESPACE, name.decode("ascii", "replace")) if name else None
        return Match(found[0], len(MOUNT) + len(name), alias=found[1]) if found is not None else None

    # ── writing ─────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, entry: Entry, line: bytes) -> None:
        """Take in one entry of the journal; `line` is what it was decoded from."""
        if isinstance(entry, Published):
            self._publish(entry, line)
        elif isinstance(entry, Withdrawn):
            self._withdraw(f"{entry.namespace}/{entry.name}".lower())
        elif isinstance(entry, Token):
            self.tokens[entry.digest] = entry
        elif isinstance(entry, Budget | BudgetRemoved | Quota):
            self.limits.apply(entry)
        elif isinstance(entry, TokenRevoked):
            self.tokens.pop(entry.digest, None)
        else:
            self._keep_secret(entry)

    def replace(self, other: RouteTable) -> None:
        """Become `other`, whole; `tokens` stays the same object for those who hold it."""
        self._functions = other._functions
        self._routes = other._routes
        self._special = other._special
        self._altered = None
        self.tokens.clear()
        self.tokens.update(other.tokens)
        self.limits.replace(other.limits)
        self.secrets.clear()
        self.secrets.update(other.secrets)
        self._changed()

    def _publish(self, entry: Published, line: bytes) -> None:
        key = f"{entry.namespace}/{entry.name}".lower()
        if key in self._functions:
            self._unroute(key)
        self._functions[key] = line
        minimum = any(version.instances_min for version in (entry.live, *entry.others))
        if minimum or entry.concurrency_reserved >= 0:
            self._special.add(key)
        else:
            self._special.discard(key)
        for route in entry.live.routes:
            self._routes.add(route, key)
        self._changed(key)

    def _keep_secret(self, entry: SealedSecret | SecretDeleted) -> None:
        key = (entry.namespace, entry.name)
        if isinstance(entry, SealedSecret):
            self.secrets[key] = entry
        else:
            self.secrets.pop(key, None)
        self.generation += 1

    def _withdraw(self, key: str) -> None:
        if key in self._functions:
            self._unroute(key)
            del self._functions[key]
            self._special.discard(key)
            self._changed(key)

    def _unroute(self, key: str) -> None:
        namespace, _, name = key.partition("/")
        old = self.function(namespace, name)
        routes: tuple[Route, ...] = old.live.routes if old is not None else ()
        for route in routes:
            self._routes.remove(route, key)

    def _changed(self, key: str = "") -> None:
        if key and self._altered is not None:
            self._altered.add(key)
        self.generation += 1
        self._cache.clear()
