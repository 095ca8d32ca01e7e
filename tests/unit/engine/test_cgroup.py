"""Control groups of both versions on a plain directory tree that behaves like cgroupfs where it matters."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wispd.adapters.engine.process import cgroup
from wispd.adapters.engine.process.cgroup import Limits, NoGroups, Places, places
from wispd.adapters.engine.process.cgroup1 import GroupsV1
from wispd.adapters.engine.process.cgroup2 import GroupsV2
from wispd.adapters.engine.process.groups import find_groups, group_name

MIB = 1 << 20
LIMITS = Limits(256 * MIB, 1000, 128)
FILES_2 = {
    "cgroup.type": "domain",
    "cgroup.procs": "",
    "cgroup.controllers": "cpu memory pids",
    "cgroup.subtree_control": "",
    "cgroup.kill": "",
    "memory.max": "max",
    "memory.oom.group": "0",
    "memory.swap.max": "max",
    "memory.events": "low 0\noom 0\noom_kill 0\n",
    "memory.current": "4096",
    "memory.peak": "8192",
    "cpu.max": "max 100000",
    "cpu.stat": "usage_usec 250\nuser_usec 200\n",
    "pids.max": "max",
}
FILES_1 = {
    "cgroup.procs": "",
    "memory.limit_in_bytes": "9223372036854771712",
    "memory.memsw.limit_in_bytes": "9223372036854771712",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 0",
    "memory.usage_in_bytes": "4096",
    "memory.max_usage_in_bytes": "8192",
    "cpu.cfs_quota_us": "-1",
    "cpuacct.usage": "250000",
    "pids.max": "max",
}


def populate(folder: str, files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(folder, name).write_text(text)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in which every new directory gets the files a kernel would put there, and rmdir removes them."""
    make, remove = os.mkdir, os.rmdir

    def mkdir(path: str, mode: int = 0o777, **rest: int) -> None:
        make(path, mode, **rest)
        if str(path).startswith(str(tmp_path)):
            populate(str(path), FILES_2 if "/two" in str(path) else FILES_1)

    def rmdir(path: str) -> None:
        if Path(path, "cgroup.procs").read_text().strip() or any(entry.is_dir() for entry in os.scandir(path)):
            raise OSError("busy")
        for entry in list(os.scandir(path)):
            os.unlink(entry.path)
        remove(path)

    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(cgroup.os, "rmdir", rmdir)
    monkeypatch.setattr(cgroup, "CLEAN_S", 0.0)
    return tmp_path


def text(*parts: object) -> str:
    return Path(*map(str, parts)).read_text()


def test_version_2_limits_one_instance(tree: Path) -> None:
    own = tree / "two"
    os.mkdir(own)
    groups = GroupsV2(str(own), "wisp-x", memory_bytes=1024 * MIB)
    assert groups.controllers == {"memory", "cpu", "pids"}
    assert text(own, "wisp-x/memory.max") == str(1024 * MIB)
    group = groups.create("i1", LIMITS)
    assert group is not None
    place = own / "wisp-x/i1"
    assert text(place, "memory.max") == str(256 * MIB)
    assert text(place, "memory.oom.group")[0] == "1"  # the kernel kills the whole instance by itself
    assert text(place, "cpu.max").startswith("100000 100000")
    assert text(place, "pids.max").startswith("128")
    group.join(99999999)
    assert text(place, "cgroup.procs") == "99999999"
    assert (group.usage_bytes(), group.peak_bytes(), group.cpu_ns()) == (4096, 8192, 250_000)
    assert group.oom_descriptor() == -1


def test_version_2_tells_exhausted_memory(tree: Path) -> None:
    own = tree / "two"
    os.mkdir(own)
    group = GroupsV2(str(own), "wisp-x").create("i1", LIMITS)
    assert group is not None
    assert not group.oom_killed()
    Path(own, "wisp-x/i1/memory.events").write_text("oom 1\noom_kill 2\noom_group_kill 1\n")
    assert group.oom_killed()


def test_version_2_moves_its_own_processes_into_a_leaf(tree: Path) -> None:
    own = tree / "two"
    os.mkdir(own)
    Path(own, "cgroup.procs").write_text("11\n12\n")
    GroupsV2(str(own), "wisp-x")
    assert text(own, "wisp-platform/cgroup.procs")[:2] in ("11", "12")


def test_version_2_without_delegated_controllers_is_none(tree: Path) -> None:
    own = tree / "two"
    os.mkdir(own)
    Path(own, "cgroup.controllers").write_text("cpuset io")
    groups = GroupsV2(str(own), "wisp-x")
    assert groups.controllers == frozenset()
    assert groups.create("i1", LIMITS) is None
    assert not Path(own, "wisp-x").exists()


def test_version_2_writes_only_what_differs(tree: Path) -> None:
    own = tree / "two"
    os.mkdir(own)
    group = GroupsV2(str(own), "wisp-x").create("i1", LIMITS)
    assert group is not None
    for name in ("memory.max", "cpu.max", "pids.max"):
        Path(own, "wisp-x/i1", name).write_text("untouched")
    group.limit(Limits(512 * MIB, 1000, 128))
    assert text(own, "wisp-x/i1/memory.max").startswith(str(512 * MIB))
    assert text(own, "wisp-x/i1/cpu.max") == text(own, "wisp-x/i1/pids.max") == "untouched"


def test_version_2_group_is_killed_before_it_is_removed(tree: Path) -> None:
    own = tree / "two"
    os.mkdir(own)
    group = GroupsV2(str(own), "wisp-x").create("i1", LIMITS)
    assert group is not None
    place = own / "wisp-x/i1"
    place.joinpath("cgroup.procs").write_text("99999999\n")
    assert not group.remove()
    assert text(place, "cgroup.kill") == "1"
    place.joinpath("cgroup.procs").write_text("")
    assert group.remove()
    assert group.remove()  # again is no error
    assert not place.exists()


def one(tree: Path, *controllers: str) -> dict[str, str]:
    found = {}
    for name in controllers:
        os.mkdir(tree / name)
        found[name] = str(tree / name)
    return found


def test_version_1_limits_one_instance_in_every_hierarchy(tree: Path) -> None:
    groups = GroupsV1(one(tree, "memory", "cpu", "cpuacct", "pids"), "wisp-x", memory_bytes=1024 * MIB)
    assert groups.controllers == {"memory", "cpu", "pids"}
    assert text(tree, "memory/wisp-x/memory.limit_in_bytes").startswith(str(1024 * MIB))
    group = groups.create("i1", LIMITS)
    assert group is not None
    assert text(tree, "memory/wisp-x/i1/memory.limit_in_bytes").startswith(str(256 * MIB))
    assert text(tree, "memory/wisp-x/i1/memory.memsw.limit_in_bytes").startswith(str(256 * MIB))
    assert text(tree, "cpu/wisp-x/i1/cpu.cfs_quota_us").startswith("100000")
    assert text(tree, "pids/wisp-x/i1/pids.max").startswith("128")
    group.join(99999999)
    assert {text(tree, name, "wisp-x/i1/cgroup.procs") for name in ("memory", "cpu", "cpuacct", "pids")} == {
        "99999999"
    }
    assert (group.usage_bytes(), group.peak_bytes(), group.cpu_ns()) == (4096, 8192, 250_000)
    assert not group.remove()  # still held
    for name in ("memory", "cpu", "cpuacct", "pids"):
        (tree / name / "wisp-x/i1/cgroup.procs").write_text("")
    assert group.remove()


def test_version_1_counts_kills_of_its_own_group_only(tree: Path) -> None:
    group = GroupsV1(one(tree, "memory"), "wisp-x").create("i1", LIMITS)
    assert group is not None
    control = Path(tree, "memory/wisp-x/i1/memory.oom_control")
    control.write_text("oom_kill_disable 0\nunder_oom 1\noom_kill 0")  # a group above ran out, not this one
    assert not group.oom_killed()
    control.write_text("oom_kill_disable 0\nunder_oom 1\noom_kill 1")
    assert group.oom_killed()


def test_version_1_uses_what_is_writable(tree: Path, tmp_path: Path) -> None:
    parents = one(tree, "memory", "pids")
    parents["cpu"] = "/proc/nowhere"
    assert GroupsV1(parents, "wisp-x").controllers == {"memory", "pids"}


def test_what_a_former_launcher_left_is_removed(tree: Path) -> None:
    parents = one(tree, "memory", "pids")
    left = GroupsV1(parents, group_name("/some/data"))
    left.create("i7", LIMITS)
    groups = find_groups("/some/data", found=Places(parents, ""), clean=True)
    assert groups.controllers == {"memory", "pids"}
    assert not Path(parents["memory"], group_name("/some/data"), "i7").exists()


def test_a_host_without_groups_gives_none() -> None:
    groups = find_groups("/some/data", found=Places({}, ""))
    assert isinstance(groups, NoGroups)
    assert groups.create("i1", LIMITS) is None


def test_places_of_version_1_and_2(tmp_path: Path) -> None:
    proc = tmp_path / "proc/self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text("4:memory:/box/7\n2:cpu,cpuacct:/\n0::/user.slice/x.scope\n")
    (proc / "mountinfo").write_text(
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
        "35 31 0:32 /box /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n"
    )
    found = places(str(tmp_path / "proc"))
    assert found.one == {
        "memory": "/sys/fs/cgroup/memory/7",  # the mount shows the hierarchy from /box on
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
    }
    assert found.two == "/sys/fs/cgroup/unified/user.slice/x.scope"


def test_places_without_proc(tmp_path: Path) -> None:
    assert places(str(tmp_path)) == Places({}, "")
