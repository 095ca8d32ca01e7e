"""`wisp run`: one file is served, a save is live, a broken save changes nothing, and nothing is left."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import WISP, eventually
from serving import Serving, serving

GOOD = """
print("imported")

def handle(event, context):
    print("wrote \\x1b[31mthis")
    if event.http.path == "/boom":
        raise ValueError("by design")
    return "one"
"""
# What a hostile function would try on the terminal of whoever runs it.
TERMINAL = """
import fcntl, os, termios

def handle(event, context):
    found = []
    for fd in range(3):
        try:
            fcntl.ioctl(fd, termios.TIOCSTI, b"x")
            found.append(f"pushed into {fd}")
        except OSError:
            pass
        if os.isatty(fd):
            found.append(f"{fd} is a terminal")
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
        found.append("opened /dev/tty")
    except OSError:
        pass
    return found
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.fixture
def running(folder: Path) -> Iterator[Serving]:
    (folder / "hello.py").write_text(GOOD)
    with serving("run", str(folder / "hello.py")) as one:
        one.first("ready")
        yield one


def test_a_file_is_served_and_each_call_is_told(running: Serving, folder: Path) -> None:
    assert running.get("/orders/1?key=secret").text == "one"
    assert running.get("/boom").status_code == 502
    running.until(lambda: len(running.of("call")) == 2, "both calls were told")
    first, second = running.of("call")
    assert (first["method"], first["path"], first["http_status"], first["cold"]) == ("GET", "/orders/1", 200, True)
    assert "wrote" in first["log"]
    assert second["status"] == "error"
    assert "line 7, in handle" in second["traceback"]
    assert "secret" not in str(running.events)
    _saved(running, folder / "hello.py")
    port = running.url.rpartition(":")[2]
    command = [*WISP, "run", str(folder / "hello.py"), "--port", port]
    taken = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert (taken.returncode, f"port {port}" in taken.stderr.decode()) == (4, True)
    pids = running.tree()
    assert len(pids) > 4
    assert running.end() == 0
    running.until(lambda: bool(running.of("ended")), "the summary")
    (ended,) = running.of("ended")
    assert (ended["failed"], ended["calls"] > 2) == (1, True)
    running.nothing_left(pids)


def _saved(running: Serving, file: Path) -> None:
    """A save is live and a broken one changes nothing."""
    file.write_text(GOOD.replace('"one"', '"two"'))
    running.until(lambda: running.get().text == "two", "the save is live")
    file.write_text("def handle(event, context:\n    return 3\n")
    refused = running.first("refused")
    assert "hello.py, line 1" in refused["error"]["message"]
    assert refused["serving_version"] == 2
    assert running.get().text == "two"
    renamed = file.with_suffix(".new")  # as editors save
    renamed.write_text(GOOD.replace('"one"', '"three"'))
    renamed.rename(file)
    running.until(lambda: running.get().text == "three", "the mended file is live")
    assert running.of("deployed")[-1]["version"] == 3


def test_a_killed_command_leaves_nothing(folder: Path) -> None:
    file = folder / "late.py"
    file.write_text("import nothing_of_that_name\n")
    with serving("run", str(file)) as running:
        assert "nothing_of_that_name" in running.first("refused")["error"]["message"]
        file.write_text("def handle(event, context):\n    return 'here'\n")
        running.until(lambda: running.get().text == "here", "it is served once it is mended")
        pids = running.tree()
        assert running.end(signal.SIGKILL) == -signal.SIGKILL
        running.nothing_left(pids)


def test_a_killed_node_ends_the_command_and_leaves_nothing(running: Serving, folder: Path) -> None:
    pids = running.tree()
    status = next(running.temporary.glob("wisp-run-*/run/status.json"))
    os.kill(json.loads(status.read_text())["pid"], signal.SIGKILL)
    assert running.process.wait(60) == 6
    running.nothing_left(pids)


def test_a_closed_terminal_ends_it_and_instances_never_had_it(folder: Path) -> None:
    """A7: TIOCSTI and /dev/tty. The control: the same code as a plain process of the terminal finds it."""
    file = folder / "tries.py"
    file.write_text(TERMINAL)
    command = [*WISP, "run", str(file), "--port", "0"]
    temporary = Path(tempfile.mkdtemp(prefix="wr-", dir="/tmp"))
    temporary.chmod(0o1777)
    environment = os.environ | {"TMPDIR": str(temporary), "TERM": "dumb", "COLUMNS": "100"}
    control = f"{TERMINAL}\nprint(handle(None, None))\n"
    assert b"opened /dev/tty" in _on_terminal([WISP[0], "-c", control], environment, b"]")[0]
    shown, master, pid = _on_terminal(command, environment, b"Ctrl-C ends")
    url = shown.decode().partition("http://")[2].split()[0]
    assert subprocess.run(["curl", "-s", f"http://{url}"], capture_output=True, check=True).stdout == b"[]"
    os.close(master)  # the terminal is closed
    os.waitpid(pid, 0)
    eventually(lambda: not list(temporary.iterdir()), "its directory is gone")
    temporary.rmdir()


def _on_terminal(command: list[str], environment: dict[str, str], until: bytes) -> tuple[bytes, int, int]:
    """Run a command on a terminal of its own until it has printed something; return (output, terminal, pid)."""
    pid, master = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, environment)
    shown = b""
    end = time.monotonic() + 60
    while until not in shown:
        assert time.monotonic() < end, shown
        try:
            shown += os.read(master, 65_536)
        except OSError:
            break
    return shown, master, pid


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "."], 2, "wisp dev"),
        (["run", "missing.py"], 3, "does not exist"),
        (["dev", "missing"], 3, "no folder"),
    ],
)
def test_wrong_input_is_said_before_anything_starts(folder: Path, arguments: list[str], code: int, said: str) -> None:
    done = subprocess.run([*WISP, *arguments], cwd=folder, capture_output=True, timeout=60, check=False)
    assert done.returncode == code
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr


PROJECT = {
    "wisp.toml": '[functions.alpha]\nhandler = "one:go"\n[functions.beta]\nhandler = "two:go"\n',
    "one.py": "import shared\n\ndef go(event, context):\n    return 'a' + shared.X\n",
    "two.py": "def go(event, context):\n    return 'b'\n",
    "shared.py": "X = '1'\n",
}


def test_a_project_is_served_and_only_what_changed_is_deployed(folder: Path) -> None:
    project = folder / "project"
    project.mkdir()
    for name, text in PROJECT.items():
        (project / name).write_text(text)
    with serving("dev", str(project)) as running:
        urls = running.first("ready")["urls"]
        assert list(urls) == ["alpha", "beta"]
        base = running.url.rpartition("/fn/")[0]
        running.events[0]["url"] = base
        assert (running.get("/fn/alpha").text, running.get("/fn/beta/x").text) == ("a1", "b")
        (project / ".git").mkdir()
        (project / ".git/index").write_text("")
        (project / "shared.py").write_text("X = '2'\n")
        running.until(lambda: running.get("/fn/alpha").text == "a2", "alpha is new")
        (project / "wisp.toml").write_text(PROJECT["wisp.toml"] + 'memroy = "1GB"\n')
        assert "did you mean memory?" in running.first("refused")["error"]["message"]
        (project / "wisp.toml").write_text(PROJECT["wisp.toml"] + 'env = { X = "1" }\n')
        running.until(lambda: len(running.of("deployed")) == 2, "beta is new")
        assert [(one["function"], one["version"]) for one in running.of("deployed")] == [("alpha", 2), ("beta", 2)]
        pids = running.tree()
        assert running.end(signal.SIGTERM) == 0
        running.nothing_left(pids)
