"""How a failure is said to whoever types commands."""

from __future__ import annotations

import pytest

from wispd.base.errors import Fault
from wispd.cli.failures import REFUSED, report


def test_a_refused_token_is_told_with_the_variable_to_set(capsys: pytest.CaptureFixture[str]) -> None:
    fault = Fault("unauthenticated", "a valid token is needed: Authorization: Bearer <token>")
    assert report(fault, as_json=False) == REFUSED
    told = capsys.readouterr().err
    assert "WISP_TOKEN" in told
    assert "Authorization" not in told
