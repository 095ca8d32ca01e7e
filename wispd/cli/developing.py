"""`wisp dev`: serve a project as it will be deployed, and what changes in it as soon as it is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wispd.base.errors import Fault
from wispd.cli import manifest
from wispd.cli.changes import affected
from wispd.cli.naming import default_name
from wispd.cli.projects import Uploaded, Wishes
from wispd.cli.running import LOOPBACK, reachable
from wispd.cli.screen import Screen
from wispd.cli.session import Outcome, Paths, Session
from wispd.cli.temporary import TemporaryNode
from wispd.cli.watching import saved_files
from wispd.client.builds import Told
from wispd.client.node import NodeClient
from wispd.client.packing import pack


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path())
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 opens it to your network.")
@click.option("--port", type=int, help="Port; 0: any free one.  [default: 8080, or a free one]")
@click.option("--open", "browse", is_flag=True, help="Open the first function in the browser.")
@click.option("--json", "as_json", is_flag=True, help="NDJSON on standard output: one document per event.")
def dev(path: Path, host: str, port: int | None, browse: bool, as_json: bool) -> int:
    """Serve a project folder while you work on it, until Ctrl-C (or `q` and Enter).

    All functions of its wisp.toml, or its one handler, on a private node that is removed at the end. A save deploys
    the functions that it changes; `r` and Enter deploys everything again.
    """
    folder = path.absolute()
    if not folder.is_dir():
        hint = f"; `wisp run {path}` serves a single file" if folder.is_file() else ""
        raise Fault("invalid_argument" if hint else "not_found", f"{folder} is no folder{hint}")
    manifest.read(folder)  # a broken one is said before a node is started
    screen = Screen(as_json=as_json)
    flags = {"host": host} | ({"port": port} if port is not None else {})
    with TemporaryNode(flags) as node, node.signalled(), node.client() as client:
        project = Project(client, folder, public=host not in LOOPBACK, told=node.built)
        session = Session(node, screen, project.deploy, root=f"{folder}/", named=True)
        session.on_first = lambda outcomes: _greet(node, screen, outcomes, host=host, browse=browse)
        node.follow()
        node.follow_keys()
        node.follow_files(lambda over: saved_files(folder, over))
        return session.run()


class Project:
    """A folder and what of it is deployed."""

    def __init__(self, client: NodeClient, folder: Path, *, public: bool, told: Told) -> None:
        self._client = client
        self._told = told
        self._folder = folder
        self._public = public
        self._told = told
        self._tables: dict[str, dict[str, Any]] = {}
        self._failed: set[str] = set()
        self._only = default_name(folder)  # of a folder without a manifest; once, as it is the same function

    def deploy(self, changed: Paths | None) -> list[Outcome]:
        """Deploy what the changed files change (None: everything), and what did not go live before.

        Raises: `Fault` when the manifest or the folder is wrong as a whole.
        """
        tables = manifest.read(self._folder) or {self._only: {}}
        # The manifest counts by what it says of each function, not as a file.
        files = (changed or frozenset()) - {self._folder / manifest.FILE_NAME}
        names = list(tables) if changed is None else affected(self._folder, tables, files)
        wanted = [
            name for name in tables if name in names or name in self._failed or tables[name] != self._tables.get(name)
        ]
        gone = [name for name in self._tables if name not in tables]
        self._tables = tables
        for name in gone:
            self._client.delete(name)
        if not wanted:
            return []
        table = manifest.read_build(self._folder)
        with pack(self._folder) as package:
            code = self._client.upload_package(package)
        uploaded = Uploaded(self._client, self._folder, Wishes(), table=table, code=code, told=self._told)
        outcomes = [self._one(name, tables[name], uploaded) for name in wanted]
        self._failed = {one.name for one in outcomes if one.fault is not None}
        return outcomes

    def _one(self, name: str, table: dict[str, Any], uploaded: Uploaded) -> Outcome:
        wanted = dict(table)
        if self._public:
            wanted.setdefault("access", "public")
        try:
            return Outcome(name=name, function=self._client.deploy(name, uploaded.document(wanted)))
        except Fault as fault:
            return Outcome(name=name, fault=fault)


def _greet(node: TemporaryNode, screen: Screen, outcomes: list[Outcome], *, host: str, browse: bool) -> None:
    with node.client() as client:
        level = str(client.status().get("gateway", {}).get("level", ""))
    urls = {one.name: reachable(one.function["url"], host) + "/" for one in outcomes if one.function}
    screen.event("ready", urls=urls, level=level)
    width = max(map(len, urls), default=0)
    screen.line()
    for name, url in urls.items():
        screen.line((f"  {name:<{width}}  ", "cyan"), (url, "bold cyan"))
    if host not in LOOPBACK:
        screen.warn("everybody who reaches these addresses may call them")
    if level == "process":
        screen.warn("they are not isolated here (`wisp doctor --fix` says what would change that)")
    keys = "r deploys again, q ends (each with Enter)" if screen.terminal else "Ctrl-C ends"
    screen.line((f"  a save deploys what it changes; {keys}", "dim"))
    screen.line()
    if browse and urls:
        import webbrowser

        webbrowser.open(next(iter(urls.values())))
