"""`wisp up` and `wisp down`."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from wispd.app import settings
from wispd.base.clock import SystemClock
from wispd.base.errors import Fault
from wispd.cli.output import note, print_json, say

DOWN_GRACE_S: Final = 30.0  # over the time that running calls have
LEVEL_WAIT_S: Final = 3.0
_LOOK_S: Final = 0.05


@click.command()
@click.option("--data", "data_dir", default="", help="Where everything lives (else WISP_DATA, or the usual place).")
@click.option("--host", help="Address of the public listener.")
@click.option("--port", type=int, help="Port of the public listener; 0: any free one.")
@click.option("--admin-host", help="Address of the admin listener.")
@click.option("--admin-port", type=int, help="Port of the admin listener; 0: any free one.")
@click.option("--tls-cert", help="PEM certificate chain for both listeners; they then speak https.")
@click.option("--tls-key", help="Its PEM private key, where it is in a file of its own.")
@click.option("--admin-tls-cert", help="Another certificate for the admin listener; none: no TLS there.")
@click.option("--admin-tls-key", help="The key of that.")
@click.option("--level", type=click.Choice(["full", "namespaces", "process"]), help="Insist on an isolation level.")
@click.option("--drain", "drain_s", type=float, help="Seconds that running calls have when the node stops.")
@click.option("--detach", is_flag=True, help="Return when the node is ready; it goes on in the background.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def up(data_dir: str, detach: bool, as_json: bool, **flags: Any) -> None:
    """Start a node. Without --detach it runs until Ctrl-C; running calls finish first."""
    chosen = settings.load(data_dir or settings.default_data_dir(), flags)
    if detach:
        from wispd.app.detaching import start

        _say_serving(start(chosen).serving, chosen, as_json=as_json)
        return
    from wispd.app import node
    from wispd.app.notifying import READY, notify

    def announce(serving: node.Serving) -> None:
        _say_serving(msgspec.to_builtins(serving), chosen, as_json=as_json)
        notify(settings.notify_socket(), READY)

    node.run(chosen, announce)


def _say_serving(serving: dict[str, Any], chosen: settings.Settings, *, as_json: bool) -> None:
    if serving.get("warning"):
        note(f"warning: {serving['warning']}")
    level = _level(serving["admin_url"], chosen.data_dir)
    if level == "process":
        note("warning: functions are not isolated here (level process): run only your own code")
        note("         `wisp doctor --fix` says what would change that")
    if as_json:
        print_json(serving | {"data_dir": chosen.data_dir, "level": level})
        return
    say(f"Wisp is ready.\n  functions  {serving['public_url']}/fn/<name>\n  admin      {serving['admin_url']}")
    say(f"  data       {chosen.data_dir}\n  isolation  {level or 'not known yet'}")
    if serving.get("token"):
        say(f"  admin token, shown once: {serving['token']}\n  (the command line keeps a copy in the data directory)")


def _level(admin_url: str, data_dir: str) -> str:
    """Return the isolation level of a node that just became ready; "" when it can't be asked."""
    from wispd.client.node import NodeClient, local
    from wispd.client.trust import pinned, trust

    with contextlib.suppress(Fault):
        _, token = local(Path(data_dir))
        verify = trust(admin_url, pinned=pinned(Path(data_dir)))
        with NodeClient(admin_url, token, answer_s=LEVEL_WAIT_S, verify=verify) as client:
            return str(client.status().get("gateway", {}).get("level", ""))
    return ""


@click.command()
@click.option("--data", "data_dir", default="", help="The node's data directory (else WISP_DATA, or the usual one).")
@click.option("--now", is_flag=True, help="Don't wait for running calls.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def down(data_dir: str, now: bool, as_json: bool) -> None:
    """Stop the node. Returns when everything is gone."""
    from wispd.app.directory import holder_of

    path = Path(data_dir or settings.default_data_dir())
    pid = holder_of(path)
    if pid <= 0:
        if as_json:
            print_json({"stopped": False, "data_dir": str(path)})
        else:
            say(f"no node runs on {path}")
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        if now:
            time.sleep(_LOOK_S)
            os.kill(pid, signal.SIGTERM)
    limit_s = settings.load(str(path), {}).drain_s + DOWN_GRACE_S
    deadline_ns = SystemClock.monotonic_ns() + int(limit_s * 1e9)
    while holder_of(path):
        if SystemClock.monotonic_ns() > deadline_ns:
            raise Fault("unavailable", f"the node (pid {pid}) is still there after {limit_s:.0f} s")
        time.sleep(_LOOK_S)
    if as_json:
        print_json({"stopped": True, "pid": pid, "data_dir": str(path)})
    else:
        say("Wisp is down.")
