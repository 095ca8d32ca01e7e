"""What the sandbox is told to do: the steps of each stage of a build. Pure.

A stage is one instance: *resolve* (dependency file → lock), *install* (lock and fetched files → layer), *run* (the
user's own commands over a copy of the code → code). `{app}`, `{work}`, `{python}` and `{layer}` are places that only
the sandbox knows; see wisp/runtime/building.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from wispd.model.build import Artifact, Index, Source

LOCK: Final = "pylock.wisp.toml"  # no name of the user's own: the installer would read it as what to prefer
CERTIFICATES: Final = "certificates.pem"
_PROJECT: Final = "{work}/project"
_UV: Final = "{app}/uv"
_THREADS: Final = "2"
_UNCOMPILED: Final = r"/tests?/"  # half of what scientific packages bring, and never imported
_ENVIRONMENT: Final = {
    "HOME": "{work}/home",
    "TMPDIR": "{work}/tmp",
    "PATH": "{work}/bin:/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
    "SOURCE_DATE_EPOCH": "315532800",  # 1980, the oldest date a zip can hold: equal input, equal output
    "UV_CACHE_DIR": "{work}/cache",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_NO_PROGRESS": "1",
    "UV_LINK_MODE": "hardlink",
    "UV_CONCURRENT_BUILDS": "1",
    "UV_CONCURRENT_INSTALLS": _THREADS,
    "UV_CONCURRENT_DOWNLOADS": "16",
    "TOKIO_WORKER_THREADS": _THREADS,
    "RAYON_NUM_THREADS": _THREADS,
    "NO_COLOR": "1",
}
Step = dict[str, Any]


def encode(steps: Sequence[Step], *, environment: dict[str, str], layer: bool = False) -> str:
    """Return the request as the sandbox takes it."""
    return msgspec.json.encode({"steps": steps, "env": _ENVIRONMENT | environment, "layer": layer}).decode()


def resolve(source: Source, index: Index, *, foreign: bool, held: Collection[str]) -> str:
    """Return the request that resolves a dependency file. `foreign`: source archives may be built for their metadata.

    `held`: paths of the input tree, which has the code as `project`, `uv`, and maybe `links` and `certificates.pem`.
    """
    folder, _, name = source.path.rpartition("/")
    if source.kind == "uv_lock":
        command = ["export", "--frozen", "--no-emit-project", "--no-dev", "--offline", *_python()]
    else:
        command = ["pip", "compile", name, *_python(), *_where(index, held, secret=not foreign)]
        command += [] if foreign else ["--no-build"]
    argv = [_UV, *command, "--format", "pylock.toml", "-o", LOCK, "--no-header", "-q"]
    where = f"{_PROJECT}/{folder}".rstrip("/")
    steps: list[Step] = [
        {"do": "copy", "from": "{app}/project", "to": _PROJECT},
        {"do": "run", "label": f"Resolving {source.path}", "argv": argv, "cwd": where},
        {"do": "send", "root": where, "tree": "lock", "only": LOCK},
    ]
    return encode(steps, environment=_certified(held))


def install(artifacts: Sequence[Artifact], index: Index, *, held: Collection[str]) -> str:
    """Return the request that makes a layer of fetched files. Wheels alone need no network and run nothing."""
    foreign = [one for one in artifacts if one.kind != "wheel"]
    folders = [f"{_PROJECT}/{one.filename}" for one in artifacts if one.kind == "local"]
    network = _where(index, held, secret=False) if foreign else ["--no-index", "--offline", "--no-build"]
    argv = [_UV, "pip", "install", "--target", "{work}/out", "--no-deps", "--no-config", *_python(), *network]
    steps: list[Step] = []
    if folders:
        steps.append({"do": "copy", "from": "{app}/project", "to": _PROJECT})
    label = f"Building {', '.join(one.name for one in foreign)}" if foreign else "Installing"
    steps += [
        {"do": "run", "label": f"{label} ({len(artifacts)} packages)", "argv": [*argv, "{app}/files/*", *folders]},
        {"do": "run", "label": "Compiling", "argv": _compiling("{work}/out"), "may_fail": True},
        {"do": "send", "label": "Storing", "root": "{work}/out", "tree": "layer"},
    ]
    return encode(steps, environment=_certified(held))


def run(commands: Sequence[Sequence[str]], *, layer: bool) -> str:
    """Return the request that runs the user's own commands over a copy of the code, which comes back."""
    steps: list[Step] = [{"do": "copy", "from": "{app}", "to": "{work}/code"}]
    for command in commands:
        steps.append(
            {"do": "run", "label": f"Running {' '.join(command)[:200]}", "argv": list(command), "cwd": "{work}/code"}
        )
    steps.append({"do": "send", "root": "{work}/code", "tree": "code"})
    environment = {"PYTHONPATH": "{layer}", "PATH": "{layer}/bin:" + _ENVIRONMENT["PATH"]} if layer else {}
    return encode(steps, environment=environment, layer=layer)


def _python() -> list[str]:
    return ["--python", "{python}"]


def _compiling(folder: str) -> list[str]:
    """Compile to bytecode that is valid whatever the files' times are, as trees keep none."""
    options = [
        "-q",
        "-j",
        _THREADS,
        "-x",
        _UNCOMPILED,
        "--invalidation-mode",
        "unchecked-hash",
        "-s",
        folder,
        "-p",
        "/layer",
    ]
    return ["{python}", "-I", "-S", "-m", "compileall", *options, folder]


def _where(index: Index, held: Collection[str], *, secret: bool) -> list[str]:
    """Return the options that name the indexes. `secret`: with the credentials in their addresses."""
    shown = (lambda url: url) if secret else without_credentials
    options: list[str] = []
    if index.index_url:
        options += ["--default-index", shown(index.index_url)]
    for url in index.extra_index_urls:
        options += ["--index", shown(url)]
    if any(path.startswith("links/") for path in held):
        options += ["--find-links", "{app}/links"]
    if index.offline:
        options += ["--offline", "--no-index"]
    return options


def without_credentials(url: str) -> str:
    """Return an address without the user and password in it."""
    scheme, mark, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return scheme + mark + host.rpartition("@")[2] + slash + path


def _certified(held: Collection[str]) -> dict[str, str]:
    return {"SSL_CERT_FILE": f"{{app}}/{CERTIFICATES}"} if CERTIFICATES in held else {}
