"""Where a project comes from."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from wispd.base.errors import Fault
from wispd.cli.sources import git_environment, opened, parse_git

TOKEN = "very-secret-token"


def test_a_git_address_is_taken_apart() -> None:
    found = parse_git("git+https://git.example.org/team/app.git@v1.2#subdirectory=services/api")
    assert (found.url, found.ref, found.subdirectory, found.name) == (
        "https://git.example.org/team/app.git",
        "v1.2",
        "services/api",
        "api",
    )
    assert parse_git("git+ssh://git@git.example.org/team/app.git").url == "ssh://git@git.example.org/team/app.git"
    assert parse_git("git+https://git.example.org/team/app.git").name == "app"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("git+ext://sh -c id", "one of https"),
        ("git+https://user:secret@git.example.org/app", "WISP_GIT_TOKEN"),
        ("git+https://git.example.org/app@--upload-pack=evil", "no name of a branch"),
        ("git+https://git.example.org/app#egg=x", "subdirectory"),
        ("git+https://git.example.org/app#subdirectory=../..", "leaves"),
        ("https://git.example.org/app.zip", "sha256"),
        ("https://git.example.org/app.zip#sha256=abc", "sha256"),
        ("s3://bucket/key.zip", "sha256"),
    ],
)
def test_a_wrong_address_says_why(source: str, why: str) -> None:
    with pytest.raises(Fault, match=why) as caught, opened(source):
        pass
    assert caught.value.code == "invalid_argument"
    assert "secret" not in caught.value.message


def test_the_token_is_for_one_host_and_follows_no_redirect() -> None:
    environment = git_environment("https://git.example.org/team/app.git", TOKEN)
    options = {
        environment[f"GIT_CONFIG_KEY_{number}"]: environment[f"GIT_CONFIG_VALUE_{number}"]
        for number in range(int(environment["GIT_CONFIG_COUNT"]))
    }
    header = options["http.https://git.example.org/.extraHeader"]
    assert base64.b64decode(header.split()[-1]).decode().endswith(TOKEN)
    assert options["http.followRedirects"] == "false"
    assert TOKEN not in str(git_environment("http://git.example.org/app", TOKEN))
    assert TOKEN not in str(git_environment("ssh://git.example.org/app", TOKEN))


def repository(folder: Path) -> str:
    folder.mkdir()
    (folder / "api").mkdir()
    (folder / "api/main.py").write_text("VERSION = 1\n")

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "one")
    git("tag", "v1")
    (folder / "api/main.py").write_text("VERSION = 2\n")
    git("commit", "-qam", "two")
    return f"git+file://{folder}"


def test_a_ref_and_a_subdirectory_of_a_repository(tmp_path: Path) -> None:
    source = repository(tmp_path / "app")
    with opened(f"{source}@v1#subdirectory=api") as found:
        assert (found.path / "main.py").read_text() == "VERSION = 1\n"
        assert found.name == "api"
        left = found.path
    assert not left.exists()
    with opened(source) as found:
        assert (found.path / "api/main.py").read_text() == "VERSION = 2\n"
    with pytest.raises(Fault, match="can't be fetched"), opened(f"{source}@v9"):
        pass
    with pytest.raises(Fault, match="no folder"), opened(f"{source}#subdirectory=web"):
        pass


def test_a_subdirectory_that_is_a_link_out_is_refused(tmp_path: Path) -> None:
    source = repository(tmp_path / "app")
    (tmp_path / "app/out").symlink_to("/etc")
    subprocess.run(["git", "-C", str(tmp_path / "app"), "add", "."], check=True)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", str(tmp_path / "app"), *identity, "commit", "-qm", "three"], check=True)
    with pytest.raises(Fault, match="no folder"), opened(f"{source}#subdirectory=out"):
        pass


def test_a_path_is_left_where_it_is_and_a_url_is_left_to_the_node(tmp_path: Path) -> None:
    with opened(str(tmp_path)) as found:
        assert found.path == tmp_path
    sha256 = hashlib.sha256(b"x").hexdigest()
    with opened(f"https://a.example.org/app.zip#sha256={sha256}") as found:
        assert (found.url, found.sha256, found.name) == ("https://a.example.org/app.zip", sha256, "app")


def test_an_object_of_s3_is_held_to_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys
    from types import ModuleType, SimpleNamespace

    package = tmp_path / "app.zip"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("main.py", "def handle(): ...")

    class Body(io.BytesIO):
        def iter_chunks(self, size: int) -> list[bytes]:
            return [self.read()]

    asked: list[tuple[str, str]] = []

    def get_object(*, Bucket: str, Key: str) -> dict[str, Body]:
        asked.append((Bucket, Key))
        return {"Body": Body(package.read_bytes())}

    modules = {name: ModuleType(name) for name in ("botocore", "botocore.exceptions", "botocore.session")}
    modules["botocore.exceptions"].BotoCoreError = modules["botocore.exceptions"].ClientError = OSError  # type: ignore[attr-defined]
    session = SimpleNamespace(create_client=lambda _: SimpleNamespace(get_object=get_object))
    modules["botocore.session"].get_session = lambda: session  # type: ignore[attr-defined]
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    sha256 = hashlib.sha256(package.read_bytes()).hexdigest()
    with opened(f"s3://bucket/team/app.zip#sha256={sha256}") as found:
        assert found.path.read_bytes() == package.read_bytes()
    assert asked == [("bucket", "team/app.zip")]
    with pytest.raises(Fault, match="SHA-256"), opened(f"s3://bucket/team/app.zip#sha256={'0' * 64}"):
        pass
