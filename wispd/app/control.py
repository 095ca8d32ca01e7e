"""The control process put together: store, journal, packages, the gateway's socket, and the admin API over them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.types import ASGIApp

from wispd.adapters.fetch.http import HttpFetcher
from wispd.adapters.secrets.keyfile import KeyFile
from wispd.adapters.secrets.passphrase import KeyFileWrapper
from wispd.adapters.store.control import ControlStore
from wispd.adapters.store.control_audit import walk
from wispd.adapters.store.snapshot import StoreSnapshots
from wispd.api.admin import admin_application
from wispd.api.admin_access import namespace_routes, token_routes
from wispd.api.admin_audit import audit_routes
from wispd.api.admin_backup import backup_routes
from wispd.api.admin_batches import batch_routes
from wispd.api.admin_builds import build_routes
from wispd.api.admin_documents import document_routes
from wispd.api.admin_functions import Urls, function_routes, path_urls
from wispd.api.admin_gate import is_loopback
from wispd.api.admin_invoking import invoking_routes
from wispd.api.admin_limits import limit_routes
from wispd.api.admin_live import live_routes
from wispd.api.admin_node import Node, NodeView, node_routes
from wispd.api.admin_records import record_routes
from wispd.api.admin_rollouts import rollout_routes
from wispd.api.admin_secrets import secret_routes
from wispd.api.admin_statistics import statistics_routes
from wispd.api.admin_top import top_routes
from wispd.api.admin_versions import version_routes
from wispd.api.rates import TokenRates
from wispd.app.building import make_builder, make_fetcher
from wispd.app.directory import read_node
from wispd.app.keys import key_path, opened_keyring
from wispd.app.performance import PerformanceReader
from wispd.app.reading import RecordReader
from wispd.app.settings import Settings, price_list
from wispd.base.clock import Clock
from wispd.base.errors import Fault
from wispd.base.ids import id_source, to_text
from wispd.control.auditing import Auditor
from wispd.control.backup import About, Backups
from wispd.control.batches import Batches
from wispd.control.builder import Builder
from wispd.control.buildledger import Ledger
from wispd.control.buildstage import Stages
from wispd.control.dataplane import DataPlane
from wispd.control.deployments import Deployments
from wispd.control.limits import LimitDesk
from wispd.control.packagefetching import PackageFetching
from wispd.control.packaging import Bounds, Packages, clear_incoming
from wispd.control.pointing import Pointing
from wispd.control.publisher import Publisher
from wispd.control.rollouts import Rollouts
from wispd.control.scrubbing import Scrubber
from wispd.control.secrets import Secrets
from wispd.control.tenancy import Tenancy
from wispd.control.writer import Writer
from wispd.model.published import Token
from wispd.observe.metrics import bounds_ns

LAYER_FACTOR = 8  # a layer may be so many times as large as a deployment
TOKENS_FILE = "tokens.json"
LEVEL_LOOKS_MAX = 100
LEVEL_LOOK_S = 0.1  # between two looks for the isolation level of a gateway that is starting


class ControlNode:
    """Everything of one control process. Opening it takes the first token in and may migrate the store."""

    def __init__(self, settings: Settings, node_id: str, clock: Clock) -> None:
        """Raises: `Fault` when the store can't be opened."""
        self._settings = settings
        self._clock = clock
        self._data_dir = Path(settings.data_dir)
        found = read_node(self._data_dir)
        source = {"node_id": bytes.fromhex(node_id), "epoch": found.epoch if found else 0}
        clear_incoming(self._data_dir)
        source["versions_kept"] = settings.limits.versions_kept
        self._store = ControlStore(self._data_dir, clock, **source)  # type: ignore[arg-type]
        self._reading = ControlStore(self._data_dir, clock, **source)  # type: ignore[arg-type]
        take_first_token(self._data_dir, self._store, clock)
        self._keys = opened_keyring(settings, self._store)
        self._gateway = DataPlane(self._data_dir)
        self._publisher = Publisher(self._data_dir, self._store.entries)
        self.writer = Writer(self._store, self._publisher, self._gateway.announce, report=_say)
        self._pointing = Pointing(self._reading, self.writer, self._gateway)
        self._rollouts = Rollouts(
            self._reading,
            self.writer,
            self._gateway,
            pointing=self._pointing,
            clock=clock,
            bounds_s=[bound_ns / 1e9 for bound_ns in bounds_ns()],
        )
        self._records = RecordReader(self._data_dir, price_list(settings.prices))
        self._node = Node(
            node_id=node_id,
            version=_own_version(),
            data_dir=settings.data_dir,
            # The node's start, not that of this process, which may have been replaced since.
            started_ns=clock.monotonic_ns() - (max(clock.unix_ns() - found.started_us * 1000, 0) if found else 0),
        )
        self.stopping = asyncio.Event()

    def application(self) -> ASGIApp:
        """Return the admin API."""
        gate = admin_application(
            self.routers(),
            find=self._reading.credentials.by_digest,
            auditor=Auditor(self.writer.apply, self._clock.unix_ns),
            exists=lambda name: self._reading.namespaces.find(name) is not None,
            clock=self._clock,
            loopback=is_loopback(self._settings.admin_host),
        )
        gate.report = _say
        gate.admit = TokenRates(self._clock, self._desk.requests_per_s).check
        return gate

    def routers(self) -> list[APIRouter]:
        """Return the routes of all parts."""
        limits = self._settings.limits
        code = Packages(self._data_dir, "code", Bounds(files=limits.package_files, file_bytes=limits.package_bytes))
        size = LAYER_FACTOR * limits.package_bytes
        layers = Packages(
            self._data_dir, "layers", Bounds(files=LAYER_FACTOR * limits.package_files, file_bytes=size, caches=True)
        )
        ids = id_source(self._clock)
        deployments = Deployments(self._reading, self.writer, self._gateway, code=code, layers=layers, ids=ids)
        self._desk = LimitDesk(self._reading, self.writer, code)
        deployments.check = self._desk.check
        pointing = self._pointing
        fetcher = make_fetcher(self._settings.build)
        fetching = PackageFetching(fetcher, code, deployments.own, zip_bytes_max=limits.package_zip_bytes)
        self._builder = self._make_builder((code, layers), fetcher, ids)
        view = NodeView(
            self._node,
            self._gateway,
            reading=self._reading,
            writer=self.writer,
            recorder=self._records.recorder,
            clock=self._clock,
        )
        urls = known_urls(self._data_dir, self._settings)
        routers = [
            function_routes(deployments, code=code, layers=layers, zip_bytes_max=limits.package_zip_bytes, urls=urls),
            version_routes(deployments, pointing, urls=urls),
            rollout_routes(self._rollouts),
            batch_routes(Batches(self._reading, self.writer, deployments)),
            build_routes(self._builder, fetching),
            invoking_routes(self._gateway, pointing),
            record_routes(self._records, self._clock, self.stopping),
            *self._measuring(deployments),
            node_routes(view),
            *self._governing(ids),
        ]
        routers.append(document_routes(routers))
        return routers

    def _governing(self, ids: Callable[[], bytes]) -> list[APIRouter]:
        """Return the routes for tokens, namespaces and the audit log."""
        tenancy = Tenancy(self.writer, clock=self._clock, ids=ids, level=self._level)
        return [
            token_routes(tenancy, self._reading, of_node=False),
            token_routes(tenancy, self._reading, of_node=True),
            namespace_routes(tenancy, self._reading),
            *self._keeping(),
        ]

    def _measuring(self, deployments: Deployments) -> list[APIRouter]:
        """Return the routes for live calls, statistics, budgets and quotas."""
        concurrency = self._settings.limits.concurrency
        prices = price_list(self._settings.prices)
        performance = PerformanceReader(
            self._records, self._gateway, self._desk, prices=prices, concurrency=concurrency
        )
        return [
            live_routes(self._gateway),
            statistics_routes(performance, self._clock, deployments.show),
            top_routes(self._gateway, self._clock),
            limit_routes(self._desk, self._gateway, concurrency=concurrency),
        ]

    def _keeping(self) -> list[APIRouter]:
        """Return the routes for secrets, backups and the audit log."""
        about = About(data_dir=self._data_dir, node_id=self._node.node_id, wisp=self._node.version)
        wrapper = KeyFileWrapper(KeyFile(key_path(self._settings)))
        return [
            audit_routes(self._reading, functools.partial(walk, self._data_dir)),
            secret_routes(Secrets(self._reading, self.writer, self._keys, self._clock)),
            backup_routes(Backups(about, StoreSnapshots(self._data_dir), wrapper, self._clock)),
        ]

    def _make_builder(
        self, stores: tuple[Packages, Packages], fetcher: HttpFetcher, ids: Callable[[], bytes]
    ) -> Builder:
        self._scrubber = Scrubber(stores, self._clock, _say_damaged)
        index = self._settings.build
        ledger = Ledger(self._data_dir, self._reading, self._store, writer=self.writer, clock=self._clock, ids=ids)
        stages = Stages(self._gateway, index, ids)
        return make_builder(index, stores, fetcher=fetcher, data_dir=self._data_dir, stages=stages, ledger=ledger)

    async def _level(self) -> str:
        """Return the isolation level; "" while nobody can say."""
        with contextlib.suppress(Fault):
            return str((await self._gateway.status()).get("level", ""))
        return ""

    async def serve(self, server: Callable[[], Awaitable[None]]) -> None:
        """Bring the journal up to date, then serve until `server` returns; changes that were taken are finished.

        Raises: `Fault` when the journal can't be written.
        """
        try:
            await self.check_isolation()
            await self.writer.prepare()
            self._keys.forget(self._store.secrets.key_ids())  # the journal needs the former ones no more
            async with asyncio.TaskGroup() as group:
                group.create_task(self.writer.run())
                group.create_task(self._rollouts.run(self.stopping))
                scrubbing = group.create_task(self._scrubber.run())
                try:
                    await self._builder.ledger.abandon()
                    await server()
                finally:
                    self.stopping.set()
                    scrubbing.cancel()
                    await self.writer.stop()
        finally:
            await self.close()

    async def check_isolation(self) -> None:
        """Refuse to serve several tenants where their functions are not isolated. Raises: `Fault("conflict")`."""
        spaces = self._reading.namespaces.page(after="", limit=2)
        if len(spaces) < 2:
            return
        for _ in range(LEVEL_LOOKS_MAX):  # the gateway starts at the same time
            level = await self._level()
            if level == "process":
                names = " and ".join(repr(one.name) for one in spaces)
                text = f"there are several namespaces ({names}), but functions are not isolated here (level process)"
                raise Fault("conflict", f"{text}; `wisp doctor --fix` says what would change that", level=level)
            if level:
                return
            await asyncio.sleep(LEVEL_LOOK_S)

    async def close(self) -> None:
        await self._gateway.close()
        await self._records.close()
        self._publisher.close()
        self._store.close()
        self._reading.close()


def take_first_token(data_dir: Path, store: ControlStore, clock: Clock) -> None:
    """Take in the token whose digest the supervisor left; idempotent. Raises: `Fault("invalid_argument")`."""
    path = data_dir / TOKENS_FILE
    try:
        token = msgspec.json.decode(path.read_bytes(), type=Token)
    except FileNotFoundError:
        return
    except msgspec.DecodeError as error:
        raise Fault("invalid_argument", f"{path} can't be read: {error}") from error
    token = msgspec.structs.replace(token, id=to_text("tok", id_source(clock)()), name="first")
    if store.credentials.add(token, created_by="node"):
        store.commit()


def _say_damaged(digest: str) -> None:
    """Tell of a damaged tree."""
    _say(f"corrupt: the stored tree {digest} is not what its digest says; it was put aside")


def _say(text: str) -> None:
    """Write a line to the log of this process."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def known_urls(data_dir: Path, settings: Settings) -> Urls:
    """Return the rule for URLs. A port that was left to the system is in the node's status document."""
    found: dict[str, Any] = {}
    with contextlib.suppress(OSError, msgspec.DecodeError):
        found = msgspec.json.decode((data_dir / "run" / "status.json").read_bytes(), type=dict[str, Any])
    host = settings.host if is_loopback(settings.host) else settings.domain
    base = str(found.get("public_url") or f"http://{host}:{settings.port}")
    return path_urls(base.rstrip("/"), settings.domain)


def _own_version() -> str:
    try:
        return version("wisp")
    except PackageNotFoundError:
        return "0"
