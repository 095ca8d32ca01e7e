"""Build: from a code tree's dependency files and steps to the layer and the code that are deployed."""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

BuildStatus = Literal["running", "done", "failed"]
SourceKind = Literal["requirements", "project", "uv_lock", "pylock", "script"]
ArtifactKind = Literal["wheel", "sdist", "local"]

SHARED: Final = ""  # the scope of what every namespace may use


class BuildRequest(Struct, frozen=True, kw_only=True):
    """What is to be built. `dependencies` "" means: whatever file is found; "none": no dependencies.

    `code` is the digest of the tree that holds the files; `run` are argument lists; `refresh` resolves anew.
    """

    code: str
    dependencies: str = ""
    runtime: str = "python3"
    run: tuple[tuple[str, ...], ...] = ()
    refresh: bool = False


class Source(Struct, frozen=True, kw_only=True):
    """The file that names the dependencies. `local`: it refers to folders beside it, which are built too."""

    kind: SourceKind
    path: str
    local: bool = False


class Artifact(Struct, frozen=True, kw_only=True):
    """One distribution of a lock: a file by URL and hash, a file of the node's own, or a folder of the code."""

    name: str
    version: str
    kind: ArtifactKind
    filename: str  # of a folder: its path in the code tree
    url: str = ""  # "": found locally
    sha256: str = ""
    size_bytes: int = 0


class Build(Struct, frozen=True, kw_only=True):
    """One build. Digests are "" where nothing was made."""

    id: str  # bld_…
    namespace: str
    status: BuildStatus
    created_us: int
    finished_us: int = 0
    source: str = ""
    code: str = ""
    layer: str = ""
    packages: tuple[str, ...] = ()  # name==version
    cached: bool = False
    message: str = ""


class Index(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[build]` of a node's settings: where packages come from and what a build may use."""

    index_url: str = ""
    """The package index; empty: the installer's own default."""
    extra_index_urls: tuple[str, ...] = ()
    """More indexes, asked first."""
    find_links: tuple[str, ...] = ()
    """Folders of this machine with wheels and source archives."""
    ca_file: str = ""
    """Certificates of authorities to trust, PEM; empty: the system's."""
    offline: bool = False
    """Use only find_links and what was fetched before."""
    allow: tuple[str, ...] = ()
    """Addresses a build may reach though they are private, such as 10.0.0.5:443."""
    timeout_s: float = 600.0
    """One stage of a build."""
    memory_bytes: int = 2 << 30
    """For the processes of a build, beside its disk."""
    disk_bytes: int = 2 << 30
    """What a build may write; it lies in memory."""
    at_once: int = 2
    """Builds running at a time; more wait."""
    cache_bytes: int = 5 << 30
    """Fetched packages kept; those unused longest go first."""
