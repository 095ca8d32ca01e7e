"""A control process without the process: the application, its writer, a fake gateway, and a client with a token."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fake_gateway import FakeGateway

from wispd.app.control import ControlNode
from wispd.app.settings import Limits, Settings
from wispd.base.clock import VirtualClock
from wispd.model.published import JOURNAL_NAME, Entry, decode

TOKEN = "wisp_test"
DIGEST = hashlib.sha256(TOKEN.encode()).hexdigest()
HELLO = {"main.py": b"def handle(event, context):\n    return 'hello'\n"}


class Harness:
    """Everything a test of the admin API needs."""

    def __init__(self, data_dir: Path, limits: Limits) -> None:
        self.data_dir = data_dir
        self.gateway = FakeGateway(data_dir)
        self.clock = VirtualClock()
        settings = Settings(data_dir=str(data_dir), limits=limits)
        self.node = ControlNode(settings, "ab" * 16, self.clock)
        transport = httpx.ASGITransport(self.node.application(), raise_app_exceptions=False)
        self.client = httpx.AsyncClient(
            transport=transport, base_url="http://localhost:8081", headers={"Authorization": f"Bearer {TOKEN}"}
        )

    async def upload(self, files: dict[str, bytes] | None = None) -> str:
        answer = await self.client.post("/v1/namespaces/default/packages", content=zipped(files or HELLO))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["code"])

    async def deploy(self, name: str = "hello", **document: Any) -> httpx.Response:
        if "code" not in document:
            document["code"] = await self.upload()
        return await self.client.put(f"/v1/namespaces/default/functions/{name}", json=document)

    def journal(self) -> list[Entry]:
        lines = (self.data_dir / "published" / JOURNAL_NAME).read_bytes().splitlines(keepends=True)
        return [decode(line) for line in lines]


@asynccontextmanager
async def control(data_dir: Path, limits: Limits | None = None) -> AsyncIterator[Harness]:
    (data_dir / "run").mkdir(exist_ok=True)
    (data_dir / "tokens.json").write_text(json.dumps({"digest": DIGEST, "role": "admin"}))
    harness = Harness(data_dir, limits or Limits())
    await harness.gateway.open()
    ready, end = asyncio.Event(), asyncio.Event()

    async def server() -> None:
        ready.set()
        await end.wait()

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(harness.node.serve(server))
            await ready.wait()
            try:
                yield harness
            finally:
                await harness.client.aclose()
                end.set()
    finally:
        await harness.gateway.close()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
