"""Secrets on a real node: delivered, renewed, re-keyed under load, served without control, and found nowhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import Node, eventually, gone

CANARY = "canary-4711-of-a-password"
FILE_CANARY = "canary-4712-of-a-file"
KEEPER = """
import os, stat

def handle(event, context):
    value = os.environ["DB_PASSWORD"]
    path = "/run/secrets/tls.key"
    held = open(path).read()
    print("I hold", value, "and", held)
    if event.http.query == b"fail" or "fail" in str(event.http.query):
        raise ValueError("it was " + value)
    file = held.startswith("canary-") and len(held) == 21
    return {"env": len(value), "file": file, "mode": stat.S_IMODE(os.stat(path).st_mode),
            "command": open("/proc/self/cmdline").read(), "first": value[:6]}
"""
OTHER = """
import os

def handle(event, context):
    return {"env": dict(os.environ), "files": os.listdir("/tmp"), "first": open("/proc/self/environ").read()}
"""


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("secrets"))
    try:
        node.up()
        assert node.cli("secret", "set", "DB_PASSWORD", stdin=CANARY.encode() + b"\n").returncode == 0
        assert node.cli("secret", "set", "TLS_KEY", stdin=FILE_CANARY.encode()).returncode == 0
        for name in ("keeper", "cold"):
            node.deploy(name, KEEPER, "--secret", "DB_PASSWORD", "--secret", "TLS_KEY=tls.key")
        node.deploy("other", OTHER)
        yield node
    finally:
        node.cli("down", "--now")


def found_in(folder: Path, canaries: tuple[str, ...]) -> list[str]:
    """Return the files below `folder` that hold a canary."""
    wanted = [canary.encode() for canary in canaries]
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    return [str(path) for path in files if any(canary in path.read_bytes() for canary in wanted)]


def found_in_processes(name: str, canaries: tuple[str, ...]) -> list[str]:
    """Return which of `/proc/*/<name>` hold a canary."""
    found = []
    for path in Path("/proc").glob(f"[0-9]*/{name}"):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        if any(canary.encode() in content for canary in canaries):
            found.append(str(path))
    return found


def test_a_function_gets_its_secrets_and_another_one_does_not(keeper: Node) -> None:
    answer = keeper.get("/fn/keeper").json()
    assert answer["env"] == len(CANARY)
    assert answer["file"] is True
    assert answer["mode"] == 0o400
    other = keeper.get("/fn/other").text
    assert "canary" not in other
    assert "DB_PASSWORD" not in other


def test_a_missing_secret_fails_the_deployment_with_its_name(keeper: Node) -> None:
    done = keeper.cli("deploy", str(keeper.write("lacking", KEEPER)), "--secret", "NOT_THERE")
    assert done.returncode != 0
    assert b"NOT_THERE" in done.stderr
    assert b"Traceback" not in done.stderr


def test_planted_values_are_found_nowhere(keeper: Node) -> None:
    canaries = (CANARY, FILE_CANARY)
    keeper.get("/fn/keeper")
    failed = keeper.get("/fn/keeper?fail=1")
    assert failed.status_code == 502
    eventually(lambda: b"I hold *** and ***" in keeper.cli("logs", "keeper").stdout, "the log never came")
    said = [failed.content] + [
        keeper.cli(*command).stdout
        for command in (
            ("show", "keeper", "--json"),
            ("logs", "keeper", "--json"),
            ("secret", "list", "--json"),
            ("invocation", "list", "--json"),
            ("status", "--json"),
        )
    ]
    assert all(said)
    assert not [text for text in said if any(canary.encode() in text for canary in canaries)]
    assert not found_in(keeper.path, canaries)
    assert not found_in_processes("cmdline", canaries)
    assert not found_in_processes("environ", canaries)


def test_negative_control_a_value_in_the_clear_is_found(keeper: Node) -> None:
    keeper.deploy("careless", OTHER, "--env", f"DB_PASSWORD={CANARY}")
    assert found_in(keeper.path, (CANARY,))
    keeper.json("delete", "careless")
    command = [sys.executable, "-c", "input()", CANARY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env={"PASSWORD": CANARY}) as process:
        eventually(lambda: bool(found_in_processes("cmdline", (CANARY,))), "a command line is searched")
        assert found_in_processes("environ", (CANARY,))
        process.kill()


def test_cold_and_warm_calls_go_on_while_control_is_away(keeper: Node) -> None:
    pid = keeper.pid("control")
    os.kill(pid, signal.SIGSTOP)
    try:
        assert keeper.get("/fn/cold").json()["file"] is True
        assert keeper.get("/fn/cold").json()["file"] is True
        gateway = keeper.kill("gateway")
        eventually(lambda: gone([gateway]) and keeper.served("/fn/cold"), "the next gateway served nothing")
        assert keeper.get("/fn/cold").json()["file"] is True
    finally:
        os.kill(pid, signal.SIGCONT)


def test_the_key_is_changed_under_load_and_no_call_fails(keeper: Node) -> None:
    stop, codes = threading.Event(), []

    def load() -> None:
        while not stop.is_set():
            codes.append(keeper.get("/fn/keeper").status_code)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        done = keeper.json("secret", "rotate-key")
        value = keeper.cli("secret", "set", "DB_PASSWORD", stdin=b"second-canary-value")
        assert value.returncode == 0
        eventually(lambda: keeper.get("/fn/keeper").json()["first"] == "second", "the new value never came")
    finally:
        stop.set()
        thread.join()
    assert (done["rewrapped"], done["kept"]) == (2, 0)
    assert codes
    assert set(codes) == {200}
    held = json.loads((keeper.path / "secret.key").read_bytes())
    assert list(held["keys"]) == [done["key_id"]]
    keeper.kill("gateway")
    eventually(lambda: keeper.served("/fn/cold"), "without the former key the next gateway served nothing")
