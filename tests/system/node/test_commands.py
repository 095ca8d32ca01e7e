"""Every command against a real node: what it prints, and its exit code."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import httpx
import pytest
from nodes import Node, eventually

FAILING = "def handle(event, context):\n    print('before')\n    raise ValueError('broken by design')\n"
ECHO = """
from wisp import Response

def handle(event, context):
    if event.http.query.get("status"):
        return Response(b"mine", status=int(event.http.query["status"]))
    return event.http.body
"""

TWO = """
import os

def one(event, context):
    return "one"

def two(event, context):
    return os.environ["X"]
"""
MANIFEST = """
[functions.m-one]
handler = "code:one"

[functions.m-two]
handler = "code:two"
env = { X = "from toml" }
"""

JSON = {"Content-Type": "application/json"}


def documents(output: bytes) -> list[object]:
    return [json.loads(line) for line in output.decode().splitlines()]


def test_invoke_prints_the_body_alone(shared: Node) -> None:
    done = shared.cli("invoke", "hello")
    assert (done.returncode, done.stdout) == (0, b"hello")


def test_any_bytes_go_in_and_come_out(shared: Node) -> None:
    shared.deploy("echo", ECHO)
    payload = bytes(range(256)) * 40
    done = shared.cli("invoke", "echo", "-d", "-", stdin=payload)
    assert (done.returncode, done.stdout) == (0, payload)
    path = shared.folder / "payload"
    path.write_bytes(payload)
    assert shared.cli("invoke", "echo", "-d", f"@{path}").stdout == payload


def test_a_functions_own_404_is_its_answer(shared: Node) -> None:
    shared.deploy("echo", ECHO)
    done = shared.cli("invoke", "echo", "--path", "/x?status=404")
    assert (done.returncode, done.stdout) == (0, b"mine")
    assert shared.json("invoke", "echo", "--path", "?status=404")["http_status"] == 404


def test_a_failing_function_is_exit_code_1_with_log_and_traceback_on_request(shared: Node) -> None:
    shared.deploy("failing", FAILING)
    done = shared.cli("invoke", "failing", "--log")
    assert done.returncode == 1
    assert done.stdout == b""
    text = done.stderr.decode()
    assert "before" in text
    assert "broken by design" in text
    assert "billed" in text
    as_json = shared.cli("invoke", "failing", "--json")
    assert as_json.returncode == 1
    (document,) = documents(as_json.stdout)
    assert document["error"]["code"] == "function_error"  # type: ignore[index]


def test_an_unknown_function_is_exit_code_3_with_the_nearest(shared: Node) -> None:
    for command in (["invoke", "helo"], ["show", "helo"], ["delete", "helo"]):
        done = shared.cli(*command)
        assert done.returncode == 3
        assert "did you mean hello?" in done.stderr.decode()
        assert done.stdout == b""


def test_list_show_status_and_delete(shared: Node) -> None:
    shared.deploy("short", "def handle(event, context):\n    return 1\n", "--memory", "64MB", "--env", "A=b")
    assert "short" in {one["name"] for one in shared.json("list")["items"]}
    live = shared.json("show", "short")["live"]
    assert (live["memory_bytes"], live["env"], live["number"]) == (64 << 20, {"A": "b"}, 1)
    shared.json("invoke", "short")
    (row,) = [one for one in shared.json("status")["functions"] if one["name"] == "short"]
    assert row["instances"]["ready"] + row["instances"]["busy"] == 1
    for command in ("list", "status", "usage"):
        assert b"short" in shared.cli(command).stdout or command == "usage"
    assert b"A=b" in shared.cli("show", "short").stdout
    assert shared.json("delete", "short") == {"deleted": "short"}
    assert shared.get("/fn/short").status_code == 404
    assert shared.cli("invoke", "short").returncode == 3


def test_a_new_version_is_live_when_deploy_returns(shared: Node) -> None:
    for number in range(1, 6):
        deployed = shared.deploy("fresh", f"def handle(event, context):\n    return '{number}'\n")
        assert deployed["live"]["number"] == number
        assert shared.get("/fn/fresh").text == str(number)
    same = shared.deploy("fresh", "def handle(event, context):\n    return '5'\n")
    assert same["live"]["number"] == 5
    record = shared.get("/fn/fresh").headers["wisp-invocation-id"]
    assert shared.json("invocation", "show", record)["version"] == 5


def test_logs_of_one_function_and_followed_by_none_else(shared: Node) -> None:
    done = shared.cli("invoke", "hello", "--json")
    invocation_id = json.loads(done.stdout)["invocation_id"]

    def logged() -> bool:
        lines = documents(shared.cli("logs", "hello", "--invocation", invocation_id, "--json").stdout)
        return any("hello log" in line["text"] for line in lines)  # type: ignore[index]

    eventually(logged, "the log line is there")
    assert b"hello log" in shared.cli("logs", "hello", "--since", "10m").stdout
    assert shared.cli("logs", "nobody").returncode == 3
    assert shared.cli("logs", "hello", "--since", "yesterday").returncode == 2


def test_records_and_usage_are_there(shared: Node) -> None:
    invocation_id = shared.json("invoke", "hello")["invocation_id"]
    eventually(lambda: shared.cli("invocation", "show", invocation_id).returncode == 0, "the record is there")
    record = shared.json("invocation", "show", invocation_id)
    assert (record["function"], record["status"], record["trigger"]) == ("hello", "ok", "admin")
    page = shared.json("invocation", "list", "--function", "hello", "--limit", "1")
    assert len(page["items"]) == 1
    (usage,) = [one for one in shared.json("usage")["items"] if one["function"] == "hello"]
    assert usage["calls"] >= 1
    assert "cost_micro" in usage
    assert shared.cli("invocation", "show", "inv_" + "0" * 32).returncode == 3
    assert shared.cli("invocation", "show", "nonsense").returncode == 2


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_of_that_name\n", "nothing_of_that_name"),
        ("def handle(event, context:\n", "SyntaxError"),
        ("x = 1\n", "handler"),
        ("raise SystemExit(3)\n", ""),
        ("import os\nos._exit(4)\n", ""),
    ],
)
def test_a_version_that_can_not_start_does_not_go_live(shared: Node, source: str, said: str) -> None:
    name = "careful"
    shared.deploy(name, "def handle(event, context):\n    return 'good'\n")
    done = shared.cli("deploy", str(shared.write(name, source)), "--json")
    assert done.returncode == 1, done.stdout.decode()
    (document,) = documents(done.stdout)
    assert document["error"]["code"] in ("init_failed", "instance_lost")  # type: ignore[index]
    assert said in done.stderr.decode()
    assert shared.get(f"/fn/{name}").text == "good"


@pytest.mark.parametrize("name", ["..", "a/b", "-rf", "x" * 65, "%2e%2e", "Ω", "fn", "a b", "con\0"])
def test_bad_names_are_refused_everywhere(shared: Node, name: str) -> None:
    before = sorted(path.name for path in shared.folder.iterdir())
    headers = {"authorization": f"Bearer {shared.token}"}
    escaped = "".join(f"%{byte:02X}" for byte in name.encode())
    url = f"{shared.admin_url}/v1/namespaces/default/functions/{escaped}"
    for method in ("GET", "PUT", "DELETE"):
        answer = httpx.request(method, url, headers=headers | JSON, content=b'{"code": ""}', trust_env=False)
        assert answer.status_code in (400, 404, 405), (method, answer.status_code)
    assert sorted(path.name for path in shared.folder.iterdir()) == before


def test_names_that_differ_by_case_only_are_twins(shared: Node) -> None:
    done = shared.cli("deploy", str(shared.write("HELLO", "def handle(event, context):\n    return 2\n")), "--json")
    assert done.returncode == 4
    assert json.loads(done.stdout)["error"]["code"] == "conflict"
    assert shared.get("/fn/hello").text == "hello"


def test_a_folder_with_a_manifest_deploys_all_its_functions(shared: Node, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(TWO)
    (tmp_path / "wisp.toml").write_text(MANIFEST)
    assert [one["name"] for one in shared.json("deploy", str(tmp_path))["items"]] == ["m-one", "m-two"]
    assert (shared.get("/fn/m-one").text, shared.get("/fn/m-two").text) == ("one", "from toml")
    shared.json("deploy", str(tmp_path), "--name", "m-two", "--env", "X=from flag")
    assert shared.get("/fn/m-two").text == "from flag"


def test_a_hostile_zip_is_refused(shared: Node) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("main.py", "def handle(event, context): pass")
        archive.writestr("../../escaped", "x")
    path = shared.folder / "evil.zip"
    path.write_bytes(content.getvalue())
    done = shared.cli("deploy", str(path))
    assert done.returncode in (2, 4)
    assert ".." in done.stderr.decode()
    assert not list(shared.folder.rglob("escaped"))


def test_a_layer_is_importable(shared: Node, tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer" / "dependency.py").write_text("VALUE = 'of the layer'\n")
    source = "import dependency\n\ndef handle(event, context):\n    return dependency.VALUE\n"
    shared.deploy("layered", source, "--layer", str(tmp_path / "layer"))
    assert shared.get("/fn/layered").text == "of the layer"
