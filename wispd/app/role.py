"""Entry point of every process of a node but the supervisor: `python -I -m wispd.app.role NAME --boot-fd N`."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

from wispd.app import privileges
from wispd.app.boot import BootLink, die_with_parent
from wispd.app.settings import Settings

ROLES: Final = ("launcher", "gateway", "control", "recorder")


def main(arguments: list[str]) -> int:
    """Run one role; returns its exit code."""
    if len(arguments) != 3 or arguments[0] not in ROLES or arguments[1] != "--boot-fd":
        sys.stderr.write("this is started by `wisp up`\n")
        return 2
    boot = BootLink(int(arguments[2]))
    if os.geteuid() == 0 and boot.role != "launcher":
        privileges.drop(boot.settings.service_uid, needed(boot.role, boot.settings))
    die_with_parent()
    module = importlib.import_module(f"wispd.app.roles.{arguments[0]}")
    code: int = module.run(boot)
    return code


def needed(role: str, settings: Settings) -> list[str]:
    """Return the paths that a role has to reach: the data directory, and what its settings name."""
    named = (*settings.build.find_links, settings.build.ca_file) if role == "control" else ()
    return [settings.data_dir, *(path for path in named if path and os.path.exists(path))]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
