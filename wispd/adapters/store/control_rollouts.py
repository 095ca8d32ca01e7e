"""Rollouts in ``control.db``: the latest of each function."""

from __future__ import annotations

import msgspec

from wispd.adapters.store.control_session import Session
from wispd.base.errors import Fault
from wispd.model.rollout import Rollout

_decoder = msgspec.json.Decoder(Rollout)
_SELECT = "SELECT r.content FROM rollouts r JOIN functions f ON f.id = r.function "


class RolloutStore:
    """Implements `wispd.ports.rollouts.Rollouts`. One thread at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def latest(self, namespace: str, name: str) -> Rollout | None:
        rows = self._session.rows(
            _SELECT + "WHERE f.namespace = ? AND f.key = ? AND f.name = ?", namespace, name.lower(), name
        )
        return _decoder.decode(rows[0][0]) if rows else None

    def running(self) -> list[Rollout]:
        return [_decoder.decode(row[0]) for row in self._session.rows(_SELECT + "WHERE r.running = 1 ORDER BY f.id")]

    def keep(self, rollout: Rollout) -> None:
        with self._session.change():
            stored = self._session.execute(
                "INSERT OR REPLACE INTO rollouts SELECT id, ?, ?, ?, ?, ? FROM functions "
                "WHERE namespace = ? AND key = ? AND name = ? AND live IS NOT NULL",
                *(msgspec.json.encode(rollout), rollout.state == "running", self._session.now_us()),
                *self._session.source,
                *(rollout.namespace, rollout.function.lower(), rollout.function),
            )
            if not stored:
                message = f"function {rollout.function!r} is not in namespace {rollout.namespace!r}"
                raise Fault("not_found", message)
