"""`wisp service-unit`: a node as a systemd service of an unprivileged user."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

import click

from wispd.base.errors import Fault
from wispd.cli.output import print_json, say

_UNIT: Final = """\
# A node of Wisp as a service of an unprivileged user: docs/operating.md has the steps.
[Unit]
Description=Wisp, a serverless cloud
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
NotifyAccess=main
User={user}
Group={user}
ExecStart={command} up --data {data_dir}
# Reads certificates again.
ExecReload=/bin/kill -HUP $MAINPID
# One signal: the supervisor drains, then ends the others.
KillMode=mixed
TimeoutStartSec=90
TimeoutStopSec=90
Restart=on-failure
RestartSec=2
{state}UMask=0077
# Limits of memory, CPU and processes per instance need control groups of the node's own.
Delegate=yes
LimitNOFILE=65536
TasksMax=infinity

# Hardening that leaves what the sandbox is made of: namespaces, mounts, a fresh /proc, seccomp.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=full
PrivateTmp=yes
ProtectKernelModules=yes
LockPersonality=yes
RestrictRealtime=yes
SystemCallArchitectures=native
# Left out because each of them stops the sandbox: RestrictNamespaces, PrivateUsers, ProtectControlGroups,
# ProtectProc, ProtectKernelTunables, ProtectKernelLogs, ProtectHostname, PrivateDevices, SystemCallFilter; and as
# native wheels need it: MemoryDenyWriteExecute.

[Install]
WantedBy=multi-user.target
"""
_STATE: Final = "/var/lib/"


def unit(*, user: str, data_dir: str, command: str) -> str:
    """Return the unit. Raises: `Fault("invalid_argument")` for what systemd would read as more than one value."""
    for what, value in (("user", user), ("data directory", data_dir), ("command", command)):
        if not value or not value.isprintable() or any(sign in value for sign in " \t'\"\\%$;"):
            raise Fault("invalid_argument", f"the {what} {value!r} has characters that a unit can't hold as they are")
    if not data_dir.startswith("/") or not command.startswith("/"):
        raise Fault("invalid_argument", f"{data_dir} and {command} must be absolute")
    name = data_dir.removeprefix(_STATE)
    own = data_dir.startswith(_STATE) and "/" not in name.strip("/")
    state = f"StateDirectory={name.strip('/')}\nStateDirectoryMode=0700\n" if own else ""
    return _UNIT.format(user=user, data_dir=data_dir, command=command, state=state)


@click.command("service-unit")
@click.option("--user", default="wisp", show_default=True, help="The user that the node runs as.")
@click.option("--data", "data_dir", default="/var/lib/wisp", show_default=True, help="The node's data directory.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def service_unit(user: str, data_dir: str, as_json: bool) -> None:
    """Print a systemd unit that runs a node as an unprivileged user."""
    text = unit(user=user, data_dir=data_dir, command=_own_command())
    if as_json:
        print_json({"unit": text})
    else:
        say(text.rstrip())


def _own_command() -> str:
    """Return the `wisp` of this installation."""
    beside = Path(sys.executable).with_name("wisp")
    return str(beside) if beside.exists() else shutil.which("wisp") or str(beside)
