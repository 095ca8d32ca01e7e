"""`App`: one file with many typed entry points, deployed as one function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

from wisp.runtime.apps.paths import Segment, parse_pattern, shape_of
from wisp.runtime.apps.schedules import check_cron, every_s

F = TypeVar("F", bound=Callable[..., Any])

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
ENTRIES_MAX: Final = 500
NAME_MAX: Final = 128
TYPE_MAX: Final = 256
RETRIES_MAX: Final = 100


class Entry(NamedTuple):
    """One entry point. `kind` is route, every, cron or on; what does not belong to the kind is empty."""

    kind: str
    name: str
    target: Callable[..., Any]
    methods: tuple[str, ...] = ()
    path: str = ""
    segments: tuple[Segment, ...] = ()
    status: int | None = None
    tags: tuple[str, ...] = ()
    hidden: bool = False
    schedule: str = ""
    type: str = ""
    options: Mapping[str, Any] = MappingProxyType({})


class App:
    """Entry points by decorators: routes below the function's URL, timers, and handlers of events.

    `docs=False` switches off `/docs` and `/openapi.json`. A decorated callable stays as it is.
    """

    def __init__(self, name: str, *, version: str = "", description: str = "", docs: bool = True) -> None:
        self.name = name
        self.version = version
        self.description = description
        self.docs = docs
        self.entries: list[Entry] = []
        self._routes: dict[tuple[str, Any], Entry] = {}
        self._targets: dict[str, Callable[..., Any]] = {}

    # ── routes ──────────────────────────────────────────────────────────────────────────────────────────────

    def route(
        self,
        path: str,
        *,
        methods: Iterable[str] = ("GET",),
        status: int | None = None,
        name: str = "",
        tags: Iterable[str] = (),
        hidden: bool = False,
    ) -> Callable[[F], F]:
        """Answer requests to `path`. `status` is that of a plain result; `hidden`: not in the document."""
        segments = parse_pattern(path)
        wanted = tuple(method.upper() for method in ([methods] if isinstance(methods, str) else methods))
        unknown = [method for method in wanted if method not in METHODS]
        if unknown or not wanted:
            raise ValueError(f"methods of {path} are {list(wanted)}, allowed are {', '.join(METHODS)}")
        if status is not None and not 200 <= status <= 599:
            raise ValueError(f"status of {path} is {status}, allowed are 200 to 599")

        def decorate(target: F) -> F:
            entry = Entry("route", _name_of(target, name), target, methods=wanted, path=path, segments=segments,
                          status=status, tags=tuple(tags), hidden=hidden)  # fmt: skip
            self._claim(entry)
            self._add(entry)
            return target

        return decorate

    def get(self, path: str, **options: Any) -> Callable[[F], F]:
        """Answer GET (and HEAD); options as of `route`."""
        return self.route(path, methods=("GET",), **options)

    def post(self, path: str, **options: Any) -> Callable[[F], F]:
        """Answer POST; options as of `route`."""
        return self.route(path, methods=("POST",), **options)

    def put(self, path: str, **options: Any) -> Callable[[F], F]:
        """Answer PUT; options as of `route`."""
        return self.route(path, methods=("PUT",), **options)

    def patch(self, path: str, **options: Any) -> Callable[[F], F]:
        """Answer PATCH; options as of `route`."""
        return self.route(path, methods=("PATCH",), **options)

    def delete(self, path: str, **options: Any) -> Callable[[F], F]:
        """Answer DELETE; options as of `route`."""
        return self.route(path, methods=("DELETE",), **options)

    def head(self, path: str, **options: Any) -> Callable[[F], F]:
        """Answer HEAD apart from GET; options as of `route`."""
        return self.route(path, methods=("HEAD",), **options)

    def options(self, path: str, **options: Any) -> Callable[[F], F]:
        """Answer OPTIONS instead of the list of methods that Wisp would give; options as of `route`."""
        return self.route(path, methods=("OPTIONS",), **options)

    # ── timers and events ───────────────────────────────────────────────────────────────────────────────────

    def every(self, interval: str, *, retries: int | None = None, name: str = "") -> Callable[[F], F]:
        """Run at a fixed interval: `30s`, `5m`, `1h`."""
        every_s(interval)
        return self._timer("every", interval, name=name, options=_options(retries=retries))

    def cron(
        self, schedule: str, *, timezone: str | None = None, retries: int | None = None, name: str = ""
    ) -> Callable[[F], F]:
        """Run when a cron expression of five fields is due, in UTC or in `timezone`."""
        check_cron(schedule)
        return self._timer("cron", schedule, name=name, options=_options(retries=retries, timezone=timezone))

    def _timer(self, kind: str, schedule: str, *, name: str, options: dict[str, Any]) -> Callable[[F], F]:
        def decorate(target: F) -> F:
            self._add(Entry(kind, _name_of(target, name), target, schedule=schedule, options=options))
            return target

        return decorate

    def on(
        self,
        type: str,
        *,
        source: str | None = None,
        subject: str | None = None,
        retries: int | None = None,
        max_age: str | None = None,
        name: str = "",
    ) -> Callable[[F], F]:
        """Take events of a type. A `*` at the end of type, source or subject stands for whatever follows."""
        if not type or len(type) > TYPE_MAX or not type.isprintable():
            raise ValueError(f"the event type {type[:60]!r} must have 1 to {TYPE_MAX} visible characters")
        if max_age is not None:
            every_s(max_age)
        options = _options(retries=retries, max_age=max_age, source=source, subject=subject)

        def decorate(target: F) -> F:
            self._add(Entry("on", _name_of(target, name), target, type=type, options=options))
            return target

        return decorate

    # ── what was registered ─────────────────────────────────────────────────────────────────────────────────

    def only(self, name: str) -> App | None:
        """Return an app of the entry points with this name alone; None where there is none."""
        chosen = [entry for entry in self.entries if entry.name == name]
        if not chosen:
            return None
        part = App(self.name, version=self.version, description=self.description, docs=self.docs)
        part.entries = chosen
        return part

    def _claim(self, entry: Entry) -> None:
        for method in entry.methods:
            other = self._routes.setdefault((method, shape_of(entry.segments)), entry)
            if other is not entry:
                raise ValueError(f"{method} {entry.path} of {entry.name} is taken: {other.path} of {other.name}")

    def _add(self, entry: Entry) -> None:
        if self._targets.setdefault(entry.name, entry.target) is not entry.target:
            raise ValueError(f'two entry points are called {entry.name!r}; give one of them a name: name="…"')
        if len(self.entries) >= ENTRIES_MAX:
            raise ValueError(f"the app has more than {ENTRIES_MAX} entry points")
        self.entries.append(entry)

    def __repr__(self) -> str:
        return f"App({self.name!r}, {len(self.entries)} entry points)"


def _name_of(target: Any, name: str) -> str:
    found = name or getattr(target, "__name__", "") or getattr(getattr(target, "func", None), "__name__", "")
    found = found or type(target).__name__.lower()
    if not callable(target):
        raise TypeError(f"an entry point must be callable, not {type(target).__name__}")
    if not found.isidentifier() or not found.isascii() or len(found) > NAME_MAX:
        raise ValueError(f'{found[:60]!r} is no name for an entry point; give one with name="…"')
    return found


def _options(*, retries: int | None, **rest: str | None) -> dict[str, Any]:
    if retries is not None and not (isinstance(retries, int) and 0 <= retries <= RETRIES_MAX):
        raise ValueError(f"retries is {retries!r}, allowed are 0 to {RETRIES_MAX}")
    known: dict[str, Any] = {"retries": retries, **rest}
    for key, value in rest.items():
        if value is not None and not (isinstance(value, str) and 0 < len(value) <= TYPE_MAX and value.isprintable()):
            raise ValueError(f"{key} is {value!r}, not text of 1 to {TYPE_MAX} visible characters")
    return {key: value for key, value in known.items() if value is not None}
