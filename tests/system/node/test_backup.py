"""A node is backed up under load, wiped, and restored; whatever is killed on the way leaves nothing half."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from nodes import WISP, Node, eventually

PASSPHRASE = b"correct horse battery staple\n"
SECRETIVE = """
import os

def handle(event, context):
    return os.environ["PASSWORD"][::-1]
"""


def restored(file: Path, folder: Path, *flags: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [*WISP, "restore", str(file), "--data", str(folder), *flags, "--json"]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)


def backed_up(node: Node, name: str, *flags: str, stdin: bytes = b"") -> Path:
    file = node.folder / name
    done = node.cli("backup", str(file), *flags, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] == file.stat().st_size
    return file


def test_backed_up_under_load_wiped_and_restored(node: Node) -> None:
    assert node.cli("secret", "set", "PASSWORD", stdin=b"a canary in a backup").returncode == 0
    node.deploy("secretive", SECRETIVE, "--secret", "PASSWORD")
    eventually(lambda: bool(node.get("/fn/hello").text) and bool(node.json("invocation", "list")["items"]), "records")
    acknowledged, stop = [], threading.Event()

    def load() -> None:
        number = 0
        while not stop.is_set():
            node.deploy(f"f{number}", f"def handle(event, context):\n    return '{number}'\n", "--no-trial")
            acknowledged.append(number)
            number += 1

    thread = threading.Thread(target=load)
    thread.start()
    eventually(lambda: len(acknowledged) >= 2, "deployments go on")
    before = len(acknowledged)
    file = backed_up(node, "backup.tar", "--with-key", stdin=PASSPHRASE)
    stop.set()
    thread.join()
    assert b"canary in a backup" not in file.read_bytes()
    assert node.token.encode() not in file.read_bytes()
    node.cli("down", "--now")
    shutil.rmtree(node.path)

    done = restored(file, node.path, "--with-key", stdin=PASSPHRASE)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["rpo_s"] > 0
    assert told["rto_s"] > 0
    assert told["key_needed"] == []
    former = node.token
    node.up()
    assert node.get("/fn/hello").text == "hello"
    assert node.get("/fn/secretive").text == "a canary in a backup"[::-1]
    assert [node.get(f"/fn/f{number}").text for number in range(before)] == [str(number) for number in range(before)]
    assert node.json("invocation", "list")["items"]
    assert told["token"] != former
    assert told["token"] == (node.path / "cli-token").read_text().strip()
    refused = subprocess.run(
        [*WISP, "list"], env=os.environ | {"WISP_URL": node.admin_url, "WISP_TOKEN": former}, capture_output=True,
        check=False,
    )  # fmt: skip
    assert refused.returncode == 4


def test_without_its_key_the_node_says_which_one_it_needs(node: Node) -> None:
    assert node.cli("secret", "set", "PASSWORD", stdin=b"a value").returncode == 0
    key = (node.path / "secret.key").read_bytes()
    file = backed_up(node, "backup.tar")
    node.down()
    shutil.rmtree(node.path)
    told = json.loads(restored(file, node.path).stdout)
    refused = node.cli("up", "--port", "0", "--admin-port", "0", "--detach")
    assert refused.returncode != 0
    assert told["key_needed"][0] in refused.stderr.decode()
    assert not (node.path / "secret.key").exists()
    owner = (node.path / "control.db").stat()
    (node.path / "secret.key").write_bytes(key)
    os.chmod(node.path / "secret.key", 0o600)
    os.chown(node.path / "secret.key", owner.st_uid, owner.st_gid)
    node.up()


def test_over_a_running_node_and_over_a_file_nothing_is_written(node: Node) -> None:
    file = backed_up(node, "backup.tar")
    again = node.cli("backup", str(file))
    assert again.returncode == 4
    assert b"exists already" in again.stderr
    refused = restored(file, node.path)
    assert refused.returncode == 4
    assert b"runs on" in refused.stderr
    node.down()
    refused = restored(file, node.path)
    assert b"is not empty" in refused.stderr


@pytest.mark.parametrize("what", ["client", "control"])
def test_killed_on_the_way_nothing_half_is_visible(node: Node, what: str) -> None:
    noise = os.urandom(30 << 20)
    (node.folder / "big").mkdir()
    (node.folder / "big" / "main.py").write_text("def handle(event, context):\n    return 'big'\n")
    (node.folder / "big" / "noise").write_bytes(noise)
    node.json("deploy", str(node.folder / "big"))
    target = node.folder / "backups"
    target.mkdir()
    command = [*WISP, "backup", str(target / "b.tar"), "--data", str(node.path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as client:
        eventually(lambda: any(part.stat().st_size > 1 << 20 for part in target.glob(".*.part")), "it began")
        if what == "client":
            client.kill()
        else:
            node.kill("control")
        client.communicate()
    assert client.returncode != 0
    assert not (target / "b.tar").exists()
    eventually(node.ready, "control is back")
    eventually(lambda: not list((node.path / "incoming").glob("backup-*")), "no snapshot is left")
    backed_up(node, "second.tar")
