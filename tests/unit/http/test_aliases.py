"""Aliases at the public door: addresses, division by chance and by value, cookies, and who may come in."""

from __future__ import annotations

import itertools

import pytest
from http_harness import Gate, body_of, header, published, status
from msgspec.structs import replace

from wispd.model.alias import Pointer, Share, Sticky, whole
from wispd.model.function import Published

HALF = (Share(1, 50), Share(2, 50))


def divided(pointer: Pointer, **second: object) -> Published:
    """A function `hello` with versions 1 (live) and 2."""
    one = published()
    two = replace(one.live, id="ver_2", number=2, **second)
    return replace(one, others=(two,), pointers=(pointer,))


def live(sticky: Sticky | None = None, shares: tuple[Share, ...] = HALF) -> Pointer:
    return Pointer(alias="live", shares=shares, sticky=sticky)


def numbers(gate: Gate) -> list[int]:
    return [invocation.version.number for invocation in gate.calls.invocations]


@pytest.mark.parametrize(
    ("host", "target", "number"),
    [
        ("localhost", "/fn/hello", 1),
        ("localhost", "/fn/hello:beta", 2),
        ("localhost", "/fn/hello:beta/x?y=1", 2),
        ("localhost", "/fn/hello:live", 1),
        ("hello.localhost", "/", 1),
        ("beta--hello.localhost", "/", 2),
        ("beta--hello.default.localhost", "/", 2),
        ("localhost", "/fn/hello:gamma", 0),
        ("gamma--hello.localhost", "/", 0),
        ("beta--nobody.localhost", "/", 0),
        ("localhost", "/fn/hello:", 0),
    ],
)
def test_an_alias_has_an_address(host: str, target: str, number: int) -> None:
    gate = Gate(divided(whole("beta", 2)))
    answer = gate.request(target, host=host)
    assert status(answer) == (200 if number else 404)
    assert numbers(gate) == ([number] if number else [])


def test_a_function_of_the_very_name_comes_before_an_alias() -> None:
    gate = Gate(divided(whole("beta", 2)), published("beta--hello"))
    gate.request("/", host="beta--hello.localhost")
    assert gate.calls.invocations[0].version.function == "beta--hello"


def test_headers_for_the_administration_mean_nothing_here() -> None:
    gate = Gate(divided(whole("beta", 2)))
    gate.request("/fn/hello", "Wisp-Alias: beta", "Wisp-Version: 2")
    assert numbers(gate) == [1]


def test_equal_requests_are_divided_by_chance() -> None:
    points = itertools.cycle([0, 2**63 - 2**11, 2**63, 2**64 - 1])
    gate = Gate(divided(live()), bits=lambda _: next(points))
    for _ in range(8):
        gate.request("/fn/hello")
    assert numbers(gate) == [1, 1, 2, 2] * 2


@pytest.mark.parametrize("sticky", [Sticky(header="X-User"), Sticky(cookie="sid")])
def test_equal_values_stay_with_a_version_and_requests_without_one_do_not(sticky: Sticky) -> None:
    points = itertools.cycle([0, 2**64 - 1])
    gate = Gate(divided(live(sticky)), bits=lambda _: next(points))
    for user in ("ann", "bob", "cy", "dan", "eve", "fay") * 3:
        gate.request("/fn/hello", f"X-User: {user}", f"Cookie: a=b; sid={user}")
    seen = numbers(gate)
    assert seen[:6] * 3 == seen
    assert set(seen) == {1, 2}
    gate.calls.invocations.clear()
    gate.request("/fn/hello")
    answer = gate.request("/fn/hello")
    assert numbers(gate) == [1, 2]
    assert header(answer, "Set-Cookie") is None, "only who asks for it gets a cookie"


def test_an_issued_cookie_brings_its_caller_back_to_the_version() -> None:
    values = itertools.count(1)
    gate = Gate(divided(live(Sticky(cookie="wisp_at", issue=True))), bits=lambda _: next(values))
    for _ in range(10):
        answer = gate.request("/fn/hello")
        cookie = header(answer, "Set-Cookie")
        assert cookie is not None
        assert cookie.endswith("; Path=/fn/hello; HttpOnly; SameSite=Lax")
        again = gate.request("/fn/hello/x", f"Cookie: {cookie.partition(';')[0]}")
        assert header(again, "Set-Cookie") is None
        first, second = numbers(gate)[-2:]
        assert first == second
    assert set(numbers(gate)) == {1, 2}


def test_a_body_goes_to_the_version_that_was_drawn() -> None:
    points = itertools.cycle([2**64 - 1])
    gate = Gate(divided(live()), bits=lambda _: next(points))
    wire = gate.talk(b"POST /fn/hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")
    assert body_of(bytes(wire.out)) == b"ok"
    assert numbers(gate) == [2]


@pytest.mark.parametrize(("access", "code"), [("token", 401), ("private", 404), ("public", 200)])
def test_a_division_is_as_closed_as_its_most_closed_version(access: str, code: int) -> None:
    gate = Gate(divided(live(), access=access), bits=lambda _: 0)
    assert status(gate.request("/fn/hello")) == code
    alone = Gate(divided(whole("beta", 2), access=access))
    assert status(alone.request("/fn/hello:beta")) == code
    assert status(alone.request("/fn/hello")) == 200


def test_a_disabled_function_says_why_on_every_address() -> None:
    gate = Gate(replace(divided(whole("beta", 2)), enabled=False, disabled_reason="moved to v2"))
    for target in ("/fn/hello", "/fn/hello:beta"):
        answer = gate.request(target)
        assert status(answer) == 409
        assert b"moved to v2" in body_of(answer)


def test_a_new_division_holds_from_the_next_request_on_the_same_connection() -> None:
    gate = Gate(divided(whole("beta", 2)))
    gate.request("/fn/hello")
    gate.publish(divided(live(shares=(Share(2, 100),))))
    gate.request("/fn/hello")
    assert numbers(gate) == [1, 2]
