"""The command line goes through the control API: what is about the machine itself is named here."""

from __future__ import annotations

import tree

ALLOWED = ("wispd.cli", "wispd.client", "wispd.base", "wispd.model", "wispd.metering.rating", "wispd.app.settings")
# up, down, doctor; a node of a command's own (run, dev); restore works on files while no node runs.
OF_THE_MACHINE = {"node", "doctor", "temporary", "restoring", "restore", "backup"}
STORES = ("apsw", "sqlite3", "wispd.adapters.store", "wispd.control", "wispd.gateway", "wispd.observe")


def test_commands_reach_the_node_through_the_client_only() -> None:
    found = []
    for path in tree.python_files("wispd/cli"):
        for module, line in tree.imports(path):
            ours = module.split(".")[0] == "wispd"
            inner = ours and not module.startswith(ALLOWED) and path.stem not in OF_THE_MACHINE
            if (inner and module not in ("wispd", "wispd.app")) or module.startswith(STORES[:2]):
                found.append(f"{tree.name_of(path)}:{line} {module}")
    tree.assert_none(found)
