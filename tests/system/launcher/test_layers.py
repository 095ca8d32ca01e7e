"""Layers: a zygote of its own per layer, in its own sandbox; nobody waits for it; threads forbid the fork."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from launcherbox import Box

PACKAGE = {
    "counted/__init__.py": "import os\nPID = os.getpid()\nMARK = []\n",
    "counted-1.0.dist-info/top_level.txt": "counted\n",
}
ASKS = """
import os, sys
FORKED = "counted" in sys.modules
import counted
def handle(event, context):
    links = {}
    for name in ("net", "mnt", "pid", "user", "ipc", "uts"):
        links[name] = os.readlink(f"/proc/self/ns/{name}")
    with open("/proc/self/status") as file:
        status = dict(line.split(":\\t", 1) for line in file.read().splitlines() if ":\\t" in line)
    try:
        open("/layer/counted/x", "w")
        wrote = True
    except OSError:
        wrote = False
    return {"forked": FORKED, "pid": os.getpid(), "zygote": counted.PID, "uid": os.getuid(), "wrote": wrote,
            "namespaces": links, "capabilities": status["CapEff"], "bounding": status["CapBnd"],
            "file": counted.__file__}
"""


def zygote_answers(box: Box, layer: str, *, tries: int = 200) -> dict[str, Any]:
    """Start until the layer's zygote makes the instances."""
    answer: dict[str, Any] = {}
    for _ in range(tries):
        answer = box.value(ASKS, layer=layer)
        if answer["forked"]:
            return answer
    raise AssertionError(f"the layer's zygote never came: {answer}")


def test_the_first_start_does_not_wait_for_the_zygote(box: Box) -> None:
    layer = box.deploy_layer(PACKAGE | {"first.txt": "another digest"})
    answer = box.value(ASKS, layer=layer)
    assert answer["forked"] is False
    assert answer["file"] == "/layer/counted/__init__.py"
    assert answer["wrote"] is False


def test_members_of_a_layer_have_it_imported_and_are_locked_like_others(box: Box) -> None:
    layer = box.deploy_layer(PACKAGE)
    one, two = zygote_answers(box, layer), zygote_answers(box, layer)
    assert one["pid"] == 1
    assert one["zygote"] == two["zygote"] != 1  # imported once, in a zygote that is not the first of its namespace
    assert one["wrote"] is False
    assert one["uid"] not in (0, os.getuid())
    assert one["capabilities"] == one["bounding"] == "0" * 16
    assert one["file"] == "/layer/counted/__init__.py"


def test_instances_of_one_layer_are_strangers(box: Box, user: bool) -> None:
    layer = box.deploy_layer(PACKAGE)
    zygote_answers(box, layer)
    code = box.deploy(ASKS)
    first, second = box.start(code, layer=layer), box.start(code, layer=layer)
    answers = [box.call(started) for started in (first, second)]
    assert all(answer is not None for answer in answers)
    one, two = (json.loads(answer.body) for answer in answers if answer is not None)
    for name in ("net", "mnt", "pid", "ipc", "uts"):
        assert one["namespaces"][name] != two["namespaces"][name]
    if not user:
        assert one["uid"] != two["uid"]
    for started in (first, second):
        box.stop(started)
        box.release(started)


def test_another_namespace_gets_a_zygote_of_its_own(box: Box) -> None:
    layer = box.deploy_layer(PACKAGE)
    mine = zygote_answers(box, layer)
    answer: dict[str, Any] = {"forked": False}
    for _ in range(200):
        answer = box.value(ASKS, layer=layer, namespace="other")
        if answer["forked"]:
            break
    assert answer["forked"] is True
    assert answer["namespaces"]["user"] != mine["namespaces"]["user"]


def test_a_layer_that_starts_threads_is_never_forked(box: Box) -> None:
    files = {
        "counted/__init__.py": "import os, threading, time\nPID = os.getpid()\n"
        "threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n",
        "counted-1.0.dist-info/top_level.txt": "counted\n",
    }
    layer = box.deploy_layer(files)
    assert all(box.value(ASKS, layer=layer)["forked"] is False for _ in range(30))


def test_a_layer_that_kills_its_zygote_harms_only_itself(box: Box) -> None:
    files = {
        "counted/__init__.py": "import os\nPID = os.getpid()\nif PID != 1: os._exit(9)\n",
        "counted-1.0.dist-info/top_level.txt": "counted\n",
    }
    layer = box.deploy_layer(files)
    assert all(box.value(ASKS, layer=layer)["forked"] is False for _ in range(10))
    assert box.value("def handle(event, context):\n    return 1\n") == 1


def test_a_layer_zygote_sees_and_reaches_nothing(box: Box) -> None:
    """What foreign code finds while a layer is imported: no other process, no network, no host, only its own root."""
    probe = """
import os, socket
def attempt(act):
    try:
        return repr(act())
    except OSError as error:
        return f"{type(error).__name__} {error.errno}"
PID = os.getpid()
SEEN = {
    "pids": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
    "environ": open("/proc/self/environ").read(),
    "network": attempt(lambda: socket.create_connection(("127.0.0.1", 22), 1)),
    "shadow": attempt(lambda: open("/etc/shadow").read()),
    "write": attempt(lambda: open("/x", "w")),
    "map": open("/proc/self/uid_map").read().split()[1],
    "root": sorted(os.listdir("/")),
    "fds": sorted(os.listdir("/proc/self/fd")),
}
"""
    files = {"counted/__init__.py": probe, "counted-1.0.dist-info/top_level.txt": "counted\n"}
    layer = box.deploy_layer(files)
    source = ASKS + "\ndef handle(event, context):\n    return {'forked': FORKED, 'seen': counted.SEEN}\n"
    for _ in range(200):
        answer = box.value(source, layer=layer)
        if answer["forked"]:
            break
    seen = answer["seen"]
    assert answer["forked"]
    assert len(seen["pids"]) == 2
    assert seen["environ"] == ""
    assert seen["network"].split()[0] in ("OSError", "PermissionError")
    assert seen["shadow"].startswith("FileNotFoundError")
    assert seen["write"].split()[0] in ("OSError", "PermissionError")
    assert not {"home", "mnt", "sys", "var", "work"} & set(seen["root"])
    assert set(seen["fds"]) <= {"0", "1", "2", "3", "4", "5"}


@pytest.mark.slow
def test_numpy_as_a_layer(box: Box, tmp_path: Path, user: bool) -> None:
    target = Path(box.data) / "layers" / ("a" * 64)
    python = "3.11" if not user else None
    command = ["uv", "pip", "install", "-q", "--target", str(target), "numpy"]
    command += ["--python-version", python] if python else []
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=100)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("numpy can't be installed here")
    source = """
import sys
FORKED = "numpy" in sys.modules
import numpy
def handle(event, context):
    return {"forked": FORKED, "sum": int(numpy.arange(10).sum()), "random": float(numpy.random.random())}
"""
    answers = [box.value(source, layer="a" * 64) for _ in range(40)]
    assert {answer["sum"] for answer in answers} == {45}
    assert len({answer["random"] for answer in answers}) == len(answers)
