"""What a failed build tells its user to do."""

from __future__ import annotations

import pytest

from wispd.control import buildfaults
from wispd.control.buildstream import Failed
from wispd.model.build import Index

INDEX = Index()
NO_VERSION = """error: No solution found when resolving dependencies
  cause: Because there is no version of requests==99.0 and you require requests==99.0, we can conclude that your
         requirements are unsatisfiable.
"""
NO_WHEEL = """error: No solution found when resolving dependencies
  cause: Because onnxruntime==1.10.0 has no wheels with a matching Python ABI tag (e.g., `cp311`)

hint: You require CPython 3.11 (`cp311`), but we only found wheels for `onnxruntime` with: `cp38`
"""
OFFLINE = """error: Request failed after 3 retries in 7.4s
  cause: Failed to fetch: https://user:secret@index.example.org/simple/requests/
  cause: error sending request for url (https://user:secret@index.example.org/simple/requests/)
"""


def explained(output: str, reason: str = "exit") -> tuple[str, str]:
    failed = Failed(reason, "Resolving requirements.txt", "uv ended with exit code 1")  # type: ignore[arg-type]
    fault = buildfaults.explain(failed, output, INDEX)
    assert fault.code == "build_failed"
    assert fault.message.startswith("Resolving requirements.txt: ")
    return str(fault.facts["reason"]), fault.message


@pytest.mark.parametrize(
    ("output", "reason", "says"),
    [
        (NO_VERSION, "no_version", "requests==99.0"),
        (NO_WHEEL, "no_wheel", "another --runtime"),
        (OFFLINE, "offline", "index.example.org can't be reached"),
        ("error: command 'gcc' failed: No such file or directory", "compiler", "needs gcc"),
        (
            "error: command '/usr/bin/x86_64-linux-gnu-gcc' failed\nunable to execute 'gcc': not found",
            "compiler",
            "gcc",
        ),
        ("error: [Errno 2] No such file or directory: '/bin/sh'", "compiler", "shell or a compiler"),
        ("  cause: Git operation failed\n  cause: Git executable not found.", "program", "archive"),
        ("OSError: [Errno 28] No space left on device", "disk", "disk_bytes"),
        ("Traceback\nRuntimeError: my own reason", "exit", "my own reason"),
    ],
)
def test_the_installer_s_words_become_advice(output: str, reason: str, says: str) -> None:
    found, message = explained(output)
    assert found == reason
    assert says in message


@pytest.mark.parametrize(
    ("reason", "says"),
    [("timeout", "600 s"), ("disk", "2048 MB"), ("program", "no other programs"), ("tree", "refused")],
)
def test_the_sandbox_s_own_reasons(reason: str, says: str) -> None:
    found, message = explained("", reason)
    assert found == reason
    assert says in message


def test_credentials_of_an_index_are_not_repeated() -> None:
    assert "secret" not in explained(OFFLINE)[1]


def test_the_last_lines_come_along() -> None:
    failed = Failed("exit", "", "")
    fault = buildfaults.explain(failed, "\n".join(f"line {number}" for number in range(100)), INDEX)
    assert str(fault.facts["output"]).splitlines()[-1] == "line 99"
    assert len(str(fault.facts["output"]).splitlines()) == buildfaults.TAIL_LINES
