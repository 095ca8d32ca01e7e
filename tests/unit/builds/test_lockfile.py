"""From a lock's text to what is installed."""

from __future__ import annotations

import pytest

from wispd.base.errors import Fault
from wispd.control.lockfile import Target, layer_key, read_lock, request_key

SHA = "a" * 64
HEAD = 'lock-version = "1.0"\ncreated-by = "test"\n'


def lock(*packages: str) -> bytes:
    return (HEAD + "".join(f"[[packages]]\n{package}\n" for package in packages)).encode()


def wheel(name: str, tag: str = "py3-none-any", *, version: str = "1.0", more: str = "") -> str:
    url = f"https://files.example.org/{name}-{version}-{tag}.whl"
    file = f'{{ url = "{url}", hashes = {{ sha256 = "{SHA}" }} }}'
    return f'name = "{name}"\nversion = "{version}"\n{more}\nwheels = [{file}]'


def test_the_wheel_that_fits_is_chosen() -> None:
    target = Target(11)
    own = next(tag for tag in target.tags if tag.interpreter == "cp311" and tag.abi == "cp311")
    fitting = f"cp311-cp311-{own.platform}"
    urls = ", ".join(
        f'{{ url = "https://files.example.org/native-1.0-{tag}.whl", size = 5, hashes = {{ sha256 = "{SHA}" }} }}'
        for tag in (f"cp310-cp310-{own.platform}", "py3-none-any", fitting, "cp311-cp311-win_amd64")
    )
    found = read_lock(lock(f'name = "native"\nversion = "1.0"\nwheels = [{urls}]'), target)
    assert [(one.filename, one.size_bytes) for one in found] == [(f"native-1.0-{fitting}.whl", 5)]


def test_packages_for_other_systems_are_left_out() -> None:
    content = lock(wheel("here"), wheel("there", more="marker = \"sys_platform == 'win32'\""))
    assert [one.name for one in read_lock(content, Target(11))] == ["here"]


def test_markers_see_the_python_that_is_built_for() -> None:
    content = lock(wheel("old", more="marker = \"python_version < '3.12'\""))
    assert [one.name for one in read_lock(content, Target(11))] == ["old"]
    assert read_lock(content, Target(12)) == []


def test_a_source_archive_is_taken_where_no_wheel_fits() -> None:
    sdist = f'sdist = {{ url = "https://files.example.org/pure-1.0.tar.gz", hashes = {{ sha256 = "{SHA}" }} }}'
    found = read_lock(lock(f'name = "pure"\nversion = "1.0"\n{sdist}'), Target(11))
    assert [(one.kind, one.filename) for one in found] == [("sdist", "pure-1.0.tar.gz")]


def test_no_wheel_for_this_python_says_what_to_do() -> None:
    with pytest.raises(Fault, match="another --runtime") as caught:
        read_lock(lock(wheel("native", "cp27-cp27m-win32")), Target(11))
    assert caught.value.facts["reason"] == "no_wheel"


@pytest.mark.parametrize(
    ("package", "why"),
    [
        ('name = "x"\nversion = "1"\nwheels = [{ url = "https://a.org/x-1-py3-none-any.whl", hashes = {} }]', "hash"),
        (
            f'name = "x"\nwheels = [{{ url = "ftp://a.org/x-1-py3-none-any.whl", hashes = {{ sha256 = "{SHA}" }} }}]',
            "http",
        ),
        (
            f'name = "x"\nsdist = {{ url = "https://a.org/evil.exe", hashes = {{ sha256 = "{SHA}" }} }}',
            "neither|valid",
        ),
        ('name = "x"\ndirectory = { path = "../outside" }', "outside"),
        ('name = "x"\ndirectory = { path = "/etc" }', "outside"),
        ('name = "x"\nvcs = { type = "git", url = "https://a.org/x", commit-id = "abc" }', "version control"),
    ],
)
def test_what_can_t_be_checked_is_refused(package: str, why: str) -> None:
    with pytest.raises(Fault, match=why) as caught:
        read_lock(lock(package), Target(11))
    assert caught.value.code == "build_failed"


@pytest.mark.parametrize("content", [b"", b"\xff", b"not toml at all [", HEAD.encode() + b"[[packages]]\nname = 5\n"])
def test_what_is_no_lock_is_refused(content: bytes) -> None:
    with pytest.raises(Fault, match="lock"):
        read_lock(content, Target(11))


def test_folders_of_the_code_are_seen_from_the_code() -> None:
    found = read_lock(lock('name = "mine"\ndirectory = { path = "./lib" }'), Target(11), folder="services/api")
    assert [(one.kind, one.filename) for one in found] == [("local", "services/api/lib")]


def test_keys_are_equal_for_equal_content_only() -> None:
    one, other = read_lock(lock(wheel("a")), Target(11)), read_lock(lock(wheel("a", version="2.0")), Target(11))
    assert layer_key(one, Target(11)) == layer_key(list(one), Target(11))
    assert layer_key(one, Target(11)) != layer_key(other, Target(11))
    assert layer_key(one, Target(11)) != layer_key(one, Target(12))
    assert request_key({"r": b"x"}, Target(11), more=[]) != request_key({"r": b"y"}, Target(11), more=[])
    assert request_key({"r": b"x"}, Target(11), more=["a", "b"]) != request_key({"r": b"x"}, Target(11), more=["ab"])
