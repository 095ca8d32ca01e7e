"""The audit log: what has an entry, that it is there before the answer, and that tampering shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest
from access_classes import token_headers
from control_harness import Harness, control

from wispd.adapters.store.control_audit import AuditStore
from wispd.base.errors import Fault
from wispd.control.sampling import NOBODY_BURST, TOKEN_BURST, Sampler
from wispd.model.audit import GENESIS, AuditEntry, Row, content_of, head_text, link, printable, verify

SPACE = "/v1/namespaces/default"
_NS = 60_000_000_000


def chain(count: int = 5) -> list[Row]:
    rows, previous = [], GENESIS
    for seq in range(1, count + 1):
        content = content_of(AuditEntry(time_us=seq, outcome="done", operation=f"PUT {seq}", namespace="n"))
        previous = link(previous, seq, content)
        rows.append((seq, "n", content, previous))
    return rows


def edited(rows: list[Row]) -> list[Row]:
    seq, namespace, content, found = rows[2]
    return [*rows[:2], (seq, namespace, content.replace(b"done", b"fail"), found), *rows[3:]]


def rewritten(rows: list[Row], *, first: int) -> list[Row]:
    """What somebody with the file and the code can do: change an entry and compute all later hashes anew."""
    previous, found = GENESIS, []
    for seq, namespace, content, _ in rows:
        text = content.replace(b"PUT", b"GET") if seq >= first else content
        previous = link(previous, seq, text)
        found.append((seq, namespace, text, previous))
    return found


TAMPERED: dict[str, tuple[Callable[[list[Row]], list[Row]], int]] = {
    "edited": (edited, 3),
    "deleted": (lambda rows: rows[:2] + rows[3:], 3),
    "first deleted": (lambda rows: rows[1:], 1),
    "swapped": (lambda rows: [*rows[:1], rows[2], rows[1], *rows[3:]], 2),
    "renumbered": (lambda rows: [(seq - (seq > 2), *rest) for seq, *rest in rows[:1] + rows[2:]], 2),
    "twice": (lambda rows: rows[:3] + rows[2:], 4),
    "filed elsewhere": (lambda rows: [(rows[0][0], "other", *rows[0][2:]), *rows[1:]], 1),
    "cut at its end": (lambda rows: rows[:4], 5),
    "emptied": (lambda _: [], 1),
    "rewritten": (lambda rows: rewritten(rows, first=4), 5),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_tampering_breaks_the_chain_where_it_was_done(how: str) -> None:
    rows = chain()
    head = verify(rows).head
    change, broken = TAMPERED[how]
    verdict = verify(change(rows), head)
    assert verdict.broken == broken, verdict
    assert verdict.why


def test_an_untouched_chain_holds_also_behind_a_kept_head() -> None:
    rows = chain()
    kept = head_text(3, rows[2][3])
    for head in ("", kept, verify(rows).head):
        assert verify(rows, head) == verify(rows)
    assert (verify(rows).broken, verify(rows).entries) == (0, 5)
    assert verify([]).head == head_text(0, GENESIS)
    assert verify(rows[:4]).broken == 0, "a cut end shows only to who kept a head"


def test_texts_that_could_steer_a_terminal_or_forge_a_line_are_escaped() -> None:
    assert printable("a\n\x1b[31m\x9b\u202e\\x") == "a\\n\\x1b[31m\\x9b\\u202e\\\\x"
    assert printable("x" * 300) == "x" * 200 + "…"
    assert printable("\ud800") == "\\ud800"


def test_floods_are_counted_and_said_later() -> None:
    sampler = Sampler()
    said = [sampler.admit("", "denied", 0) for _ in range(1000)]
    assert said == [0] * NOBODY_BURST + [None] * (1000 - NOBODY_BURST)
    assert sampler.admit("", "denied", _NS) == 1000 - NOBODY_BURST
    assert [sampler.admit("tok", "denied", 0) for _ in range(TOKEN_BURST + 1)][-1] is None
    assert sampler.admit("tok", "failed", 0) == 0, "each outcome by itself"
    assert sampler.admit("other", "denied", 0) == 0


def entries(node: Harness) -> list[dict[str, Any]]:
    found = node.node._store.audit.page(namespace=None, outcome="", before=0, limit=1000)
    from wispd.api.admin_audit import _view

    return [{key: getattr(_view(row), key) for key in _view(row).__struct_fields__} for row in reversed(found)]


def test_changes_denials_and_failures_have_entries(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            viewer = token_headers(node, "viewer", "default")
            assert (await node.deploy("hello")).status_code == 201
            assert (await node.client.put(f"{SPACE}/functions/x", json={"code": "no"})).status_code == 400
            assert (await node.client.delete(f"{SPACE}/functions/hello", headers=viewer)).status_code == 403
            assert (await node.client.get("/v1/namespaces/other/functions", headers=viewer)).status_code == 404
            evil = await node.client.delete(f"{SPACE}/functions/a%0a%1b[31mroot%20done")
            assert evil.status_code in (400, 404)
            assert (await node.client.get(f"{SPACE}/functions")).status_code == 200, "looking has none"
            assert (await node.client.get("/v1/status", headers={"Authorization": "Bearer no"})).status_code == 401
            found = [(one["outcome"], one["operation"], one["target"], one["code"]) for one in entries(node)]
            put, delete = "/namespaces/{namespace}/functions/{name}", "/namespaces/{namespace}/functions/{name}"
            assert found == [
                ("done", "POST /namespaces/{namespace}/packages", "", ""),
                ("done", f"PUT {put}", "hello", ""),
                ("failed", f"PUT {put}", "x", "invalid_argument"),
                ("denied", f"DELETE {delete}", "hello", "forbidden"),
                ("denied", "GET /namespaces/{namespace}/functions", "other/", "not_found"),
                ("failed", f"DELETE {delete}", "a\\n\\x1b[31mroot done", evil.json()["code"]),
                ("denied", "GET /v1/status", "", "unauthenticated"),
            ]
            who = entries(node)[3]
            assert (who["role"], who["token_namespace"], who["token_id"]) == ("viewer", "default", "tok_viewer")
            listed = (await node.client.get(f"{SPACE}/audit?outcome=denied")).json()["items"]
            assert {one["target"] for one in listed} == {"hello", "other/"}, "of this namespace's own tokens only"
            assert (await node.client.post("/v1/namespaces", json={"name": "other"})).status_code == 201
            theirs = (await node.client.get("/v1/namespaces/other/audit")).json()["items"]
            assert [one["token_name"] for one in theirs if one["role"] == "viewer"] == [], "nothing of other tenants"
            verdict = (await node.client.get("/v1/audit/verification")).json()
            assert (verdict["entries"], verdict["broken"]) == (8, 0)

    asyncio.run(scenario())


def test_a_change_that_cannot_be_audited_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: AuditStore, _entry: AuditEntry) -> int:
        raise Fault("storage_full", "control.db can't grow")

    async def scenario() -> None:
        async with control(tmp_path) as node:
            code = await node.upload()
            with monkeypatch.context() as patch:
                patch.setattr(AuditStore, "append", full)
                answers = [
                    await node.deploy("hello", code=code),
                    await node.client.post("/v1/namespaces", json={"name": "new"}),
                    await node.client.post("/v1/tokens", json={"role": "admin"}),
                    await node.client.post(f"{SPACE}/layers", content=b"no zip"),
                ]
            assert [one.status_code for one in answers] == [507, 507, 507, 400]
            assert (await node.client.get(f"{SPACE}/functions")).json()["items"] == []
            assert [one["name"] for one in (await node.client.get("/v1/namespaces")).json()["items"]] == ["default"]
            assert len((await node.client.get("/v1/tokens")).json()["items"]) == 1
            assert len(node.journal()) == 1, "nothing of it was published"
            assert (await node.deploy("hello", code=code)).status_code == 201, "with room it works"

    asyncio.run(scenario())


def test_a_flood_without_a_token_costs_one_entry_a_minute(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            for _ in range(300):
                assert (await node.client.get("/v1/status", headers={"Authorization": ""})).status_code == 401
            assert len(entries(node)) == 1
            node.clock.advance(61)
            await node.client.get("/v1/status", headers={"Authorization": ""})
            assert [one["unsaid"] for one in entries(node)] == [0, 299]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("sql", "broken"),
    [
        ("UPDATE audit SET content = CAST(replace(CAST(content AS TEXT), 'done', 'fail') AS BLOB) WHERE seq = 2", 2),
        ("DELETE FROM audit WHERE seq = 2", 2),
        ("UPDATE audit SET seq = 99 WHERE seq = 1; UPDATE audit SET seq = 1 WHERE seq = 2", 1),
        ("DELETE FROM audit WHERE seq = 3", 3),
    ],
)
def test_a_tampered_file_is_found_out(tmp_path: Path, sql: str, broken: int) -> None:
    async def scenario() -> None:
        async with control(tmp_path) as node:
            for name in ("a", "b", "c"):
                await node.client.post("/v1/namespaces", json={"name": name})
            head = (await node.client.get("/v1/audit/verification")).json()["head"]
            connection = apsw.Connection(str(tmp_path / "control.db"))
            with pytest.raises(apsw.ConstraintError, match="append only"):
                connection.execute(sql)
            for trigger in ("audit_is_not_edited", "audit_is_not_cut"):
                connection.execute(f"DROP TRIGGER {trigger}")
            connection.execute(sql)
            connection.close()
            verdict = (await node.client.get(f"/v1/audit/verification?head={head}")).json()
            assert verdict["broken"] == broken, verdict
            assert (await node.client.get("/v1/audit")).status_code == 200

    asyncio.run(scenario())
