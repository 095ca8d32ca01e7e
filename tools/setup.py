"""Make `.venv` hold Wisp (editable) and its locked development tools. Standard library only.

Runs under any Python 3 that a machine happens to have, and looks for one that is new enough; so this file keeps to
syntax that old interpreters can parse. Idempotent: a stamp remembers what was installed, and from what.

    python3 tools/setup.py [--venv DIR] [--lock FILE] [--no-project]

Exit status: 0 done, 1 something is missing (the message says what to install).
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys

FLOOR = (3, 11)
CANDIDATES = ("python3", "python3.14", "python3.13", "python3.12", "python3.11")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Missing(Exception):
    """Something that only the user can provide; the message says how."""


def main():
    """Bring the environment up to date, or say what is missing."""
    options = arguments()
    venv = os.path.join(ROOT, options.venv)
    lock = os.path.join(ROOT, options.lock)
    try:
        python = find_python()
        stamp = stamp_of(python, lock, options.project)
        if read(os.path.join(venv, ".stamp")) == stamp:
            # Newer than what it depends on, so that make is satisfied too.
            os.utime(os.path.join(venv, ".stamp"), None)
            return 0
        install(make_environment(python, venv), lock, options.project)
        with open(os.path.join(venv, ".stamp"), "w") as file:
            file.write(stamp)
    except Missing as missing:
        print("setup: " + str(missing), file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as failed:
        print("setup: failed with status %d: %s" % (failed.returncode, " ".join(failed.cmd)), file=sys.stderr)
        return 1
    return 0


def arguments():
    parser = argparse.ArgumentParser(description="Set up the environment of this checkout.")
    parser.add_argument("--venv", default=".venv", help="the environment, below the checkout")
    parser.add_argument("--lock", default="requirements.lock", help="what to install, with hashes")
    parser.add_argument("--no-project", dest="project", action="store_false", help="don't install Wisp itself")
    return parser.parse_args()


def find_python():
    """Return the path of the first Python that is new enough; PYTHON in the environment goes first."""
    wanted = os.environ.get("PYTHON")
    found = []
    for name in ((wanted,) if wanted else ()) + CANDIDATES:
        path = shutil.which(name)
        version = version_of(path) if path else None
        if version and version >= FLOOR:
            return path
        if version:
            found.append("%s is %d.%d" % ((path,) + version))
    raise Missing(
        "Wisp needs Python %d.%d or newer; %s. Install one: apt install python3 python3-venv"
        % (FLOOR + ("; ".join(found) or "none was found",))
    )


def version_of(path):
    """Return (major, minor), or None for what does not run: a version manager's stub, say."""
    try:
        code = "import sys; print(*sys.version_info[:2])"
        out = subprocess.run(
            [path, "-I", "-c", code], check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30
        )
        major, minor = out.stdout.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def stamp_of(python, lock, project):
    """Return a line that changes whenever the environment has to be made again."""
    digest = hashlib.sha256()
    for path in [lock, os.path.abspath(__file__)] + ([os.path.join(ROOT, "pyproject.toml")] if project else []):
        digest.update(read(path).encode())
    return "%s %s %s\n" % (digest.hexdigest(), "%d.%d" % version_of(python), ROOT)


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""


def make_environment(python, venv):
    """Make the environment if there is none that works; return the command that installs into it."""
    inside = os.path.join(venv, "bin", "python")
    if version_of(inside) != version_of(python):
        shutil.rmtree(venv, ignore_errors=True)
    ways = (by_what_is_there, by_venv, by_uv, by_pip, by_virtualenv, by_debian_packages)
    for way in ways:
        command = way(python, venv, inside)
        if command:
            return command
    raise Missing(
        "%s has no `ensurepip`, and neither uv, pip nor virtualenv is installed. One of these helps:\n"
        "    apt install python%d.%d-venv        (or python3-venv; as root)\n"
        "    apt install python3-pip" % ((python,) + version_of(python))
    )


def runs(command):
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.run(command, check=False, **quiet).returncode == 0


def by_what_is_there(_python, _venv, inside):
    return [inside, "-m", "pip"] if os.path.exists(inside) and runs([inside, "-m", "pip", "--version"]) else None


def by_venv(python, venv, inside):
    if runs([python, "-c", "import ensurepip, venv"]) and runs([python, "-m", "venv", "--clear", venv]):
        return [inside, "-m", "pip"]
    return None


def by_uv(python, venv, inside):
    uv = shutil.which("uv")
    if uv and runs([uv, "venv", "-q", "--allow-existing", "--python", python, venv]):
        return [uv, "pip", "--python", inside]
    return None


def by_pip(python, venv, inside):
    """A pip outside the environment installs into it, where this interpreter can make one without ensurepip."""
    if not runs([python, "-m", "pip", "--python", python, "--version"]):
        return None
    if not runs([python, "-m", "venv", "--clear", "--without-pip", venv]):
        return None
    return [python, "-m", "pip", "--python", inside]


def by_virtualenv(python, venv, inside):
    tool = shutil.which("virtualenv")
    command = [tool] if tool else [python, "-m", "virtualenv"]
    return [inside, "-m", "pip"] if runs(command + ["--clear", "-p", python, venv]) else None


def by_debian_packages(python, venv, inside):
    """As root on Debian or Ubuntu the missing package is installed, and said so; others are told its name."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        return None
    package = "python%d.%d-venv" % version_of(python)
    print("setup: this Python has no ensurepip; installing the system package " + package, flush=True)
    if not runs(["apt-get", "install", "-y", "-q", package]):
        runs(["apt-get", "update", "-q"])
        runs(["apt-get", "install", "-y", "-q", package])
    return by_venv(python, venv, inside)


def install(installer, lock, project):
    """Install what is locked, checked by hash, and then the project, which needs no network any more."""
    if installer[1:2] == ["pip"]:
        # uv's own form: the interpreter follows the verb.
        installer, target = installer[:2], installer[2:]
        quiet = ["-q"]
    else:
        target = []
        quiet = ["-q", "--disable-pip-version-check", "--no-input", "--root-user-action=ignore"]
    print("setup: installing %s" % os.path.basename(lock), flush=True)
    call(installer + ["install"] + target + quiet + ["--require-hashes", "-r", lock])
    if project:
        call(installer + ["install"] + target + quiet + ["--no-deps", "--no-build-isolation", "-e", ROOT])


def call(command):
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
