"""A function's first deployment in ``control.db``: all of its rows are new, so none has to be looked for."""

from __future__ import annotations

from typing import Final

import msgspec

from wispd.adapters.store.control_session import Session
from wispd.model.alias import LIVE, whole
from wispd.model.function import Published
from wispd.ports.catalogue import Registered, Wanted

WHY: Final = "deployed"
_FUNCTION: Final = """
INSERT INTO functions (namespace, name, key, live, enabled, concurrency_reserved, versions_kept, last_number,
    last_revision, created_us, updated_us, node_id, epoch) VALUES (?, ?, ?, ?, ?, ?, ?, 1, 1, ?, ?, ?, ?)
"""


def add_first(session: Session, wanted: Wanted) -> tuple[int, Registered]:
    """Add a function that was never here, with its first version live; inside of a change.

    Returns its row's number too. Its routes are left to the caller.
    """
    now_us = session.now_us()
    version = msgspec.structs.replace(wanted.version, number=1, created_us=now_us)
    pointer = msgspec.json.encode(whole(LIVE, 1))
    enabled = wanted.enabled is not False
    session.execute(
        _FUNCTION,
        *(version.namespace, version.function, version.function.lower(), version.id, enabled),
        *(wanted.concurrency_reserved, wanted.versions_kept, now_us, now_us, *session.source),
    )
    function = session.connection.last_insert_rowid()
    session.execute(
        "INSERT INTO versions VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?)",
        *(version.id, function, wanted.fingerprint, msgspec.json.encode(version), now_us, *session.source, wanted.by),
    )
    session.execute(
        "INSERT INTO aliases VALUES (?, ?, ?, 1, ?, ?, ?, ?)",
        *(function, LIVE, pointer, now_us, wanted.by, *session.source),
    )
    session.execute(
        "INSERT INTO history VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?)",
        *(function, LIVE, pointer, WHY, now_us, wanted.by, *session.source),
    )
    published = Published(
        namespace=version.namespace,
        name=version.function,
        live=version,
        enabled=enabled,
        concurrency_reserved=wanted.concurrency_reserved,
    )
    return function, Registered(
        published=published,
        fingerprint=wanted.fingerprint,
        created_us=now_us,
        updated_us=now_us,
        versions_kept=wanted.versions_kept,
    )
