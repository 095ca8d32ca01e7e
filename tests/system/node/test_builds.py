"""Dependencies and build steps on a real node, and what builds may not do."""

from __future__ import annotations

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from buildparts import evil_source, wheel
from nodes import Node, eventually

MAIN = """
def handle(event, context):
    import alpha
    return {"alpha": alpha.VERSION, "cached": alpha.__cached__, "file": alpha.__file__}
"""
SMALL = 96 << 20


@pytest.fixture(scope="module")
def building(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node that resolves from a folder of wheels only, with small limits."""
    folder = tmp_path_factory.mktemp("building")
    links = folder / "links"
    wheel(links, "alpha")
    wheel(links, "alpha", "2.0")
    node = Node(folder)
    node.path.mkdir(mode=0o700)
    (node.path / "wisp-node.toml").write_text(
        f"[build]\noffline = true\nfind_links = [{str(links)!r}]\ntimeout_s = 25.0\n"
        f"disk_bytes = {SMALL}\nmemory_bytes = {2 * SMALL}\n"
    )
    environment = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(("UV_", "PIP_"))}
    try:
        node.up()
        yield node
    finally:
        os.environ.update(environment)
        node.cli("down", "--now")


def project(node: Node, name: str, main: str = MAIN, **files: str) -> Path:
    path = node.folder / name
    path.mkdir(exist_ok=True)
    (path / "main.py").write_text(main)
    for file, text in files.items():
        (path / file.replace("_DOT_", ".")).write_text(text)
    return path


def failure(node: Node, path: Path, *flags: str) -> dict[str, Any]:
    """Deploy what must fail; return the error."""
    done = node.cli("deploy", str(path), "--json", *flags)
    assert done.returncode == 1, done.stderr.decode() + done.stdout.decode()
    return dict(json.loads(done.stdout)["error"])


def answer(node: Node, name: str) -> Any:
    answered = node.get(f"/fn/{name}")
    assert answered.status_code == 200, answered.text
    return answered.json()


def builds(node: Node) -> list[dict[str, Any]]:
    return list(node.json("build", "list")["items"])


def test_requirements_become_a_layer_with_bytecode(building: Node) -> None:
    deployed = building.json("deploy", str(project(building, "plain", requirements_DOT_txt="alpha<2\n")))
    assert deployed["live"]["layer"]
    found = answer(building, "plain")
    assert found["alpha"] == "1.0"
    if building.status_level() != "process":
        assert found["file"] == "/layer/alpha/__init__.py"
    assert os.path.basename(found["cached"]).endswith(".pyc")
    shown = building.json("build", "show", builds(building)[0]["id"])
    assert shown["packages"] == ["alpha==1.0"]
    assert "Resolving requirements.txt" in shown["log"]


def test_an_unchanged_file_is_not_built_again_and_a_changed_one_is(building: Node) -> None:
    path = project(building, "again", requirements_DOT_txt="alpha<2  # again\n")
    first = building.json("deploy", str(path))
    count = len(builds(building))
    (path / "main.py").write_text(MAIN + "\n# changed\n")
    second = building.json("deploy", str(path))
    assert second["live"]["code"] != first["live"]["code"]
    assert second["live"]["layer"] == first["live"]["layer"]
    assert len(builds(building)) == count
    (path / "requirements.txt").write_text("alpha>=2\n")
    assert building.json("deploy", str(path))["live"]["layer"] != first["live"]["layer"]
    assert answer(building, "again")["alpha"] == "2.0"


def test_every_way_to_name_dependencies(building: Node) -> None:
    ways = {
        "py-project": {"pyproject_DOT_toml": '[project]\nname = "x"\nversion = "1"\ndependencies = ["alpha==1.0"]\n'},
        "nested": {"requirements_DOT_txt": "-r base.txt\n", "base_DOT_txt": "alpha==1.0\n"},
    }
    for name, files in ways.items():
        building.json("deploy", str(project(building, name, **files)))
        assert answer(building, name)["alpha"] == "1.0"
    script = '# /// script\n# dependencies = ["alpha==1.0"]\n# ///\n' + MAIN
    building.json("deploy", str(building.write("script", script)))
    assert answer(building, "script")["alpha"] == "1.0"
    path = project(building, "none", requirements_DOT_txt="alpha\n")
    deployed = building.json("deploy", str(path), "--dependencies", "none")
    assert not deployed["live"].get("layer")


def test_wheels_are_shared_between_namespaces_and_the_rest_is_not(building: Node) -> None:
    node = building
    for name in ("one", "two"):
        node.api("POST", "/v1/namespaces", json={"name": name})
    path = project(node, "shared", requirements_DOT_txt="alpha==2.0\n")
    layers = [node.json("deploy", str(path), "-n", name)["live"]["layer"] for name in ("one", "two")]
    assert layers[0] == layers[1]
    second = node.api("GET", "/v1/namespaces/two/builds").json()["items"]
    assert "Installing" not in node.api("GET", f"/v1/namespaces/two/builds/{second[0]['id']}").json()["log"]
    with closing(sqlite3.connect(node.path / "control.db")) as store:
        scopes = {row[0] for row in store.execute("SELECT scope FROM built WHERE digest = ?", (layers[0],))}
    assert scopes >= {"", "one", "two"}
    evil_source(path / "evil", ports=[], private="/root")
    (path / "requirements.txt").write_text("./evil\nalpha==2.0\n")
    private = node.json("deploy", str(path), "-n", "one")["live"]["layer"]
    with closing(sqlite3.connect(node.path / "control.db")) as store:
        scopes = {row[0] for row in store.execute("SELECT scope FROM built WHERE digest = ?", (private,))}
    assert scopes == {"one"}
    refused = node.api(
        "GET", f"/v1/namespaces/two/builds/{node.json('build', 'list', '-n', 'one')['items'][0]['id']}"
    )
    assert refused.status_code == 404


def test_what_can_t_be_resolved_says_why_and_the_old_version_serves(building: Node) -> None:
    path = project(building, "steady", requirements_DOT_txt="alpha==1.0\n")
    building.json("deploy", str(path))
    (path / "requirements.txt").write_text("alpha==99\n")
    error = failure(building, path)
    assert error["code"] == "build_failed"
    assert error["reason"] in ("no_version", "offline")
    assert "alpha==99" in error["message"]
    assert answer(building, "steady")["alpha"] == "1.0"
    assert building.json("build", "show", error["build"])["status"] == "failed"


def test_steps_of_one_s_own_change_the_code(building: Node) -> None:
    path = project(
        building,
        "stepped",
        "import made\ndef handle(event, context): return made.VALUE\n",
        make_DOT_py="import alpha\nopen('made.py', 'w').write(f'VALUE = {alpha.VERSION!r}')\n",
        requirements_DOT_txt="alpha==1.0\n",
        wisp_DOT_toml='[build]\nrun = ["python make.py"]\n[functions.stepped]\n',
    )
    building.json("deploy", str(path))
    assert building.get("/fn/stepped").text == "1.0"
    (path / "wisp.toml").write_text('[build]\nrun = ["python nothing.py"]\n[functions.stepped]\n')
    error = failure(building, path)
    assert error["reason"] == "exit"
    assert "nothing.py" in error["output"]
    (path / "wisp.toml").write_text('[build]\nrun = ["gcc x.c"]\n[functions.stepped]\n')
    assert failure(building, path)["reason"] == "program"
    assert building.get("/fn/stepped").text == "1.0"


STEPS = {
    "a link that leads out": ("import os; os.symlink('/etc/passwd', 'leak')", "tree"),
    "a pipe": ("import os; os.mkfifo('pipe')", "tree"),
    "a full disk": (
        f"file = open('large', 'wb'); [file.write(bytes(1 << 20)) for _ in range({SMALL >> 19})]",
        "disk",
    ),
    "too much memory": ("x = [bytearray(1 << 20) for _ in range(2000)]; print(len(x))", "lost"),
    "no end": ("while True: pass", "timeout"),
}


@pytest.mark.parametrize("what", STEPS)
def test_a_hostile_step_fails_alone(building: Node, what: str) -> None:
    if building.status_level() != "full" and what in ("too much memory", "a full disk"):
        pytest.skip("there is nothing here that limits it")
    code, reason = STEPS[what]
    path = project(
        building,
        "hostile",
        "def handle(event, context): return 'well'\n",
        attack_DOT_py=code.replace("; ", "\n"),
        wisp_DOT_toml='[build]\nrun = ["python attack.py"]\n[functions.hostile]\n',
    )
    error = failure(building, path)
    assert error["reason"] == reason, error
    (path / "attack.py").write_text("open('plain', 'w').write('x')\n")  # the control: it is the attack that fails
    building.json("deploy", str(path))
    assert building.get("/fn/hostile").text == "well"


READ = """
import json, pathlib
def handle(event, context):
    import evil
    place = pathlib.Path(evil.__file__).parent
    return json.loads((place / "found.json").read_text())
"""


def test_a_malicious_source_sees_and_reaches_nothing(building: Node, tmp_path: Path) -> None:
    if building.status_level() == "process":
        pytest.skip("there is no sandbox on this machine")
    ports = [urlsplit(url).port or 0 for url in (building.url, building.admin_url)]
    path = project(building, "attacked", READ, requirements_DOT_txt="./evil\n")
    evil_source(path / "evil", ports=ports, private=str(building.path), bomb=True)
    building.json("deploy", str(path))
    found = answer(building, "attacked")
    assert not [name for name in found["environment"] if "TOKEN" in name or name.startswith(("PIP_", "AWS_"))]
    assert building.token not in json.dumps(found)
    assert all(one.startswith("!") for one in found["ports"])
    assert found["private"].startswith("!")
    assert found["shadow"].startswith("!")
    assert all(one.startswith("!") for one in found["outside"])
    assert found["device"].startswith("!")
    assert found["forks"].startswith("stopped at") or building.status_level() != "full"
    assert found["uid"] != os.getuid() or os.getuid() != 0
    control = outside(tmp_path / "evil", ports, str(building.path))
    assert control["ports"] == ["connected", "connected"]
    assert not control["private"].startswith("!")
    assert "HOME" in control["environment"] or "PATH" in control["environment"]


def test_what_a_source_leaves_running_can_slip_in_no_link(building: Node) -> None:
    if building.status_level() == "process":
        pytest.skip("there is no sandbox on this machine")
    path = project(building, "lingering", READ, requirements_DOT_txt="./evil\n")
    evil_source(path / "evil", ports=[], private="/", linger=True)
    done = building.cli("deploy", str(path), "--json")
    told = json.loads(done.stdout)
    if done.returncode == 0:  # it was killed before it got to it
        layer = building.path / "layers" / told["live"]["layer"]
        assert (layer / "evil/found.json").is_file()
        assert not os.path.lexists(layer / "leak")
    else:
        assert told["error"]["reason"] == "tree"
        assert "leads out" in told["error"]["message"]


def outside(folder: Path, ports: list[int], private: str) -> Any:
    """Run the same probe without a sandbox: what it looks for is there."""
    evil_source(folder, ports=ports, private=private)
    specification = importlib.util.spec_from_file_location("evil_backend", folder / "backend.py")
    assert specification is not None
    code = "import json, backend; backend.special = lambda path: None; print(json.dumps(backend.probe()))"
    script = code.replace("backend.probe()", "{k: v for k, v in backend.probe().items() if k != 'outside'}")
    (folder / "quiet.py").write_text(script)
    text = (folder / "backend.py").read_text().replace('("/evil", "/usr/evil", "/app/evil")', "()")
    (folder / "backend.py").write_text(text)
    done = subprocess.run([sys.executable, "quiet.py"], cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_nothing_of_a_build_is_left(building: Node) -> None:
    assert list((building.path / "builds/inputs").iterdir()) == []
    assert [path for path in (building.path / "incoming").iterdir() if path.is_dir()] == []


NATIVE = """
def handle(event, context):
    import io, numpy, onnxruntime, pandas
    from PIL import Image
    from sklearn.linear_model import LinearRegression
    frame = pandas.DataFrame({"x": [1.0, 2.0, 3.0], "y": [2.0, 4.0, 6.0]})
    model = LinearRegression().fit(frame[["x"]].values, frame["y"].values)
    out = io.BytesIO()
    Image.new("RGB", (64, 64), (255, 0, 0)).resize((8, 8)).save(out, "PNG")
    return {
        "predicted": round(float(model.predict([[4.0]])[0]), 3),
        "png": out.getvalue()[1:4].decode(),
        "onnx": "CPUExecutionProvider" in onnxruntime.get_available_providers(),
        "sum": int(numpy.arange(5).sum()),
    }
"""


@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.once
def test_native_wheels_work(offline: Node, service: Callable[[bool, str], None]) -> None:
    """numpy, pandas, Pillow, scikit-learn and onnxruntime, resolved and fetched from the index of this machine."""
    offline.up()
    path = project(
        offline, "native", NATIVE, requirements_DOT_txt="numpy\npandas\npillow\nscikit-learn\nonnxruntime\n"
    )
    command = ["deploy", str(path), "--json", "--memory", "1GB", "--timeout", "120s"]
    done = offline.cli(*command, within_s=400)
    unreachable = b'"reason":"offline"' in done.stdout
    service(not unreachable, "an index of packages")
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    answered = offline.get("/fn/native")
    assert answered.json() == {"predicted": 8.0, "png": "PNG", "onnx": True, "sum": 10}, answered.text


def test_a_flipped_bit_is_refused_and_a_deployment_heals_it(node: Node) -> None:
    """The stored code and layer of one function change behind the node's back; the other function goes on."""
    folder = node.folder / "installed"
    folder.mkdir()
    (folder / "alpha.py").write_text("VERSION = '1.0'\n")
    source = "def handle(event, context):\n    import alpha\n    return alpha.VERSION\n"
    live = node.deploy("broken", source, "--layer", str(folder))["live"]
    assert node.get("/fn/broken").text == "1.0"
    node.down()
    target = node.path / "layers" / live["layer"] / "alpha.py"
    content = bytearray(target.read_bytes())
    content[len(content) - 3] ^= 1
    target.chmod(0o644)
    target.write_bytes(content)
    target.chmod(0o444)
    node.up()
    eventually(lambda: node.get("/fn/broken").json().get("code") == "corrupt", "the damage was found")
    assert node.get("/fn/hello").text == "hello"
    assert live["layer"] in (node.path / "logs/control.log").read_text()
    healed = node.deploy("broken", source, "--layer", str(folder))["live"]
    assert healed["layer"] == live["layer"]
    eventually(lambda: node.get("/fn/broken").text == "1.0", "the same content serves again")
