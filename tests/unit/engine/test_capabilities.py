"""Levels follow from capabilities alone; remedies name exact commands; doctor prints both."""

from __future__ import annotations

import json
import shlex

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from wispd.adapters.engine.process import capabilities, remedies
from wispd.adapters.engine.process.capabilities import OPTIONAL, REQUIRED, Capability, Report, level
from wispd.cli import doctor

NAMES = (*REQUIRED, *OPTIONAL)
ORDER = ("process", "namespaces", "full")


def rows(absent: set[str]) -> list[Capability]:
    return [Capability(name, name not in absent, name in REQUIRED, remedy=f"fix {name}") for name in NAMES]


def test_everything_present_is_full() -> None:
    found = level(rows(set()))
    assert (found.name, found.reasons, found.remedies) == ("full", (), ())


@pytest.mark.parametrize("name", REQUIRED)
def test_without_a_required_one_there_is_no_isolation(name: str) -> None:
    found = level(rows({name, "cpu_limit"}))
    assert found.name == "process"
    assert found.reasons == (f"{name}: missing",)
    assert found.remedies == (f"fix {name}",)


@pytest.mark.parametrize("name", ["memory_limit", "cpu_limit", "pids_limit", "distinct_uids", "egress"])
def test_without_a_limit_it_is_namespaces(name: str) -> None:
    found = level(rows({name}))
    assert (found.name, found.remedies) == ("namespaces", (f"fix {name}",))


@given(st.sets(st.sampled_from(NAMES)), st.sampled_from(NAMES))
def test_one_more_capability_never_lowers_the_level(absent: set[str], name: str) -> None:
    before, after = level(rows(absent | {name})), level(rows(absent - {name}))
    assert ORDER.index(before.name) <= ORDER.index(after.name)


def test_what_was_not_probed_counts_as_absent() -> None:
    assert level([]).name == "process"


def test_a_probe_that_hangs_or_dies_is_an_absent_capability() -> None:
    assert "within" in capabilities.in_child(loop, 0.2)
    assert "ZeroDivisionError" in capabilities.in_child(lambda: 1 // 0)
    assert capabilities.in_child(lambda: None) == ""


def loop() -> None:
    while True:
        pass


@pytest.mark.parametrize("name", ["apparmor", "delegation", "userns_clone", "max_user_namespaces"])
def test_remedies_can_be_typed_and_run(name: str) -> None:
    one = remedies.remedy(name, executable="/opt/python/bin/python3.12", root=False)
    assert one.runnable
    assert one.commands
    for command in one.commands:
        assert shlex.split(shlex.join(command)) == list(command)
    lines = list(doctor.lines(one))
    assert all(line.startswith("sudo ") for line in lines)
    assert all(content in "\n".join(lines) for _, content in one.files)


def test_the_profile_names_the_interpreter() -> None:
    one = remedies.remedy("apparmor", executable="/opt/python/bin/python3.12", root=False)
    assert 'profile wisp "/opt/python/bin/python3.12" flags=(unconfined)' in one.files[0][1]
    assert "userns," in one.files[0][1]


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Report:
    found = [Capability(name, name != "memory_limit", name in REQUIRED, remedy="delegation") for name in NAMES]
    one = Report("6.1.0", "x86_64", 1000, tuple(found), level(found))
    monkeypatch.setattr(capabilities, "probe", lambda: one)
    return one


def test_doctor_prints_the_matrix_and_the_limits(report: Report, tmp_path: object) -> None:
    result = CliRunner().invoke(doctor.doctor, ["--data", str(tmp_path)])
    assert result.exit_code == 0, result.output
    for word in ("namespaces", "memory_limit", "SQLite", "timeout_s", "body_bytes", "runtimes", "doctor --fix"):
        assert word in result.output


def test_doctor_json_is_one_document(report: Report, tmp_path: object) -> None:
    result = CliRunner().invoke(doctor.doctor, ["--json", "--fix", "--data", str(tmp_path)])
    found = json.loads(result.stdout)
    assert found["level"] == "namespaces"
    assert found["sqlite"]["recent_enough"] is True
    assert found["remedies"][0]["lines"]


def test_doctor_runs_exactly_what_it_shows(report: Report, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    ran: list[tuple[list[str], bytes]] = []

    def run(command: list[str], *, input: bytes, **options: object) -> None:
        assert "shell" not in options
        ran.append((command, input))

    monkeypatch.setattr(doctor.subprocess, "run", run)
    monkeypatch.setattr(doctor.os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(doctor.doctor, ["--fix", "--yes", "--data", str(tmp_path)])
    assert result.exit_code == 0, result.output
    one = remedies.remedy("delegation", executable="", root=False)
    path, content = one.files[0]
    assert (["sudo", "tee", path], content.encode()) in ran
    assert ran[-1][0] == ["sudo", *one.commands[-1]]


def test_yes_alone_is_wrong_use(report: Report) -> None:
    assert CliRunner().invoke(doctor.doctor, ["--yes"]).exit_code == 2
