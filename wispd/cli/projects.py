"""From a folder, a file or a zip to live functions: upload, build, deploy. `wisp deploy` and `wisp dev` are this."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from wispd.base.errors import Fault
from wispd.cli import manifest
from wispd.cli.naming import app_name, default_name
from wispd.cli.output import note
from wispd.cli.sources import Found
from wispd.client import builds
from wispd.client.node import Json, NodeClient
from wispd.client.packing import pack

# Files that name dependencies, as the node looks for them (wispd/control/buildsource.py).
SOURCES: Final = frozenset({"uv.lock", "pylock.toml", "requirements.txt", "pyproject.toml"})
_INLINE: Final = re.compile(rb"^# /// script\s*$", re.MULTILINE)


class Wishes(Struct, frozen=True, kw_only=True):
    """What the caller wants besides what the project says. `flags`: a function's document, laid over the manifest's.

    `dependencies`: the file that names them, "none" for no dependencies, "" for what the manifest says or is found.
    `default_name`: for a project without a manifest; "": made of its path. `alias` is pointed at the version, unless
    `canary` says how `live` moves to it.
    """

    name: str | None = None
    default_name: str = ""
    flags: Mapping[str, Any] = {}
    layer: Path | None = None
    dependencies: str = ""
    refresh: bool = False
    trial: bool = True
    alias: str = "live"
    canary: Mapping[str, Any] | None = None


def deploy_project(client: NodeClient, path: Path, wishes: Wishes, *, told: builds.Told) -> list[Json]:
    """Deploy all functions of a project, or the one that is wished for; returns them as the node shows them.

    `told` hears what builds do. Raises: `Fault`, with nothing of the failed function changed.
    """
    declared = manifest.read(path) if path.is_dir() else {}
    table = manifest.read_build(path) if path.is_dir() else manifest.BuildTable()
    chosen = chosen_functions(path, declared, wishes.name, wishes.default_name)
    with pack(path) as package:
        code = client.upload_package(package)
    project = Uploaded(client, path, wishes, table=table, code=code, told=told)
    return [_declared(client, function, project, own) for function, own in chosen.items()]


def _declared(client: NodeClient, function: str, project: Uploaded, own: dict[str, Any]) -> Json:
    """Deploy one function of a manifest; what the node refuses of it is told with the line."""
    try:
        return _placed(client, function, project.document(own), project.wishes)
    except Fault as fault:
        from_flags = str(fault.facts.get("key", "")).partition(".")[0] in project.wishes.flags
        raise (fault if from_flags else manifest.placed(fault, project.path, function, own)) from fault


def deploy_address(client: NodeClient, source: Found, wishes: Wishes, *, told: builds.Told) -> list[Json]:
    """Deploy the zip at an address, which the node fetches. It may hold anything but a manifest that counts."""
    name = wishes.name or default_name(Path(source.name))
    code = builds.fetch_package(client, source.url, source.sha256)
    project = Uploaded(client, Path(), wishes, table=manifest.BuildTable(), code=code, told=told)
    return [_placed(client, name, project.document({}, remote=True), wishes)]


def _placed(client: NodeClient, function: str, document: Json, wishes: Wishes) -> Json:
    """Deploy one function where it was wished for."""
    if wishes.canary is None:
        return client.deploy(function, document, alias=wishes.alias)
    made = client.make_version(function, document)
    if made["live"]["number"] != made["version"]:  # else it is the first one, which is live already
        made["rollout"] = client.start_rollout(function, dict(wishes.canary) | {"version": made["version"]})
    return made


class Uploaded:
    """A project whose code is on the node, and what was built and uploaded for its functions so far."""

    def __init__(
        self,
        client: NodeClient,
        path: Path,
        wishes: Wishes,
        *,
        table: manifest.BuildTable,
        code: str,
        told: builds.Told,
    ) -> None:
        self._client = client
        self.path = path
        self.wishes = wishes
        self._table = table
        self._code = code
        self._told = told
        self._layers: dict[Path, str] = {}
        self._built: dict[tuple[str, str], Json] = {}

    def document(self, own: dict[str, Any], *, remote: bool = False) -> Json:
        """Return the document of one function, everything it refers to built and uploaded.

        `remote`: what the code holds can't be seen from here, so the node is asked to build in any case.
        """
        wanted = merged(own, dict(self.wishes.flags))
        named = wanted.pop("dependencies", "")
        folder = self.wishes.layer or (self.path / wanted["layer"] if wanted.get("layer") else None)
        wanted.pop("layer", None)
        dependencies = self.wishes.dependencies or ("none" if named is False else named) or self._table.dependencies
        if folder is not None:
            if dependencies not in ("", "none"):
                raise Fault(
                    "invalid_argument", f"both a layer ({folder}) and dependencies ({dependencies}) are given"
                )
            dependencies = "none"
        named_file = dependencies not in ("", "none")
        built: Json = {}
        if remote or self._table.run or named_file or self._found(dependencies):
            built = self._build(dependencies, str(wanted.get("runtime") or "python3"))
        wanted["code"] = built.get("code") or self._code
        if folder is not None:
            wanted["layer"] = self._layers.get(folder) or self._layers.setdefault(folder, self._upload(folder))
        elif built.get("layer"):
            wanted["layer"] = built["layer"]
        if not self.wishes.trial:
            wanted["trial"] = False
        return wanted

    def _build(self, dependencies: str, runtime: str) -> Json:
        key = (dependencies, runtime)
        if key not in self._built:
            document = {
                "code": self._code,
                "dependencies": dependencies,
                "runtime": runtime,
                "run": [list(command) for command in self._table.run],
                "refresh": self.wishes.refresh,
            }
            self._built[key] = builds.build(self._client, document, self._told)
        return self._built[key]

    def _found(self, dependencies: str) -> bool:
        """Is there, on the face of it, a file that names dependencies? The node looks closer."""
        if dependencies == "none":
            return False
        if self.path.is_dir():
            present = {entry.name for entry in self.path.iterdir() if entry.is_file()}
            scripts = [self.path / name for name in present if name.endswith(".py")]
            return bool(present & SOURCES) or any(_declares(script) for script in scripts)
        if self.path.suffix == ".zip":
            try:
                with zipfile.ZipFile(self.path) as archive:
                    return bool(SOURCES.intersection(archive.namelist()))
            except (OSError, zipfile.BadZipFile):
                return False  # the node has refused it by now
        return _declares(self.path)

    def _upload(self, folder: Path) -> str:
        if not folder.is_dir():
            raise Fault("not_found", f"the layer {folder} is not a folder")
        note(f"uploading the layer {folder}")
        with pack(folder, layer=True) as package:
            return self._client.upload_layer(package)


def chosen_functions(
    path: Path, declared: dict[str, dict[str, Any]], name: str | None, default: str = ""
) -> dict[str, dict[str, Any]]:
    """Return which functions to deploy, with what the manifest says of each."""
    if not declared:
        return {name or app_name(path) or default or default_name(path): {}}
    if name is None:
        return declared
    if name not in declared:
        raise Fault(
            "invalid_argument", f"{path / manifest.FILE_NAME} has no function {name!r}: {', '.join(declared)}"
        )
    return {name: declared[name]}


def merged(table: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest's table with the flags over it, key by key in nested tables."""
    result = dict(table)
    for key, value in flags.items():
        below = result.get(key)
        result[key] = below | value if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def _declares(script: Path) -> bool:
    with script.open("rb") as file:
        return _INLINE.search(file.read(65_536)) is not None
