"""The entry points that an instance tells: everything else that it may send is refused."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wisp.runtime.frames import BODY_MAX
from wispd.model.entry import ENTRIES_MAX, Entry, parse_entries

texts = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=30)
entries = st.builds(
    lambda kind, name, said, options: {
        "kind": kind,
        "name": name,
        {"route": "path", "on": "type"}.get(kind, "schedule"): said,
        "options": options,
    },
    st.sampled_from(["route", "every", "cron", "on"]),
    st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True),
    texts,
    st.dictionaries(st.sampled_from(["retries", "source", "max_age"]), st.integers(0, 100) | texts, max_size=3),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(entries, max_size=10))
def test_what_is_declared_is_read(told: list[dict[str, object]]) -> None:
    found = parse_entries(json.dumps(told).encode())
    assert [(one.kind, one.name, one.options) for one in found] == [
        (t["kind"], t["name"], t["options"]) for t in told
    ]
    assert parse_entries(msgspec.json.encode(found)) == found


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_refused_or_within_bounds(body: bytes) -> None:
    try:
        found = parse_entries(body)
    except ValueError:
        return
    assert all(isinstance(one, Entry) for one in found)
    assert body in (b"", b"[]") or found


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "every", "name": "x"},  # does not say when
        {"kind": "route", "name": "x", "path": "/a\n"},
        {"kind": "route", "name": "x", "path": "/\x1b[2J"},
        {"kind": "route", "name": "x", "path": "/a", "methods": ["TRACE"]},
        {"kind": "route", "name": "../x", "path": "/a"},
        {"kind": "on", "name": "x", "type": "t" * 257},
        {"kind": "on", "name": "x", "type": "t", "options": {"retries": -1}},
        {"kind": "on", "name": "x", "type": "t", "options": {"retries": True}},
        {"kind": "on", "name": "x", "type": "t", "options": {"A": "b"}},
        {"kind": "on", "name": "x", "type": "t", "options": {"a": {"b": 1}}},
        {"kind": "other", "name": "x", "type": "t"},
    ],
)
def test_each_bound_holds(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="entry points"):
        parse_entries(json.dumps([wrong]).encode())


def test_the_number_and_the_depth_are_bounded() -> None:
    one = '{"kind":"on","name":"x","type":"t"}'
    assert len(parse_entries(f"[{','.join([one] * ENTRIES_MAX)}]".encode())) == ENTRIES_MAX
    for body in (f"[{','.join([one] * (ENTRIES_MAX + 1))}]", "[" * BODY_MAX):
        with pytest.raises(ValueError, match="entry points"):
            parse_entries(body.encode())
