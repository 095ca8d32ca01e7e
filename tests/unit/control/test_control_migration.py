"""A store that 0.1 wrote is read, and one that can't be brought up to date stays what it was."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest
from test_control_store import opened, wanted

from wispd.adapters.store import control_schema
from wispd.base.errors import Fault
from wispd.model.alias import Share

FIXTURE = Path(__file__).parent / "store_0_1.sql"


def written_by_0_1(tmp_path: Path) -> Path:
    path = tmp_path / "control.db"
    connection = apsw.Connection(str(path))
    connection.execute(FIXTURE.read_text())
    connection.close()
    return path


def test_a_store_of_0_1_has_its_functions_aliases_and_numbers(tmp_path: Path) -> None:
    written_by_0_1(tmp_path)
    store = opened(tmp_path)
    found = store.find("default", "Hello")
    assert found is not None
    assert (found.published.live.number, found.published.pointers) == (2, ())
    assert [kept.version.code for kept in store.versions.versions("default", "Hello", before=99, limit=9)] == [
        "bb",
        "aa",
    ]
    (alias,) = store.versions.aliases("default", "Hello")
    assert (alias.pointer.alias, alias.pointer.shares, alias.revision) == ("live", (Share(2, 100),), 1)
    assert [one.pointer.whole for one in store.versions.history("default", "Hello", before=99, limit=9)] == [2]
    assert store.find("default", "gone") is None
    with pytest.raises(Fault, match="belongs to function 'Hello'"):
        store.put(wanted("other", routes=found.published.live.routes))
    assert [token.digest for token in store.credentials.all()] == ["dd"]
    store.close()


@pytest.mark.parametrize("step", range(1, len(control_schema.MIGRATIONS)))
def test_a_migration_that_fails_half_way_leaves_a_store_the_old_version_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    path = written_by_0_1(tmp_path)
    known = control_schema.MIGRATIONS
    broken = (*known[:step], known[step] + "\nINSERT INTO nowhere VALUES (1);", *known[step + 1 :])
    with monkeypatch.context() as patch:
        patch.setattr(control_schema, "MIGRATIONS", broken)
        with pytest.raises(Fault):
            opened(tmp_path)
    connection = apsw.Connection(str(path))
    assert connection.pragma("user_version") == step, "the steps before it are kept whole, and it left nothing"
    assert connection.pragma("integrity_check") == "ok"
    assert connection.execute("SELECT name, live FROM functions ORDER BY id").fetchall() == [
        ("Hello", "ver_2"),
        ("gone", None),
    ]
    connection.close()
    store = opened(tmp_path)  # the right version goes on from there
    assert store.find("default", "Hello") is not None
    store.close()
