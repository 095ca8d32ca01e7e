"""Options that most commands share, and the client that they lead to."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from wispd.app import settings
from wispd.base.errors import Fault
from wispd.cli.grouping import nearest
from wispd.client.node import NodeClient, local
from wispd.client.trust import pinned, trust


class Where(Struct, frozen=True, kw_only=True):
    """Which node and namespace a command is about, and how it prints."""

    data_dir: str
    namespace: str
    as_json: bool
    authority: str = ""  # file of certificates that may have signed a remote node's

    def client(self) -> NodeClient:
        """Return a client: of WISP_URL where it is set, else of the node on the data directory."""
        url, token = settings.remote()
        if not url or self.data_dir:
            path = Path(self.data_dir or settings.default_data_dir())
            url, token = local(path)
            return NodeClient(url, token, namespace=self.namespace, verify=trust(url, pinned=pinned(path)))
        verify = trust(url, authority=self.authority or settings.certificate_authority())
        return NodeClient(url, token, namespace=self.namespace, verify=verify)


def node_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --data, --namespace and --json; the command gets them as `where`."""

    @click.option(
        "--data", "data_dir", default="", help="The node's data directory (else WISP_DATA, or the usual one)."
    )
    @click.option("-n", "--namespace", default="default", show_default=True, help="The namespace.")
    @click.option("--ca", "authority", default="", help="Who signed a remote node's certificate (else WISP_CA).")
    @click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
    @functools.wraps(command)
    def run(data_dir: str, namespace: str, authority: str, as_json: bool, **given: Any) -> Any:
        where = Where(data_dir=data_dir, namespace=namespace, as_json=as_json, authority=authority)
        return command(where, **given)

    return run


@contextlib.contextmanager
def suggesting(client: NodeClient, name: str) -> Iterator[None]:
    """Add the nearest function to a `not_found` about a function."""
    try:
        yield
    except Fault as fault:
        if fault.code != "not_found":
            raise
        names = []
        with contextlib.suppress(Fault):  # a token that may invoke only does not see them
            names = [function["name"] for function in client.functions()]
        if name in names:  # something else of it was not found
            raise
        near = nearest(name, names)
        hint = f"did you mean {near}?" if near else "`wisp list` shows what there is"
        raise Fault("not_found", f"there is no function {name!r}; {hint}", function=name) from fault
