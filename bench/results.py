"""Medians, ratios, the table for people and the lines for machines."""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import machine
from targets import COMPARED, TARGETS

OUT = Path(__file__).resolve().parent / "out"


@dataclass
class Results:
    """Collects the values of all runs of all rows, and tells them."""

    values: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    busy_percent: float = 0.0  # of the machine before the first row: other work

    def add(self, row: str, value: float) -> None:
        """Add one run's value of a row of the table."""
        if row not in TARGETS:
            raise KeyError(f"{row} is no row of bench/targets.py")
        self.values.setdefault(row, []).append(value)

    def note(self, row: str, text: str) -> None:
        """Say what a reader must know about a row."""
        self.notes[row] = text

    def median(self, row: str) -> float:
        return statistics.median(self.values[row])

    def ratios(self, row: str) -> dict[str, float]:
        """How many times better than each peer of the same run a row is."""
        found = {}
        for peer in COMPARED.get(row, ()):
            if peer in self.values:
                ours, theirs = self.median(row), self.median(peer)
                found[peer] = round(ours / theirs if TARGETS[row].higher else theirs / ours, 2)
        return found

    def write(self) -> Path:
        """Write one JSON line per row; return the file."""
        OUT.mkdir(exist_ok=True)
        shared = {
            "machine": machine.description(),
            "commit": machine.commit(),
            "busy_percent": self.busy_percent,
            "at": time.strftime("%FT%TZ", time.gmtime()),
        }
        path = OUT / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl"
        with path.open("w") as file:
            for row in self._rows():
                file.write(json.dumps(self._line(row) | shared, ensure_ascii=False) + "\n")
        return path

    def _line(self, row: str) -> dict[str, object]:
        target = TARGETS[row]
        value = self.median(row)
        return {
            "row": row,
            "value": round(value, 3),
            "unit": target.unit,
            "target": target.bar,
            "met": target.met(value),
            "runs": [round(v, 3) for v in self.values[row]],
            "ratios": self.ratios(row),
            "note": self.notes.get(row, ""),
        }

    def _rows(self) -> list[str]:
        return [row for row in TARGETS if row in self.values]

    def table(self) -> str:
        """Return the table for people, ratios and notes below their row."""
        lines = [f"{'row':34}{'median':>12}  {'unit':10}{'target':>12}  {'':8}{'runs'}"]
        for row in self._rows():
            target, value = TARGETS[row], self.median(row)
            bar = "" if target.bar is None else f"{'≥' if target.higher else '≤'} {_number(target.bar)}"
            verdict = {None: "", True: "met", False: f"×{_miss(row, value)}"}[target.met(value)]
            runs = " ".join(_number(v) for v in self.values[row])
            lines.append(f"{row:34}{_number(value):>12}  {target.unit:10}{bar:>12}  {verdict:8}{runs}")
            if ratios := self.ratios(row):
                lines.append(
                    "    "
                    + ", ".join(
                        f"{ratio:g}x {peer.removeprefix('peer.').split('.')[0]}" for peer, ratio in ratios.items()
                    )
                )
            if row in self.notes:
                lines.append(f"    {self.notes[row]}")
        return "\n".join(lines)


def _miss(row: str, value: float) -> str:
    """By which factor the bar is missed."""
    bar = TARGETS[row].bar or 1.0
    return f"{bar / value if TARGETS[row].higher else value / bar:.2f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percentile(samples: list[float], share: float) -> float:
    """Return the smallest sample that at least `share` of all samples do not exceed (nearest rank)."""
    ordered = sorted(samples)
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1]
