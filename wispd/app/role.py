"""Entry point of every process of a node but the supervisor: `python -I -m wispd.app.role NAME --boot-fd N`."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

from wispd.app import privileges
from wispd.app.boot import BootLink, die_with_parent

ROLES: Final = ("launcher", "gateway", "control", "recorder")


def main(arguments: list[str]) -> int:
    """Run one role; returns its exit code."""
    if len(arguments) != 3 or arguments[0] not in ROLES or arguments[1] != "--boot-fd":
        sys.stderr.write("this is started by `wisp up`\n")
        return 2
    boot = BootLink(int(arguments[2]))
    if os.geteuid() == 0 and boot.role != "launcher":
        privileges.drop(boot.settings.service_uid, (boot.settings.data_dir,))
    die_with_parent()
    module = importlib.import_module(f"wispd.app.roles.{arguments[0]}")
    code: int = module.run(boot)
    return code


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
