"""Where a project comes from: a path of this machine, a git repository, an object of S3.

Git and S3 are reached from here, with the user's own rights: the node never holds a credential of theirs. What comes
over plain https has none, so the node fetches that itself (wispd/client/builds.py).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

from wispd.app import settings
from wispd.base.errors import Fault
from wispd.cli.output import note

GIT_S: Final = 300.0
OBJECT_BYTES_MAX: Final = 50 * 1024 * 1024
_SCHEMES: Final = ("https", "ssh", "file", "http")
_REF: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Found(Struct, frozen=True, kw_only=True):
    """A project. `url` (with `sha256`) is for the node to fetch; else it is at `path`. `name`: what it is called."""

    path: Path = Path()
    url: str = ""
    sha256: str = ""
    name: str = ""


class GitSource(Struct, frozen=True, kw_only=True):
    """`git+https://host/repo@ref#subdirectory=x`, taken apart."""

    url: str
    ref: str
    subdirectory: str
    name: str


@contextlib.contextmanager
def opened(source: str) -> Iterator[Found]:
    """Yield the project; what was fetched for it is deleted afterwards.

    Raises: `Fault` `invalid_argument` (what is wrong with the address), `unavailable` (it could not be fetched).
    """
    if source.startswith("git+"):
        with tempfile.TemporaryDirectory(prefix="wisp-git-") as folder:
            yield _cloned(parse_git(source), Path(folder))
    elif source.startswith(("https://", "http://")):
        url, sha256 = _hashed(source)
        yield Found(url=url, sha256=sha256, name=_stem(urlsplit(url).path))
    elif source.startswith("s3://"):
        with tempfile.TemporaryDirectory(prefix="wisp-s3-") as folder:
            yield _object(source, Path(folder))
    else:
        yield Found(path=Path(source).absolute())


def parse_git(source: str) -> GitSource:
    """Take a git address apart. Raises: `Fault("invalid_argument")`."""
    parts = urlsplit(source.removeprefix("git+"))
    if parts.scheme not in _SCHEMES or (not parts.netloc and parts.scheme != "file"):
        raise _wrong(source, f"it must be git+ and one of {', '.join(_SCHEMES)}")
    if parts.password or (parts.username and parts.scheme != "ssh"):
        raise _wrong(_hidden(source), "it holds a credential, which others could see; put it into WISP_GIT_TOKEN")
    path, _, ref = parts.path.partition("@")
    if ref and not _REF.fullmatch(ref):
        raise _wrong(source, f"{ref[:80]!a} is no name of a branch, tag or commit")
    wanted = parse_qs(parts.fragment, keep_blank_values=True)
    if set(wanted) - {"subdirectory"}:
        raise _wrong(source, "behind # only subdirectory=… is known")
    subdirectory = wanted.get("subdirectory", [""])[0].strip("/")
    if ".." in subdirectory.split("/"):
        raise _wrong(source, "the subdirectory leaves the repository")
    name = (subdirectory or path.rstrip("/").removesuffix(".git")).rpartition("/")[2]
    return GitSource(url=f"{parts.scheme}://{parts.netloc}{path}", ref=ref, subdirectory=subdirectory, name=name)


def git_environment(url: str, token: str) -> dict[str, str]:
    """Return the variables of a git command: no prompts, no redirect to elsewhere, the token for this host alone.

    The token is in the environment of the git process, never on its command line and never in a file.
    """
    options = {"protocol.allow": "never", "credential.interactive": "false"}
    options |= {f"protocol.{scheme}.allow": "always" for scheme in _SCHEMES}
    parts = urlsplit(url)
    if token and parts.scheme == "https":
        credential = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        options["http.followRedirects"] = "false"
        options[f"http.https://{parts.netloc}/.extraHeader"] = f"Authorization: Basic {credential}"
    found = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_COUNT": str(len(options))}
    for number, (key, value) in enumerate(options.items()):
        found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return found


def _cloned(source: GitSource, folder: Path) -> Found:
    note(f"fetching {source.url}{'@' + source.ref if source.ref else ''} …")
    environment = settings.child_environment(git_environment(source.url, settings.git_token()))
    tree = folder / "tree"
    for arguments in (
        ["init", "-q", str(tree)],
        ["-C", str(tree), "fetch", "-q", "--depth", "1", "--no-tags", "--", source.url, source.ref or "HEAD"],
        ["-C", str(tree), "checkout", "-q", "--detach", "FETCH_HEAD"],
    ):
        _git(arguments, environment, source.url)
    found = tree / source.subdirectory if source.subdirectory else tree
    if not found.resolve().is_relative_to(tree.resolve()) or not found.is_dir():
        raise Fault("not_found", f"{source.url} has no folder {source.subdirectory!r}")
    return Found(path=found, name=source.name)


def _git(arguments: list[str], environment: dict[str, str], url: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603  (git, with arguments that were checked)
            ["git", *arguments],  # noqa: S607  (the user's own git)
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise Fault("unavailable", "git is not installed here; deploy a folder or a zip instead") from error
    except subprocess.TimeoutExpired as error:
        raise Fault("unavailable", f"{url} was not fetched within {GIT_S:.0f} s") from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        why = lines[-1] if lines else f"git ended with {done.returncode}"
        hint = "; a private repository needs WISP_GIT_TOKEN" if "uthentication" in why or "Username" in why else ""
        raise Fault("unavailable", f"{url} can't be fetched: {why}{hint}")


def _object(source: str, folder: Path) -> Found:
    url, sha256 = _hashed(source)
    parts = urlsplit(url)
    if not parts.netloc or not parts.path.strip("/"):
        raise _wrong(source, "it must be s3://bucket/key")
    try:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.session import get_session
    except ImportError as error:
        raise Fault("unavailable", "s3:// needs more: install wisp with its extra, wisp[s3]") from error
    target = folder / "package.zip"
    found = hashlib.sha256()
    try:
        answer = get_session().create_client("s3").get_object(Bucket=parts.netloc, Key=parts.path.lstrip("/"))
        with target.open("wb") as file:
            for piece in answer["Body"].iter_chunks(1 << 18):
                found.update(piece)
                file.write(piece)
                if file.tell() > OBJECT_BYTES_MAX:
                    raise Fault("payload_too_large", f"{url} is more than {OBJECT_BYTES_MAX} bytes")
    except (BotoCoreError, ClientError) as error:
        raise Fault("unavailable", f"{url} can't be fetched: {error}") from error
    if found.hexdigest() != sha256:
        raise Fault("conflict", f"{url} has the SHA-256 {found.hexdigest()}, not {sha256}")
    return Found(path=target, name=_stem(parts.path))


def _hashed(source: str) -> tuple[str, str]:
    """Return (address, SHA-256), which must be there."""
    url, _, fragment = source.partition("#")
    sha256 = fragment.removeprefix("sha256=").lower()
    if not fragment.startswith("sha256=") or not _SHA256.fullmatch(sha256):
        raise _wrong(source, "it must end in #sha256= and the 64 digits of the zip's SHA-256")
    return url, sha256


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".zip")


def _hidden(source: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", source)


def _wrong(source: str, why: str) -> Fault:
    return Fault("invalid_argument", f"{source[:200]} can't be deployed: {why}")
