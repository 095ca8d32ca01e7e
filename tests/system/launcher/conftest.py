"""Every test here runs as root and, as its twin, as an unprivileged user."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import launcherbox
import pytest

ROOT_AND_USER = [pytest.param(False, id="root", marks=pytest.mark.needs_root), pytest.param(True, id="user")]


@pytest.fixture(scope="module", params=ROOT_AND_USER)
def user(request: pytest.FixtureRequest) -> bool:
    """Run as the unprivileged user?"""
    unprivileged: bool = request.param
    if unprivileged and not launcherbox.system_python_present():
        pytest.skip("uid 65534 can't run a Python here, or not read this repository")
    return unprivileged


@pytest.fixture(scope="module")
def box(user: bool) -> Iterator[launcherbox.Box]:
    """One launcher for the tests of a file."""
    with launcherbox.box(user=user) as one:
        yield one


@pytest.fixture
def own_box(user: bool) -> Iterator[Callable[..., launcherbox.Box]]:
    """Make launchers of one's own, to be killed."""
    made: list[launcherbox.Box] = []

    def make(**settings: Any) -> launcherbox.Box:
        made.append(launcherbox.Box(user=user, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()
