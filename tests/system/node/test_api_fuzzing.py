"""Schemathesis against a real node: no 5xx, only documented statuses and shapes, wrong input refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from nodes import Node

pytestmark = pytest.mark.once

EXAMPLES_MAX = 4  # for each operation and way of making input
BOUND_S = 240  # the test's own; it takes about a quarter of it
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"),
    *("negative_data_rejection", "unsupported_method", "ignored_auth"),
)
# Left out: functions' own answers, answers that do not end by themselves, and what fetches, builds or waits.
LEFT_OUT = "invoke|/logs|/calls|/builds|/fetch|/backup|/rotate-key"
CONFIG = '[parameters]\n"path.namespace" = "default"\n'


def fuzz(document: Path, node: Node, *flags: str) -> subprocess.CompletedProcess[str]:
    config = document.with_suffix(".toml")
    config.write_text(CONFIG)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", str(document)]
    command += ["--url", node.admin_url, "-H", f"Authorization: Bearer {node.token}", "--checks", ",".join(CHECKS)]
    command += ["--max-examples", str(EXAMPLES_MAX), "--seed", "1", "--generation-database", "none", "--no-color"]
    command += ["--phases", "examples,coverage,fuzzing", "--request-timeout", "20", "--warnings", "off", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, check=False, cwd=document.parent)


@pytest.mark.slow
@pytest.mark.timeout(BOUND_S + 30)
def test_nothing_undocumented_comes_back(shared: Node, tmp_path: Path) -> None:
    document = httpx.get(shared.admin_url + "/v1/openapi.json", trust_env=False).json()
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(document))
    done = fuzz(path, shared, "--exclude-path-regex", LEFT_OUT)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
