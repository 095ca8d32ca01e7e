"""Zygotes of dependency layers: one per (runtime, namespace, layer), in a sandbox of its own, never waited for."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Final

from wispd.adapters.engine.process import layers
from wispd.adapters.engine.process.cgroup import Group, Limits
from wispd.adapters.engine.process.endings import Endings
from wispd.adapters.engine.process.handover import TreeMissing, Trees
from wispd.adapters.engine.process.instances import Kind
from wispd.adapters.engine.process.making import Maker
from wispd.adapters.engine.process.world import World
from wispd.adapters.engine.process.zygotes import Zygote

LAYERS_MAX: Final = 16  # at once; the one unused longest goes first
IMPORT_TIMEOUT_S: Final = 60.0
RETRY_S: Final = (1.0, 10.0, 60.0, 600.0)  # after the first, second, … failure
LIMITS: Final = Limits(1 << 30, 1000, 256)
_SWEEP_S: Final = 0.5

Key = tuple[int, bytes, bytes]


@dataclass(slots=True)
class _Layer:
    kind: Kind
    zygote: Zygote | None = None
    group: Group | None = None
    used_ns: int = 0
    failures: int = 0
    not_before_ns: int = 0
    threaded: bool = False  # it starts threads: never forked, plain members mount it


class LayerZygotes:
    """Finds and starts them. A start that finds none is served by a plain member with the layer mounted."""

    def __init__(self, maker: Maker, trees: Trees, world: World, endings: Endings) -> None:
        self._maker = maker
        self._trees = trees
        self._world = world
        self._endings = endings
        self._layers: dict[Key, _Layer] = {}
        self._retired: list[tuple[Zygote, Group | None]] = []
        self._sweeping = False

    def find(self, kind: Kind) -> Zygote | None:
        """The layer's zygote if it forks already; otherwise None, and it is started unless it can't be."""
        if self._world.mode == "process":
            return None
        layer = self._layers.setdefault((kind.runtime, kind.namespace, kind.layer), _Layer(kind))
        layer.used_ns = now_ns = time.monotonic_ns()
        if layer.zygote is not None:
            return layer.zygote if layer.zygote.state == "ready" else None
        if not layer.threaded and layer.not_before_ns <= now_ns:
            self._start(layer)
        return None

    def failed_for_good(self, kind: Kind) -> bool:
        """Is this a layer that must not be forked from?"""
        layer = self._layers.get((kind.runtime, kind.namespace, kind.layer))
        return layer is not None and layer.threaded

    def release(self, kind: Kind) -> None:
        """Nobody keeps members of it: end the zygote (its members live on)."""
        layer = self._layers.get((kind.runtime, kind.namespace, kind.layer))
        if layer is not None and layer.zygote is not None:
            self._retire(layer)

    def all(self) -> list[Zygote]:
        return [layer.zygote for layer in self._layers.values() if layer.zygote is not None]

    def mount(self, zygote: Zygote) -> None:
        """Its sandbox waits: put the layer in, limit it, and let it import."""
        layer = self._of(zygote)
        if layer is None:
            return
        self._endings.watch_process(zygote.init_pid, lambda: None)
        try:
            layer.group = self._world.groups.create(f"l{zygote.number:x}", LIMITS)
            if layer.group is not None:
                layer.group.join(zygote.init_pid)
                layer.group.join(zygote.pid)
            tree = self._trees.open(layer.kind.layer.hex())
            try:
                self._world.mount_layer(zygote.pid, tree, layers.MOUNT)
            finally:
                os.close(tree)
            zygote.import_layer()
        except (OSError, TreeMissing) as error:
            self._log(layer, f"can't be mounted: {error}")
            self._maker.starter.close(zygote)

    def ready(self, zygote: Zygote) -> None:
        layer = self._of(zygote)
        if layer is None:
            return
        layer.failures = 0
        if zygote.state == "threaded":
            layer.threaded = True
            self._log(layer, "starts threads when imported: it is not forked, plain members mount it")
            self._maker.starter.close(zygote)

    def lost(self, zygote: Zygote) -> None:
        """It ended, was closed, or never came up."""
        layer = self._of(zygote)
        group = None
        if layer is not None:
            layer.zygote, group, layer.group = None, layer.group, None
            if not layer.threaded:
                pause_s = RETRY_S[min(layer.failures, len(RETRY_S) - 1)]
                layer.failures += 1
                layer.not_before_ns = time.monotonic_ns() + int(pause_s * 1e9)
        self._retired.append((zygote, group))
        self._sweep()

    def _start(self, layer: _Layer) -> None:
        alive = [other for other in self._layers.values() if other.zygote is not None]
        if len(alive) >= LAYERS_MAX:
            self._retire(min(alive, key=lambda other: other.used_ns))
        try:
            parent = self._maker.trusted(layer.kind.runtime)
            uid = self._world.layer_leases.take() if parent.state == "ready" else None
            if uid is None:
                return
            layer.zygote = zygote = self._maker.starter.start_layer(parent, uid)
        except OSError as error:
            self._log(layer, f"has no zygote: {error}")
            layer.not_before_ns = time.monotonic_ns() + int(RETRY_S[0] * 1e9)
            return
        self._world.loop.call_later(IMPORT_TIMEOUT_S, lambda: self._expire(zygote))

    def _expire(self, zygote: Zygote) -> None:
        if zygote.state == "starting":
            sys.stderr.write(f"launcher: a layer was not imported within {IMPORT_TIMEOUT_S:.0f} s\n")
            self._maker.starter.close(zygote)

    def _retire(self, layer: _Layer) -> None:
        zygote = layer.zygote
        if zygote is not None:
            self._maker.starter.close(zygote)
            layer.failures, layer.not_before_ns = 0, 0

    def _of(self, zygote: Zygote) -> _Layer | None:
        return next((layer for layer in self._layers.values() if layer.zygote is zygote), None)

    def _sweep(self) -> None:
        """End the sandboxes of retired zygotes once no member of theirs is left."""
        kept = []
        for zygote, group in self._retired:
            if self._maker.has_members_of(zygote):
                kept.append((zygote, group))
                continue
            zygote.reports.close()
            if group is not None and not group.remove():
                kept.append((zygote, group))
            else:
                self._world.layer_leases.give_back(zygote.uid)
        self._retired = kept
        if kept and not self._sweeping:
            self._sweeping = True
            self._world.loop.call_later(_SWEEP_S, self._sweep_again)

    def _sweep_again(self) -> None:
        self._sweeping = False
        self._sweep()

    def _log(self, layer: _Layer, text: str) -> None:
        sys.stderr.write(f"launcher: layer {layer.kind.layer.hex()[:16]}… {text}\n")
