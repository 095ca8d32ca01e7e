"""What an App takes from its decorators, and what it refuses while it is imported."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

import wisp
from wisp import App, Body, Context, Cookie, Event, Header, Query
from wisp.app import ENTRIES_MAX
from wisp.runtime.apps.annotations import Shapes
from wisp.runtime.apps.matching import NoEntryError, entry_for
from wisp.runtime.apps.signatures import SignatureError, plan_of


@dataclass
class Order:
    sku: str


def noop() -> None: ...


def test_the_names_are_offered() -> None:
    for name in ("App", "Body", "Context", "Cookie", "Header", "HttpError", "Query"):
        assert getattr(wisp, name).__name__ == name


@pytest.mark.parametrize(
    "path",
    ["", "orders", "/a//b", "/a?b", "/a#b", "/{}", "/{1}", "/{a}{b}", "/x{a}", "/{a:int}", "/{a:path}/b", "/{a}/{a}",
     "/a\n", "/" + "a/" * 40, "/" + "a" * 600],
)  # fmt: skip
def test_wrong_paths(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        App("x").get(path)


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda app: app.route("/", methods=["TRACE"]), "TRACE"),
        (lambda app: app.route("/", methods=[]), "methods"),
        (lambda app: app.get("/", status=99), "status"),
        (lambda app: app.every("5 minutes"), "duration"),
        (lambda app: app.every("500ms"), "1s to 366d"),
        (lambda app: app.cron("* * * *"), "five"),
        (lambda app: app.cron("61 * * * *"), "minute"),
        (lambda app: app.cron("* * * * foo"), "day of the week"),
        (lambda app: app.cron("*/0 * * * *"), "step"),
        (lambda app: app.cron("* * 31-1 * *"), "day of the month"),
        (lambda app: app.on(""), "event type"),
        (lambda app: app.on("a\n"), "event type"),
        (lambda app: app.on("a", retries=-1), "retries"),
        (lambda app: app.on("a", max_age="long"), "duration"),
        (lambda app: app.on("a", source=""), "source"),
    ],
)
def test_wrong_options(declare: Callable[[App], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        declare(App("x"))


@pytest.mark.parametrize(
    "text", ["* * * * *", "*/5 0-6 1,15 jan-mar mon-fri", "0 0 1 1 7", "@daily", "5-50/15 * * * SUN"]
)
def test_schedules(text: str) -> None:
    app = App("x")
    app.cron(text, timezone="Europe/Berlin", retries=3)(noop)
    app.every("1.5h", name="other")(noop)
    assert [(one.kind, one.schedule) for one in app.entries] == [("cron", text), ("every", "1.5h")]
    assert app.entries[0].options == {"retries": 3, "timezone": "Europe/Berlin"}


def test_two_callables_can_not_have_one_name_or_one_route() -> None:
    app = App("x")
    app.get("/a/{x}", name="first")(lambda x: x)
    with pytest.raises(ValueError, match=r"GET /a/\{y\} of second is taken: /a/\{x\} of first"):
        app.get("/a/{y}", name="second")(lambda y: y)
    app.post("/a/{y}", name="third")(lambda y: y)
    with pytest.raises(ValueError, match="two entry points are called 'first'"):
        app.on("b", name="first")(noop)
    with pytest.raises(ValueError, match="give one with name"):
        app.get("/lambda")(lambda: 1)
    with pytest.raises(TypeError, match="callable"):
        app.get("/text", name="text")("text")  # type: ignore[type-var]


def test_one_callable_may_have_several_entries_and_the_number_is_bounded() -> None:
    app = App("x")
    app.every("5m")(app.on("a")(app.get("/")(noop)))
    assert [one.kind for one in app.entries] == ["route", "on", "every"]
    part = app.only("noop")
    assert part is not None
    assert len(part.entries) == 3
    assert app.only("other") is None
    for number in range(ENTRIES_MAX - 3):
        app.on(f"t{number}")(noop)
    with pytest.raises(ValueError, match=str(ENTRIES_MAX)):
        app.on("one more")(noop)


# ── signatures ──────────────────────────────────────────────────────────────────────────────────────────────────


def sources(target: Any, path: str = "/", method: str = "POST") -> dict[str, tuple[str, str, bool]]:
    app = App("x")
    app.route(path, methods=[method], name="it")(target)
    return {one.name: (one.source, one.key, one.required) for one in plan_of(app.entries[0], Shapes()).arguments}


def test_where_parameters_come_from() -> None:
    def it(  # noqa: PLR0917
        key: int,
        event,  # type: ignore[no-untyped-def]
        when: Event,
        ctx: Context,
        plain,  # type: ignore[no-untyped-def]
        order: Order,
        maybe: int | None,
        tags: list[str],
        x_token: Annotated[str, Header()],
        other: Annotated[int, Header(alias="X-Other")],
        session: Annotated[str, Cookie()],
        per_page: Annotated[int, Query(alias="per-page")] = 10,
    ) -> None: ...

    assert sources(it, "/a/{key}") == {
        "key": ("path", "key", True),
        "event": ("event", "event", False),
        "when": ("event", "when", False),
        "ctx": ("context", "ctx", False),
        "plain": ("query", "plain", True),
        "order": ("body", "body", True),
        "maybe": ("query", "maybe", False),
        "tags": ("query", "tags", True),
        "x_token": ("header", "x-token", True),
        "other": ("header", "x-other", True),
        "session": ("cookie", "session", True),
        "per_page": ("query", "per-page", False),
    }


@pytest.mark.parametrize("annotation", [Order, dict, list[Order], Order | None, bytes, Annotated[str, Body()], Any])
def test_what_is_a_body(annotation: Any) -> None:
    def it(content: Any) -> None: ...

    it.__annotations__["content"] = annotation
    assert sources(it)["content"][0] == "body"


def test_partials_methods_and_callable_objects_have_signatures() -> None:
    class Shop:
        def order(self, key: int) -> int:
            return key

        def __call__(self, key: int) -> int:
            return key

    for target in (Shop().order, Shop(), functools.partial(lambda a, key: key, 1)):
        assert sources(target, "/{key}") == {"key": ("path", "key", True)}


def test_decorated_functions_and_unknown_results() -> None:
    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @logged
    def it(key: int) -> Unknown: ...  # type: ignore[name-defined]  # noqa: F821

    assert sources(it, "/{key}") == {"key": ("path", "key", True)}


def named(*parameters: str, **annotations: Any) -> Any:
    """Return a function with these parameters."""
    scope: dict[str, Any] = {}
    exec(f"def it({', '.join(parameters or annotations)}): ...", scope)
    scope["it"].__annotations__.update(annotations)
    return scope["it"]


@pytest.mark.parametrize(
    ("path", "method", "target", "words"),
    [
        ("/{key}", "GET", named(), "no parameter of it"),
        ("/{key}", "GET", named(key=Order), "can't be an object"),
        ("/{key}", "GET", named(key=Annotated[str, Query()]), "says otherwise"),
        ("/", "GET", named(order=Order), "GET has no body"),
        ("/", "POST", named(a=Order, b=Order), "a, b: a request has one body"),
        ("/", "POST", named("*rest"), "rest has no name"),
        ("/", "POST", named("**rest"), "rest has no name"),
        ("/", "POST", named("a", "/"), "has no name"),
        ("/", "POST", named(a=complex), "parameter a: nothing can be read into complex"),
        ("/", "POST", named(a=Annotated[Order, Query()]), "query parameter can't be an object"),
        ("/", "POST", named(a=Annotated[list[Order], Header()]), "must be single values"),
        ("/", "POST", named(a="Unknown"), "'Unknown' is not defined"),
    ],
)
def test_signatures_that_can_not_be_served(path: str, method: str, target: Any, words: str) -> None:
    with pytest.raises(SignatureError, match=words) as raised:
        sources(target, path, method)
    assert f"{method} {path} (it)" in str(raised.value)


def test_events_have_one_data_and_no_markers() -> None:
    app = App("x")
    app.on("a", name="two")(named(a=Order, b=Order))
    app.on("b", name="marked")(named(a=Annotated[str, Header()]))
    with pytest.raises(SignatureError, match="one data"):
        plan_of(app.entries[0], Shapes())
    with pytest.raises(SignatureError, match="belongs to requests"):
        plan_of(app.entries[1], Shapes())


# ── which entry point takes an event ────────────────────────────────────────────────────────────────────────────


def dispatch(**attributes: str) -> str:
    app = App("x")
    app.on("order.created", name="exact")(noop)
    app.on("order.*", name="orders")(noop)
    app.on("order.paid.*", name="paid")(noop)
    app.on("up", source="/eu/*", name="eu")(noop)
    app.on("up", source="/us/*", subject="a", name="us")(noop)
    app.on("twice", name="one")(noop)
    app.on("twice", name="two")(noop)
    app.every("5m", name="sweep")(noop)
    app.get("/", name="route")(noop)
    return entry_for(app.entries, attributes).name


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"type": "order.created"}, "exact"),
        ({"type": "order.other"}, "orders"),
        ({"type": "order.paid.late"}, "paid"),
        ({"type": "up", "source": "/eu/1"}, "eu"),
        ({"type": "up", "source": "/us/1", "subject": "a"}, "us"),
        ({"type": "wisp.timer", "subject": "sweep"}, "sweep"),
        ({"type": "wisp.timer", "wispentry": "sweep"}, "sweep"),
        ({"type": "twice", "wispentry": "two"}, "two"),
        ({"type": "order.created", "wispentry": "orders"}, "orders"),
    ],
)
def test_an_event_finds_its_entry_point(attributes: dict[str, str], name: str) -> None:
    assert dispatch(**attributes) == name


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"type": "other"}, r"no entry point takes events of type 'other'; there are .*exact \(order.created\)"),
        ({"type": "up", "source": "/asia"}, "no entry point"),
        ({"type": "twice"}, "one, two all take events"),
        ({"type": "wisp.timer", "subject": "gone"}, "entry point 'gone'"),
        ({"type": "wisp.timer", "subject": "route"}, "entry point 'route'"),
        ({}, "no entry point"),
    ],
)
def test_an_event_that_nobody_takes(attributes: dict[str, str], words: str) -> None:
    with pytest.raises(NoEntryError, match=words):
        dispatch(**attributes)
