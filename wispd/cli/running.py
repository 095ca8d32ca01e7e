"""`wisp run`: serve one file now. No project, no account, and nothing is left when it ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from wispd.base.errors import Fault
from wispd.cli.deploying import document
from wispd.cli.naming import default_name
from wispd.cli.projects import Wishes, deploy_project
from wispd.cli.screen import Screen, network_address
from wispd.cli.session import Outcome, Paths, Session
from wispd.cli.temporary import TemporaryNode
from wispd.cli.watching import saved_files
from wispd.client.builds import Told
from wispd.client.node import NodeClient

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104  (compared)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 opens it to your network.")
@click.option("--port", type=int, help="Port; 0: any free one.  [default: 8080, or a free one]")
@click.option("--handler", help="Name of the callable (else found by inspection).")
@click.option("--memory", help='"auto", or a size such as 256MB.')
@click.option("--timeout", help="Such as 30s.")
@click.option("--env", multiple=True, metavar="K=V", help="A variable of its environment; repeatable.")
@click.option("--allow", multiple=True, metavar="ADDRESS:PORT", help="Opens an address of this host; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="NDJSON on standard output: one document per event.")
def run(file: Path, host: str, port: int | None, as_json: bool, **given: Any) -> int:
    """Serve one file now, until Ctrl-C, and again whenever you save it.

    A private node is started for it, the same engine as everywhere, and removed with everything it wrote. Each
    call is shown with its status, whether it started cold, how long it took and what it costs.
    """
    path = checked(file.absolute())
    wanted = wanted_document(path, host, given)
    name = default_name(path)  # once: a save that renames its App, or is broken, is still the same function
    screen = Screen(as_json=as_json)
    flags = {"host": host} | ({"port": port} if port is not None else {})
    with TemporaryNode(flags) as node, node.signalled(), node.client() as client:

        def deploy(_: Paths | None) -> list[Outcome]:
            return _deploy(client, path, name, wanted=wanted, told=node.built)

        session = Session(node, screen, deploy, root=f"{path.parent}/", named=False)
        session.on_first = lambda _: _greet(node, screen, path, host)
        node.follow()
        node.follow_keys()
        node.follow_files(lambda over: saved_files(path, over))
        return session.run()


def checked(path: Path) -> Path:
    """Return the file to serve. Raises: `Fault` `not_found`, `invalid_argument`."""
    if path.is_dir():
        raise Fault("invalid_argument", f"{path} is a folder; `wisp dev {path}` serves a project")
    if not path.is_file():
        raise Fault("not_found", f"{path} does not exist; give a .py file")
    if path.suffix != ".py":
        raise Fault("invalid_argument", f"{path} is no .py file")
    return path


def wanted_document(path: Path, host: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return the function's document: all paths are its own, and whoever reaches the host may call."""
    handler = given.pop("handler", None)
    if handler and ":" not in handler:
        handler = f"{path.stem}:{handler}"
    wanted = document(given | {"handler": handler}) | {"routes": [["", "", "/*"]]}
    return wanted if host in LOOPBACK else wanted | {"access": "public"}


def _deploy(client: NodeClient, path: Path, name: str, *, wanted: dict[str, Any], told: Told) -> list[Outcome]:
    if not path.is_file():  # between two halves of a save; the second one comes
        return []
    try:
        wishes = Wishes(name=name, flags=wanted)
        (function,) = deploy_project(client, path, wishes, told=told)
        return [Outcome(name=name, function=function)]
    except Fault as fault:
        return [Outcome(name=name, fault=fault)]


def _greet(node: TemporaryNode, screen: Screen, path: Path, host: str) -> None:
    url = reachable(node.serving["public_url"], host) + "/"
    with node.client() as client:
        level = str(client.status().get("gateway", {}).get("level", ""))
    own = host in LOOPBACK
    screen.event("ready", url=url, file=str(path), level=level)
    screen.line()
    screen.line(("  ", ""), (url, "bold cyan"), ("   this machine only" if own else "   your whole network", "dim"))
    screen.code(url)
    if own:
        screen.line(("  --host 0.0.0.0 opens it to your phone and everybody in your network", "dim"))
    else:
        screen.warn("everybody who reaches this address may call it")
    if level == "process":
        screen.warn(
            "it is not isolated here (`wisp doctor --fix` says what would change that): fine for your own code"
        )
    screen.line((f"  serving {path.name}; save it to deploy it, Ctrl-C ends", "dim"))
    screen.line()


def reachable(url: str, host: str) -> str:
    """Return the URL by which others reach a node that listens on `host`."""
    address = network_address() if host in ANYWHERE else ""
    if not address:
        return url
    return url.replace("127.0.0.1", address)
