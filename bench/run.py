"""Measure this checkout and its peers: a table for people, one JSON line per row in bench/out/.

    make bench                       everything, three runs, medians
    make bench ROWS="native floor"   some groups only
    bench/run.py --runs 1 --seconds 1 --samples 50

A row that cannot be measured is reported with its reason and the rest goes on; the exit status then is 1. A missed
bar is a result, not a failure.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable

import load
import machine
from groups import GROUPS, PEERS, Bench, peer
from node import Node
from results import Results

# Groups that need a node of their own: its settings differ, or what it grows by is what is measured.
OWN_NODE = {"cold.miss": {"pool_members": 0}, "scale": {}, "idle": {}}


def main() -> int:
    """Run what was asked for; print and write the results even when some of it failed."""
    options = arguments()
    load.ensure_wrk()
    results = Results(busy_percent=machine.busy_percent())
    bench = Bench(results, seconds=options.seconds, samples=options.samples)
    noise = machine.Noise()
    failures: list[str] = []
    for run in range(1, options.runs + 1):
        for name in PEERS:
            if options.wanted(name):
                attempt(f"run {run}: {name}", failures, lambda name=name: peer(bench, name))  # type: ignore[misc]
        nodes(bench, options, run, failures)
    if results.values:
        print(results.table())
        if results.busy_percent > machine.QUIET_PERCENT:
            print(f"\nDoubtful: other work used {results.busy_percent} % of this machine before the first row.")
        print(f"\nsteal {noise.steal_percent()} %, commit {machine.commit()}, written to {results.write()}")
    for failure in failures:
        print(f"not measured: {failure}")
    return 1 if failures else 0


def nodes(bench: Bench, options: argparse.Namespace, run: int, failures: list[str]) -> None:
    """Run the groups that share a node on one, and each of the others on one of its own."""
    shared = [name for name in GROUPS if options.wanted(name) and name not in OWN_NODE]
    if shared:
        attempt(f"run {run}: node", failures, lambda: on_a_node(bench, shared, run, failures, {}))
    for name, settings in OWN_NODE.items():
        # Registering a hundred thousand functions takes a while and does not vary: once is enough.
        if options.wanted(name) and not (name == "scale" and run > 1):
            attempt(
                f"run {run}: {name}",
                failures,
                lambda name=name, settings=settings: on_a_node(bench, [name], run, failures, settings),  # type: ignore[misc]
            )


def on_a_node(bench: Bench, names: list[str], run: int, failures: list[str], settings: dict[str, int]) -> None:
    with Node.started(settings) as node:
        for name in names:
            attempt(f"run {run}: {name}", failures, lambda name=name: GROUPS[name](bench, node))  # type: ignore[misc]


def attempt(title: str, failures: list[str], measure: Callable[[], None]) -> None:
    print(title, file=sys.stderr, flush=True)
    try:
        measure()
    except Exception as failed:  # one row's trouble must not cost the others
        traceback.print_exc()
        failures.append(f"{title}: {failed}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Wisp and its peers.")
    parser.add_argument("rows", nargs="*", help=f"groups to run: {', '.join((*GROUPS, *PEERS))} (all)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3, help="of each load")
    parser.add_argument("--samples", type=int, default=200, help="cold starts of each run")
    parser.add_argument("--without-peers", action="store_true")
    options = parser.parse_args()
    unknown = set(options.rows) - {*GROUPS, *PEERS, "peers"}
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    chosen = set(options.rows) | (set(PEERS) if "peers" in options.rows else set())
    options.wanted = lambda name: (not chosen or name in chosen) and not (options.without_peers and name in PEERS)
    return options


if __name__ == "__main__":
    sys.exit(main())
