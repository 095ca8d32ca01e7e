"""Runs the steps of a build and yields what happens."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from wisp.runtime.building import records, trees

REQUEST: Final = "WISP_BUILD"  # the variable that holds the request
GRACE_S: Final = 5.0  # before the platform's own deadline, so that there is still time to say so
_TICK_S: Final = 0.5
_LOG_BYTES_MAX: Final = 1 << 20
_PIECE: Final = 1 << 16
_FREE_MIN: Final = 1 << 20


class StepFailed(Exception):
    """A step did not work. `reason` is one of `records.REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def build(_event: object, context: Any) -> Iterator[bytes]:
    """Handle the one event of a build's instance."""
    request = json.loads(os.environ[REQUEST])
    return Build(request, time.monotonic() + context.remaining_s() - GRACE_S).records()


class Build:
    """One build in a folder of its own. `end` is on the monotonic clock."""

    def __init__(self, request: dict[str, Any], end: float) -> None:
        from wisp.runtime.building import APP

        self._steps: list[dict[str, Any]] = request["steps"]
        self._end = end
        self._logged = 0
        self._label = ""
        self.work = tempfile.mkdtemp(prefix="build-")
        self._places = {"{app}": APP, "{work}": self.work, "{python}": sys.executable}
        if request.get("layer"):
            self._places["{layer}"] = sys.path.pop()  # likewise none of ours
        self._environment = {name: self._put(value) for name, value in request["env"].items()}

    def records(self) -> Iterator[bytes]:
        """Run everything; the last record says how it ended."""
        try:
            self._prepare()
            for step in self._steps:
                self._label = step.get("label", "")
                if self._label:
                    yield records.pack_json(records.STEP, {"label": self._label})
                yield from self._do(step)
            yield records.pack(records.DONE, b"")
        except StepFailed as error:
            yield self._failed(error.reason, error.detail)
        except trees.TreeRefused as error:
            yield self._failed("tree", str(error))
        except OSError as error:
            yield self._failed("disk" if self._full() else "internal", str(error))
        finally:
            self._end_others(None)
            shutil.rmtree(self.work, ignore_errors=True)

    def _failed(self, reason: str, detail: str) -> bytes:
        return records.pack_json(records.FAILED, {"reason": reason, "label": self._label, "detail": detail[:4096]})

    def _prepare(self) -> None:
        """Make the folders every step finds: a home, and `python` on the path."""
        for name in ("home", "bin", "tmp"):
            os.mkdir(os.path.join(self.work, name))
        for name in ("python", "python3"):
            os.symlink(sys.executable, os.path.join(self.work, "bin", name))

    def _put(self, text: str) -> str:
        for mark, value in self._places.items():
            text = text.replace(mark, value)
        return text

    @staticmethod
    def _expanded(part: str) -> list[str]:
        """Return the files of a folder for `folder/*`, so that a request stays small however many there are."""
        if not part.startswith("/") or not part.endswith("/*"):
            return [part]
        folder = part[:-2]
        return [f"{folder}/{name}" for name in sorted(os.listdir(folder))] if os.path.isdir(folder) else []

    def _do(self, step: dict[str, Any]) -> Iterator[bytes]:
        kind = step["do"]
        if kind == "run":
            yield from self._run(step)
        elif kind == "copy":
            copied = self._put(step["to"])
            shutil.copytree(self._put(step["from"]), copied, copy_function=shutil.copyfile, symlinks=True)
            _restore_modes(self._put(step["from"]), copied)
        elif kind == "send":
            only = [step["only"]] if "only" in step else None
            yield from trees.send(self._put(step["root"]), step["tree"], only=only)
        else:
            raise StepFailed("internal", f"no step {kind!r}")

    # ── one command ─────────────────────────────────────────────────────────────────────────────────────────

    def _run(self, step: dict[str, Any]) -> Iterator[bytes]:
        argv = [part for given in step["argv"] for part in self._expanded(self._put(given))]
        folder = self._put(step.get("cwd", "{work}"))
        environment = self._environment | {name: self._put(value) for name, value in step.get("env", {}).items()}
        try:
            process = subprocess.Popen(  # noqa: S603  (foreign on purpose: this is what the sandbox is for)
                argv,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise StepFailed("program", f"{argv[0]}: {error.strerror}") from None
        try:
            yield from self._output(process)
        finally:
            self._end_others(process)
        code = process.returncode
        if self._full():
            raise StepFailed("disk", "the sandbox's disk is full")
        if code and not step.get("may_fail"):
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise StepFailed("exit", f"{' '.join(argv)[:500]} {how}")

    def _output(self, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
        assert process.stdout is not None
        number = process.stdout.fileno()
        while True:
            left = self._end - time.monotonic()
            if left <= 0:
                raise StepFailed("timeout", "time is up")
            ready, _, _ = select.select([number], [], [], min(left, _TICK_S))
            if ready:
                text = os.read(number, _PIECE)
                if not text:
                    break
                yield from self._log(text)
            elif process.poll() is not None:  # what it left behind holds the pipe; that is no reason to wait
                return
        while process.poll() is None:
            if time.monotonic() > self._end:
                raise StepFailed("timeout", "time is up")
            time.sleep(0.005)

    def _log(self, text: bytes) -> Iterator[bytes]:
        if self._logged > _LOG_BYTES_MAX:
            return
        self._logged += len(text)
        yield records.pack(records.LOG, text)
        if self._logged > _LOG_BYTES_MAX:
            yield records.pack(records.LOG, b"\n[the rest of the output is left out]\n")

    def _end_others(self, process: subprocess.Popen[bytes] | None) -> None:
        """Kill whatever a step left running: nothing of it may change what is read afterwards."""
        if os.getpid() == 1:  # of a namespace of our own: everybody else in it is the build's
            with suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
        elif process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        if process is not None:
            process.wait()
        with suppress(ChildProcessError):
            while os.getpid() == 1 and os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def _full(self) -> bool:
        try:
            space = os.statvfs(self.work)
        except OSError:
            return False
        return space.f_bavail * space.f_frsize < _FREE_MIN or space.f_favail == 0


def _restore_modes(source: str, copied: str) -> None:
    """Make the copies writable, and executable where their sources are."""
    for folder, _, names in os.walk(copied):
        os.chmod(folder, 0o755)  # noqa: S103  (of the build alone)
        for name in names:
            path = os.path.join(folder, name)
            original = os.path.join(source, os.path.relpath(path, copied))
            os.chmod(path, 0o755 if os.stat(original).st_mode & 0o111 else 0o644)
