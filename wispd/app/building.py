"""Builds put together: settings, caches, the fetcher, the gateway's sandboxes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import uv

from wispd.adapters.fetch.addresses import Judge
from wispd.adapters.fetch.http import HttpFetcher
from wispd.base.errors import Fault
from wispd.control.builder import Builder
from wispd.control.buildinputs import Inputs
from wispd.control.buildledger import Ledger
from wispd.control.buildmaking import Making
from wispd.control.buildstage import Stages
from wispd.control.fetched import Fetched
from wispd.control.packaging import Packages
from wispd.model.build import Index

HELP_S: Final = 10.0
_DEFAULT_INDEX: Final = re.compile(r"--default-index .{0,200}?<(https?://[^>\s]+)>")


def make_builder(
    index: Index,
    stores: tuple[Packages, Packages],
    *,
    fetcher: HttpFetcher,
    data_dir: Path,
    stages: Stages,
    ledger: Ledger,
) -> Builder:
    """Return the builder of a node. `stores`: code and layers."""
    inputs = Inputs(data_dir, stores[0], find_uv=find_uv)
    inputs.clear()
    fetched = Fetched(data_dir, fetcher, bytes_max=index.cache_bytes, offline=index.offline)
    making = Making(index, stores, inputs=inputs, fetched=fetched, fetcher=fetcher, stages=stages)
    return Builder(making, ledger, stores=stores, index=index)


def make_fetcher(index: Index) -> HttpFetcher:
    """Return what fetches for builds. Raises: `Fault("invalid_argument")` for an allow entry that is none."""
    known: list[str] = []

    def hosts() -> list[str]:
        if not known:
            known.extend([index.index_url or default_index(), *index.extra_index_urls])
        return [url for url in known if url]

    try:
        judge = Judge(index.allow, hosts)
    except ValueError as error:
        raise Fault("invalid_argument", f"[build] allow: {error}") from error
    return HttpFetcher(judge, ca_file=index.ca_file)


def find_uv() -> str:
    """Return the path of the installer's program. Raises `OSError` when the installation has none."""
    return uv.find_uv_bin()


def default_index() -> str:
    """Return the index that the installer asks when none is named, as its own help says; "" when it does not say.

    Its addresses count as the operator's choice: where a network serves it by a private mirror, builds still work.
    """
    try:
        command = [find_uv(), "pip", "compile", "--help"]
        told = subprocess.run(command, env={}, capture_output=True, check=True, timeout=HELP_S)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    found = _DEFAULT_INDEX.search(" ".join(told.stdout.decode("utf-8", "replace").split()))
    return found[1] if found else ""
