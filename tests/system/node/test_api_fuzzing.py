"""Schemathesis against a real node: no 5xx, only documented statuses and shapes, wrong input refused.

The negative controls: documents that lie about the node, and a server that fails, are found out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from nodes import Node

pytestmark = pytest.mark.once

EXAMPLES_MAX = 3  # for each operation and way of making input
WORKERS = 4  # most of the time an answer waits for the disk
GOOD_MIN = 100  # answers; a run in which everything is refused would find nothing
BOUND_S = 240  # the test's own; it takes a tenth of it where nothing else runs
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"),
    *("negative_data_rejection", "unsupported_method", "ignored_auth"),
)
# Left out: functions' own answers, answers that do not end by themselves, what fetches, builds or waits, lines of
# JSON, which it can't make; and what makes all that comes after it a documented refusal: a small quota (429), and the
# end of the token (401): it takes ids from answers, so it does find its own.
LEFT_OUT = "invoke|/logs|/calls|/builds|/fetch|/backup|/rotate-key|:batch|/quota|/tokens/"
CONFIG = '[parameters]\n"path.namespace" = "default"\n'


FUNCTIONS = "/v1/namespaces/{namespace}/functions"
SECRETS = "/v1/namespaces/{namespace}/secrets"


def fuzz(
    document: dict[str, Any], url: str, token: str, folder: Path, *, phases: str = "coverage"
) -> subprocess.CompletedProcess[str]:
    path = folder / "openapi.json"
    path.write_text(json.dumps(document))
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", str(path)]
    command += ["--url", url, "-H", f"Authorization: Bearer {token}", "--checks", ",".join(CHECKS)]
    command += ["--max-examples", str(EXAMPLES_MAX), "--seed", "1", "--generation-database", "none", "--no-color"]
    command += ["--phases", phases, "--request-timeout", "20", "--warnings", "off"]
    command += ["--workers", str(WORKERS), "--exclude-path-regex", LEFT_OUT]
    command += ["--report", "har", "--report-dir", str(folder / "reports")]
    return subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, check=False, cwd=folder)


def document_of(node: Node) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(node.admin_url + "/v1/openapi.json", trust_env=False).json()
    return found


def statuses(folder: Path) -> Counter[int]:
    """Return how many answers had which status."""
    (report,) = (folder / "reports").glob("*.json")
    return Counter(entry["response"]["status"] for entry in json.loads(report.read_text())["log"]["entries"])


def only(document: dict[str, Any], *paths: str) -> dict[str, Any]:
    """Return the document of the GETs of some paths."""
    return document | {"paths": {path: {"get": document["paths"][path]["get"]} for path in paths}}


@pytest.fixture
def failing() -> Iterator[str]:
    """A server that answers 500 to everything."""

    class Fails(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(500)
            self.send_header("Content-Type", "application/problem+json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Fails)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
@pytest.mark.timeout(BOUND_S + 30)
def test_nothing_undocumented_comes_back(shared: Node, tmp_path: Path) -> None:
    done = fuzz(document_of(shared), shared.admin_url, shared.token, tmp_path, phases="examples,coverage,fuzzing")
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    seen = statuses(tmp_path)
    assert seen[200] + seen[201] + seen[204] > GOOD_MIN, f"almost everything was refused: {seen}"
    assert not seen[429] + seen[503], f"answers that say nothing of the request: {seen}"
    path, headers = FUNCTIONS.format(namespace="default"), {"Authorization": f"Bearer {shared.token}"}
    assert httpx.get(shared.admin_url + path, headers=headers, trust_env=False).status_code == 200, (
        "a token to the end"
    )


@pytest.mark.slow
@pytest.mark.timeout(BOUND_S + 30)
def test_a_document_that_lies_is_found_out(shared: Node, tmp_path: Path) -> None:
    """A shape without what the answer has to have, a status that is not named, a limit that is not kept."""
    document = only(document_of(shared), FUNCTIONS, FUNCTIONS + "/{name}", SECRETS)
    answer = document["paths"][FUNCTIONS]["get"]["responses"]["200"]["content"]["application/json"]
    answer["schema"] = {"type": "object", "required": ["no_such_field"]}
    del document["paths"][FUNCTIONS + "/{name}"]["get"]["responses"]["404"]
    limit = next(one for one in document["paths"][SECRETS]["get"]["parameters"] if one["name"] == "limit")
    limit["schema"] = {"type": "integer", "minimum": 1, "maximum": 10}
    done = fuzz(document, shared.admin_url, shared.token, tmp_path, phases="coverage,fuzzing")
    assert done.returncode == 1, done.stdout[-6000:] + done.stderr[-2000:]
    for found in ("Response violates schema", "Undocumented status code", "Schema-violating request accepted"):
        assert found in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(BOUND_S + 30)
def test_a_server_that_fails_is_found_out(shared: Node, failing: str, tmp_path: Path) -> None:
    done = fuzz(only(document_of(shared), FUNCTIONS), failing, "none", tmp_path)
    assert done.returncode == 1, done.stdout[-6000:] + done.stderr[-2000:]
    assert "Server error" in done.stdout
