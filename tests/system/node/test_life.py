"""A node's life: it comes up whole or says why not, serves, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
from pathlib import Path

import httpx
import pytest
from nodes import Node, gone


def test_up_deploy_invoke_down(offline: Node) -> None:
    serving = offline.up()
    assert serving["token"].startswith("wisp_")
    deployed = offline.deploy("greet", "def handle(event, context):\n    return {'got': event.data}\n")
    assert deployed["live"]["dialect"] == "native"
    done = offline.cli("invoke", "greet", "-d", '{"a": 1}')
    assert (done.returncode, json.loads(done.stdout)) == (0, {"got": {"a": 1}})
    assert offline.get("/fn/greet").json() == {"got": None}
    pids = offline.pids()
    offline.down()
    assert gone(pids)
    assert not (offline.path / "run" / "recorder.sock").exists()
    assert offline.status()["state"] == "ended"


def test_what_was_deployed_is_served_by_the_next_start(node: Node) -> None:
    first = node.status()
    node.down()
    serving = node.up()
    assert serving["token"] == "", "the token is shown once"
    assert node.get("/fn/hello").text == "hello"
    assert node.status()["node_id"] == first["node_id"]
    assert node.status()["epoch"] == first["epoch"] + 1


def test_a_second_node_is_refused_with_the_pid_of_the_first(node: Node) -> None:
    done = node.cli("up", "--port", "0", "--admin-port", "0")
    assert done.returncode == 4
    assert f"pid {node.status()['pid']}" in done.stderr.decode()
    assert node.get("/fn/hello").text == "hello"


@pytest.mark.parametrize("flag", ["--port", "--admin-port"])
def test_a_taken_port_is_named(offline: Node, flag: str) -> None:
    other = "--admin-port" if flag == "--port" else "--port"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for mode in ([], ["--detach"]):
            done = offline.cli("up", flag, str(port), other, "0", *mode)
            assert done.returncode == 4
            assert f"port {port} on 127.0.0.1 is taken" in done.stderr.decode()
            assert flag in done.stderr.decode()
            assert b"Traceback" not in done.stderr


def test_a_data_directory_that_is_a_file_is_refused(offline: Node) -> None:
    offline.path.write_text("mine")
    done = offline.cli("up", "--port", "0", "--admin-port", "0")
    assert done.returncode == 2
    assert "is not a directory" in done.stderr.decode()
    assert offline.path.read_text() == "mine"
    offline.path.unlink()


def test_an_unwritable_data_directory_is_named(offline: Node) -> None:
    offline.path = Path("/proc/wisp-node")
    done = offline.cli("up", "--port", "0", "--admin-port", "0")
    assert done.returncode in (4, 5)
    assert "/proc/wisp-node" in done.stderr.decode()
    assert b"Traceback" not in done.stderr


@pytest.mark.needs_root
def test_a_full_disk_is_named(offline: Node) -> None:
    offline.path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "wisp-test", str(offline.path)], check=True)
    try:
        done = offline.cli("up", "--port", "0", "--admin-port", "0", "--detach")
        assert done.returncode == 6
        assert "disk is full" in done.stderr.decode()
        assert b"Traceback" not in done.stderr
    finally:
        subprocess.run(["umount", str(offline.path)], check=True)


def test_nobody_else_reads_the_data_directory_or_the_token(shared: Node) -> None:
    assert stat.S_IMODE(shared.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((shared.path / "cli-token").stat().st_mode) == 0o600
    assert shared.token not in (shared.path / "tokens.json").read_text()


@pytest.mark.needs_root
def test_services_are_not_root(shared: Node) -> None:
    owner = shared.path.stat().st_uid
    assert owner != 0
    for role in ("gateway", "control", "recorder"):
        lines = Path(f"/proc/{shared.pid(role)}/status").read_text().splitlines()
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert set(fields["Uid"].split()) == {str(owner)}, role
        assert fields["Groups"].strip() == "", role
        assert int(fields["CapEff"], 16) == 0, role


def test_an_unprivileged_node_runs_as_its_user(shared: Node) -> None:
    if os.geteuid() == 0:
        pytest.skip("root's nodes have a uid of their own; see above")
    assert shared.path.stat().st_uid == os.geteuid()
    assert Path(f"/proc/{shared.pid('gateway')}").stat().st_uid == os.geteuid()


def test_roles_get_nothing_of_the_callers_environment(shared: Node) -> None:
    for role in ("gateway", "control", "recorder"):
        environment = Path(f"/proc/{shared.pid(role)}/environ").read_bytes()
        names = {entry.partition(b"=")[0] for entry in environment.split(b"\0") if entry}
        assert names <= {b"PATH", b"LANG", b"LC_CTYPE"}, role


def test_the_public_listener_shows_nothing_of_the_control_plane(shared: Node) -> None:
    for path in ("/v1/status", "/metrics", "/healthz", "/readyz", "/_wisp/status"):
        assert shared.get(path).status_code in (400, 404), path


def test_the_admin_listener_wants_a_token(shared: Node) -> None:
    for path in ("/v1/status", "/v1/namespaces/default/functions", "/metrics"):
        answer = httpx.get(shared.admin_url + path, trust_env=False)
        assert answer.status_code == 401, path
        assert answer.headers["content-type"].startswith("application/problem+json")
    wrong = httpx.get(shared.admin_url + "/v1/status", headers={"authorization": "Bearer wisp_x"}, trust_env=False)
    assert wrong.status_code == 401
    right = {"authorization": f"Bearer {shared.token}"}
    assert httpx.get(shared.admin_url + "/v1/status", headers=right, trust_env=False).status_code == 200
    foreign = right | {"host": "evil.example"}
    answer = httpx.get(shared.admin_url + "/v1/status", headers=foreign, trust_env=False)
    assert answer.status_code == 421
