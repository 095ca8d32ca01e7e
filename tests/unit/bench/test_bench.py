"""The bench's arithmetic: a wrong percentile would be a wrong promise."""

from __future__ import annotations

import json
from pathlib import Path

import client
import pytest
import results
from targets import COMPARED, TARGETS


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.001, 1.0)])
def test_a_percentile_is_the_nearest_rank(share: float, expected: float) -> None:
    assert results.percentile([float(n) for n in range(100, 0, -1)], share) == expected


def test_the_p99_of_few_samples_is_the_worst_one() -> None:
    assert results.percentile([1.0, 2.0, 9.0], 0.99) == 9.0


def test_ratios_say_how_many_times_better_ours_is() -> None:
    found = results.Results()
    for row, value in {"native.c1.p50": 50, "peer.flask-waitress.c1.p50": 200}.items():
        found.add(row, value)
    for row, value in {"native.c32.rate": 40_000, "peer.flask-waitress.c32.rate": 5_000}.items():
        found.add(row, value)
    assert found.ratios("native.c1.p50") == {"peer.flask-waitress.c1.p50": 4.0}
    assert found.ratios("native.c32.rate") == {"peer.flask-waitress.c32.rate": 8.0}


def test_lines_hold_the_median_the_runs_and_the_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "OUT", tmp_path)
    found = results.Results()
    for value in (70.0, 30.0, 50.0):
        found.add("native.c1.p50", value)
    found.add("cold.rate", 150.0)
    lines = {line["row"]: line for line in map(json.loads, found.write().read_text().splitlines())}
    assert lines["native.c1.p50"]["value"] == 50.0
    assert lines["native.c1.p50"]["runs"] == [70.0, 30.0, 50.0]
    assert lines["native.c1.p50"]["met"] is True
    assert lines["cold.rate"]["met"] is False
    assert {"machine", "commit", "at", "unit", "target"} <= lines["cold.rate"].keys()
    assert "×2.00" in found.table()


def test_rows_that_nobody_declared_are_refused() -> None:
    with pytest.raises(KeyError):
        results.Results().add("native.c1.p51", 1.0)


def test_compared_rows_exist() -> None:
    assert {row for row in COMPARED if row not in TARGETS} == set()
    assert {peer for peers in COMPARED.values() for peer in peers if peer not in TARGETS} == set()


def test_answers_are_read_by_length_or_in_chunks() -> None:
    assert client.parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 5") == (200, 5)
    assert client.parse_head(b"HTTP/1.1 204 No Content") == (204, 0)
    assert client.parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked") == (200, None)
