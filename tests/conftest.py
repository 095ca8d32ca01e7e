"""What all tests share: who may skip, and that system and security tests leave nothing behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CI = os.environ.get("CI") == "true"
WATCHED = ("system", "security")  # folders of tests that start processes, mounts and cgroups
GONE_WITHIN_S = 10.0  # the platform promises two seconds; a loaded machine gets more


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need root are skipped for everybody else: each has an unprivileged twin in the same file."""
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root; the unprivileged twin runs")
    for item in items:
        if item.get_closest_marker("needs_root"):
            item.add_marker(skip)


@pytest.fixture
def service() -> Callable[[bool, str], None]:
    """Return `need(present, what)`: a missing service skips a test locally and fails it where CI=true."""

    def need(present: bool, what: str) -> None:
        if present:
            return
        if CI:
            pytest.fail(f"{what} is missing, and CI=true lets no test skip for that")
        pytest.skip(f"{what} is missing")

    return need


@pytest.fixture(autouse=True, scope="module")
def nothing_left_behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After a file of system or security tests: no process, mount or control group more than before it."""
    if not _watched(request.path):
        yield
        return
    from leaks import leftovers, snapshot

    mark = f"{tmp_path_factory.getbasetemp()}/"
    before = snapshot(mark)
    yield
    left = leftovers(before, mark, within_s=GONE_WITHIN_S)
    assert not left, "left behind: " + "; ".join(left)


def _watched(path: Path) -> bool:
    below = path.resolve().relative_to(Path(__file__).resolve().parent).parts
    return below[0] in WATCHED
