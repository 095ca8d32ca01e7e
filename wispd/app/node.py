"""Start a node: claim the data directory and the ports, then supervise. `wisp up` is this.

`python -I -m wispd.app.node READY_FD SETTINGS [CALLER_FD]` is the detached form: it says how the start went on
READY_FD as one JSON document, a `Serving` or a problem, and closes it. With CALLER_FD the node is a temporary one: it
ends as soon as the other end of that pipe is closed, and its data directory, which must be a new one, goes with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from wispd.adapters.secrets.keyfile import FILE_NAME as KEY_FILE_NAME
from wispd.app import identity
from wispd.app.certificates import Certificates
from wispd.app.directory import DataDirectory, Node, read_node
from wispd.app.filesystems import concern, filesystem_type
from wispd.app.listeners import listen, listen_unix, url_of
from wispd.app.processes import RoleProcess
from wispd.app.settings import Settings
from wispd.app.supervisor import ORDER, Held, Supervisor
from wispd.base.clock import SystemClock
from wispd.base.errors import Fault
from wispd.base.ids import id_source

REBIND_S: Final = 3.0  # processes of a killed supervisor hold its ports for up to a second
_REBIND_STEP_S: Final = 0.05


class Serving(Struct, frozen=True, kw_only=True):
    """Where a node that just became ready is."""

    pid: int
    public_url: str
    admin_url: str
    token: str = ""  # the admin token, when this start made it
    warning: str = ""


def run(
    settings: Settings, announce: Callable[[Serving], None], *, detached: bool = False, caller_fd: int = -1
) -> None:
    """Run a node in this process until it is told to end; `detached`: its own errors go to `logs/supervisor.log`.

    `caller_fd`: as `Supervisor.run`.

    Raises: `Fault` when it can't start.
    """
    clock = SystemClock()
    certificates = Certificates(settings)
    known = read_node(Path(settings.data_dir))
    first_uid = settings.uid_first or (known.uid_first if known else 0)
    who = identity.choose(settings.data_dir, uid_first=first_uid, service_uid=settings.service_uid)
    directory = DataDirectory(settings.data_dir, owner_uid=who.service_uid)
    if detached:
        log = directory.open_log("supervisor")
        os.dup2(log, sys.stderr.fileno())
        os.close(log)
    with contextlib.ExitStack() as stack:
        listeners = claim_ports(settings, directory)
        for listener in listeners.values():
            stack.enter_context(listener)
        made = Node(format=1, node_id=id_source(clock)().hex(), created_us=clock.unix_ns() // 1000)
        node = directory.node(made, uid_first=who.uid_first)
        directory.adopt_placed(KEY_FILE_NAME)
        settings = msgspec.structs.replace(
            settings,
            port=listeners["public"].getsockname()[1],
            admin_port=listeners["admin"].getsockname()[1],
            service_uid=who.service_uid,
            uid_first=who.uid_first,
            uid_count=who.uid_count,
        )
        serving = Serving(
            pid=os.getpid(),
            public_url=url_of(listeners["public"], secure="public" in certificates.current),
            admin_url=url_of(listeners["admin"], secure="admin" in certificates.current),
            token=directory.first_token(),
            warning="; ".join(filter(None, (who.warning, "" if caller_fd >= 0 else _unsafe(directory)))),
        )
        roles = {name: RoleProcess(name, directory) for name in ORDER}
        held = Held(listeners=listeners, certificates=certificates)
        supervisor = Supervisor(settings, directory, node, roles=roles, held=held, clock=clock)
        supervisor.run(lambda: announce(serving), caller_fd=caller_fd)


def _unsafe(directory: DataDirectory) -> str:
    """Return why this directory may not keep what is acknowledged. A temporary node's need not."""
    return concern(filesystem_type(directory.path), str(directory.path))


def claim_ports(settings: Settings, directory: DataDirectory) -> dict[str, socket.socket]:
    """Bind everything, waiting a little for a killed node's last processes to let go of their ports."""
    killed = directory.was_killed()
    deadline_ns = SystemClock.monotonic_ns() + int(REBIND_S * 1e9) * killed
    while True:
        try:
            public, admin = _bind(settings)
            break
        except Fault as fault:
            if fault.code != "conflict" or SystemClock.monotonic_ns() > deadline_ns:
                raise
            time.sleep(_REBIND_STEP_S)
    path = directory.path / "run" / "gateway.sock"
    internal = listen_unix(path)
    if os.geteuid() == 0:
        os.chown(path, directory.owner_uid, directory.owner_uid, follow_symlinks=False)
    return {"public": public, "admin": admin, "internal": internal}


def _bind(settings: Settings) -> tuple[socket.socket, socket.socket]:
    with contextlib.ExitStack() as undo:
        public = undo.enter_context(listen(settings.host, settings.port, flag="--port"))
        admin = undo.enter_context(listen(settings.admin_host, settings.admin_port, flag="--admin-port"))
        undo.pop_all()
        return public, admin


def main(arguments: list[str]) -> int:
    """Run detached: tell the start's outcome on a descriptor, then serve."""
    ready_fd, settings = int(arguments[0]), msgspec.json.decode(arguments[1], type=Settings)
    caller_fd = int(arguments[2]) if len(arguments) > 2 else -1

    def tell(outcome: object) -> None:
        with contextlib.suppress(OSError):  # nobody waits any more
            os.write(ready_fd, msgspec.json.encode(outcome))
        with contextlib.suppress(OSError):
            os.close(ready_fd)

    try:
        if caller_fd >= 0:
            _run_temporary(settings, tell, caller_fd)
        else:
            run(settings, tell, detached=True)
    except Fault as fault:
        tell({"code": fault.code, "message": fault.message})
        return 1
    return 0


def _run_temporary(settings: Settings, tell: Callable[[object], None], caller_fd: int) -> None:
    """Run a node whose data directory is made by it and removed with it."""
    if os.path.lexists(settings.data_dir):
        raise Fault("conflict", f"{settings.data_dir} exists; a temporary node makes a directory of its own")
    try:
        run(settings, tell, detached=True, caller_fd=caller_fd)
    finally:
        shutil.rmtree(settings.data_dir, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
