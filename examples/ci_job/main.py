"""A job of continuous integration: a zip of a project in, its test report out, line by line as it runs.

wisp deploy examples/ci_job
curl --data-binary @project.zip http://127.0.0.1:8080/fn/ci

What is tested is a stranger's code. It runs inside of the function's own sandbox: no network, no files of the host,
no more memory or time than the function has, and nothing of it is left for the next run.
"""

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import wisp

FILES_MAX, BYTES_MAX = 1_000, 20_000_000


def handle(event, context):
    """Stream the output as JSON lines; the last one is the verdict."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(event.http.body))
        check(archive)
    except (zipfile.BadZipFile, ValueError) as error:
        return wisp.Response({"error": f"the body is no project: {error}"}, 400)
    return run(archive, context)


def check(archive):
    """Raise ValueError for an archive that is too large or leaves its folder."""
    entries = archive.infolist()
    if len(entries) > FILES_MAX or sum(entry.file_size for entry in entries) > BYTES_MAX:
        raise ValueError(f"more than {FILES_MAX} files or {BYTES_MAX} bytes")
    if any(Path(entry.filename).is_absolute() or ".." in Path(entry.filename).parts for entry in entries):
        raise ValueError("a path leaves the folder")


def run(archive, context):
    """Yield the lines of the test run, then how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        archive.extractall(folder)
        command = [sys.executable, "-B", "-m", "unittest", "discover", "-v"]
        process = subprocess.Popen(  # noqa: S603  (that is the job)
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        try:
            for line in process.stdout:
                yield json.dumps({"line": line.rstrip("\n")[:1000]}) + "\n"
            code = process.wait(timeout=max(1.0, context.remaining_s() - 1))
        finally:
            process.kill()
        context.log.info("exit code %d", code)
        yield json.dumps({"passed": code == 0, "exit_code": code}) + "\n"
