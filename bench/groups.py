"""What is measured of a node, group by group. Each function does one run and adds one value to each of its rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import client
import commands
import layers
import load
import machine
import peers
import rollback
import scale
import sockets
from node import Node
from results import Results, percentile

HERE = Path(__file__).resolve().parent
FUNCTIONS = HERE / "functions"
LAYERS = HERE / "out/layers"
BODY_6MB = bytes(range(256)) * (6 * 1024 * 1024 // 256)


class Bench:
    """One run of the bench: where results go, how long rows take, and numbers that make names distinct."""

    def __init__(self, results: Results, *, seconds: float, samples: int) -> None:
        self.results = results
        self.seconds = seconds
        self.samples = samples
        self._number = 0

    def names(self, count: int, stem: str) -> list[str]:
        """Return names that no function of this bench has had yet."""
        self._number += 1
        return [f"{stem}-{self._number}-{index}" for index in range(count)]

    def served(self, prefix: str, url: str) -> None:
        """Measure one HTTP server with 1 and with 32 connections, warmed up first."""
        load.run(url, connections=1, seconds=1)
        one = load.run(url, connections=1, seconds=self.seconds)
        self.results.add(f"{prefix}.c1.p50", one.p50_us)
        self.results.add(f"{prefix}.c1.p99", one.p99_us)
        full = load.run(url, connections=32, seconds=self.seconds)
        self.results.add(f"{prefix}.c32.rate", full.rate_per_s)
        if one.generator != "wrk":
            self.results.note(
                f"{prefix}.c1.p50", "wrk is missing: the load came from Python, which slows the rows down"
            )


def peer(bench: Bench, name: str) -> None:
    """One peer on one core, load generator included, without the gateway that it would have in its platform."""
    with machine.pinned({machine.quiet_core()}), peers.serving(name) as (url, cold_ms):
        if name != "floor":
            bench.results.add(f"{name}.cold", cold_ms)
        bench.served(name, url)
        if name == "peer.uvicorn":
            bench.results.add("peer.uvicorn.websocket.rate", sockets.echo_rate(f"{url}echo", bench.seconds))


def native(bench: Bench, node: Node) -> None:
    _on_one_core(bench, node, "native", node.once("noop", FUNCTIONS / "noop"))


def app(bench: Bench, node: Node) -> None:
    """One parameter in the path, one in the query."""
    _on_one_core(bench, node, "app", node.once("hello-app", FUNCTIONS / "hello_app"), "hello/you?times=2")


def fastapi(bench: Bench, node: Node) -> None:
    layer = layers.build(LAYERS / "fastapi", "fastapi")
    _on_one_core(bench, node, "fastapi", node.once("hello-fastapi", FUNCTIONS / "hello_fastapi", layer=layer))


def websocket(bench: Bench, node: Node) -> None:
    layer = layers.build(LAYERS / "fastapi", "fastapi")
    name = node.once("hello-fastapi", FUNCTIONS / "hello_fastapi", layer=layer)
    with _one_core(node):
        rate = sockets.echo_rate(f"http://127.0.0.1:{node.port}{node.path(name)}echo", bench.seconds)
    bench.results.add("websocket.echo.rate", rate)


def _on_one_core(bench: Bench, node: Node, prefix: str, name: str, rest: str = "") -> None:
    with _one_core(node):
        bench.served(prefix, f"http://127.0.0.1:{node.port}{node.path(name)}{rest}")


@contextmanager
def _one_core(node: Node) -> Iterator[None]:
    """Keep the node and this process on one core."""
    core = machine.quiet_core()
    with machine.pinned({core}):
        machine.pin_tree(node.pid, {core})
        try:
            yield
        finally:
            machine.pin_tree(node.pid, node.cores)


def cold_pool(bench: Bench, node: Node) -> None:
    _cold(bench, node, "cold.pool", node.distinct(bench.names(bench.samples, "cold"), FUNCTIONS / "noop"))


def cold_miss(bench: Bench, node: Node) -> None:
    """On a node whose pool is switched off: every start is a fork."""
    _cold(bench, node, "cold.miss", node.distinct(bench.names(bench.samples, "miss"), FUNCTIONS / "noop"))


def cold_layer(bench: Bench, node: Node) -> None:
    """The layer's zygote is warm, as it is for every start but the first one after a deployment."""
    layer = layers.build(LAYERS / "science", "numpy", "pandas")
    names = node.distinct(bench.names(bench.samples + 1, "layer"), FUNCTIONS / "science", layer=layer)
    with client.Link(node.port) as link:
        first = link.ask("GET", node.path(names[0]))
    bench.results.note(
        "cold.layer.p50", f"the first start of a layer after a deployment took {first.total_ms:.0f} ms"
    )
    time.sleep(2)
    _cold(bench, node, "cold.layer", names[1:])


def _cold(bench: Bench, node: Node, prefix: str, names: list[str]) -> None:
    """Call functions that have never run, one after the other, with time for the pool to fill up between them."""
    samples = []
    with client.Link(node.port) as link:
        for name in names:
            answer = link.ask("GET", node.path(name))
            _good(answer)
            samples.append(answer.first_ms)
            time.sleep(0.03)
    bench.results.add(f"{prefix}.p50", percentile(samples, 0.50))
    bench.results.add(f"{prefix}.p99", percentile(samples, 0.99))
    node.forget(names)


def cold_rate(bench: Bench, node: Node) -> None:
    names = node.distinct(bench.names(max(600, bench.samples * 3), "rate"), FUNCTIONS / "noop")
    elapsed, statuses = client.many(node.port, [node.path(name) for name in names], connections=32)
    _all_good(statuses)
    bench.results.add("cold.rate", len(names) / elapsed)
    node.forget(names)


def idle(bench: Bench, node: Node) -> None:
    """What the kernel has less of per instance that has answered and waits, code and gateway's share included."""
    names = node.distinct(bench.names(400, "idle"), FUNCTIONS / "noop")
    time.sleep(2)
    before = machine.available_bytes()
    _, statuses = client.many(node.port, [node.path(name) for name in names], connections=8)
    _all_good(statuses)
    time.sleep(2)
    each = max(1, before - machine.available_bytes()) / len(names)
    bench.results.add("idle.per_gib", 2**30 / each)
    bench.results.note("idle.per_gib", f"{each / 2**20:.2f} MiB each, by MemAvailable over {len(names)} instances")
    node.forget(names)


def scaled(bench: Bench, node: Node) -> None:
    """A hundred thousand functions of which none runs."""
    bulk = scale.register(node, FUNCTIONS / "noop")
    bench.results.add("bulk.rate", bulk.rate_per_s)
    bench.results.add("registered.bytes", bulk.bytes_each)
    again, first = scale.lookup_us(node, bulk.names)
    bench.results.add("lookup.us", again)
    bench.results.note("lookup.us", f"{first:.1f} µs the first time, when the function's entry is decoded too")
    with Node.started({}) as small:
        name = small.once("noop", FUNCTIONS / "noop")
        ratio, one, many = scale.slope(small, name, node, bulk.names[len(bulk.names) // 2], bench.seconds)
    bench.results.add("slope.ratio", ratio)
    bench.results.note("slope.ratio", f"{one:.1f} and {many:.1f} µs, medians of {scale.ROUNDS} turns each")
    bench.results.add("start.100k.s", scale.start_s(node, bulk.names[0]))


def rolled_back(bench: Bench, node: Node) -> None:
    samples = [rollback.rollback_ms(node, name) for name in bench.names(5, "rollback")]
    bench.results.add("rollback", percentile(samples, 0.5))


def echo(bench: Bench, node: Node) -> None:
    name = node.once("echo", FUNCTIONS / "echo")
    samples = []
    with client.Link(node.port) as link:
        for index in range(25):
            answer = link.ask("POST", node.path(name), body=BODY_6MB)
            if answer.status != 200 or answer.body != BODY_6MB:
                raise RuntimeError(f"echo answered {answer.status} with {len(answer.body)} bytes")
            if index >= 5:
                samples.append(answer.total_ms)
    bench.results.add("echo.6mb", percentile(samples, 0.5))


def deploy(bench: Bench, node: Node) -> None:
    """From the first byte of the upload to the answer that the version is live; the command line is not in it."""
    samples = [node.deploy_ms(name, FUNCTIONS / "noop") for name in bench.names(20, "deploy")]
    bench.results.add("deploy.folder", percentile(samples, 0.5))
    names = bench.names(21, "cached")
    samples = [node.deploy_ms(name, FUNCTIONS / "cached", build=True) for name in names]
    bench.results.add("deploy.cached", percentile(samples[1:], 0.5))  # the first one builds


def help_ms(bench: Bench, node: Node) -> None:
    """The command line alone: a fresh interpreter to the end of the help."""
    samples = [commands.help_ms() for _ in range(20)]
    bench.results.add("help.ms", percentile(samples, 0.5))


def run_reload(bench: Bench, node: Node) -> None:
    with commands.running() as served:
        samples = [served.reload_ms(number) for number in range(20)]
    bench.results.add("run.reload", percentile(samples, 0.5))


def bill(bench: Bench, node: Node) -> None:
    """The same CPU-bound work, one call after another and many at once: the bill must be the same."""
    alone, together = node.distinct(bench.names(2, "burn"), FUNCTIONS / "burn")
    client.many(node.port, [node.path(alone)] * 100, connections=1)
    client.many(node.port, [node.path(together)] * 100, connections=16)
    bench.results.add("bill.ratio", node.billed_ms(together) / node.billed_ms(alone))


def _good(answer: client.Timed) -> None:
    if not 200 <= answer.status < 300:
        raise RuntimeError(f"answer {answer.status}: {answer.body[:300]!r}")


def _all_good(statuses: dict[int, int]) -> None:
    if bad := {status: count for status, count in statuses.items() if not 200 <= status < 300}:
        raise RuntimeError(f"answers by status: {bad}")


GROUPS: dict[str, Callable[[Bench, Node], None]] = {
    "native": native,
    "app": app,
    "fastapi": fastapi,
    "websocket": websocket,
    "echo": echo,
    "deploy": deploy,
    "help": help_ms,
    "reload": run_reload,
    "rollback": rolled_back,
    "bill": bill,
    "cold.pool": cold_pool,
    "cold.layer": cold_layer,
    "cold.rate": cold_rate,
    "idle": idle,
    "cold.miss": cold_miss,
    "scale": scaled,
}
PEERS = (
    "floor",
    *(f"peer.{n}" for n in ("awslambdaric", "functions-framework", "flask-waitress", "flask-gevent", "uvicorn")),
)
