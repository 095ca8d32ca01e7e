"""Every example, deployed as its first lines say, and used."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from nodes import Node

pytestmark = pytest.mark.once

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node for all of them."""
    node = Node(tmp_path_factory.mktemp("examples"))
    try:
        node.up()
        yield node
    finally:
        node.cli("down", "--now")


def deploy(node: Node, name: str) -> str:
    """Deploy one; return its address."""
    return str(node.json("deploy", str(EXAMPLES / name))["url"])


def ask(method: str, url: str, **given: Any) -> httpx.Response:
    return httpx.request(method, url, timeout=60, trust_env=False, **given)


def test_fastapi(served: Node) -> None:
    url = deploy(served, "fastapi_notes")
    made = ask("POST", url + "/notes", json={"text": "buy milk", "tags": ["home"]})
    assert made.status_code == 201, made.text
    assert ask("GET", f"{url}/notes/{made.json()['id']}").json() == {"text": "buy milk", "tags": ["home"]}
    assert ask("POST", url + "/notes", json={"text": ""}).status_code == 422
    assert ask("GET", url + "/ticks").text == "data: 0\n\ndata: 1\n\ndata: 2\n\n"


def test_flask(served: Node) -> None:
    url = deploy(served, "flask_guestbook")
    form = {"name": "<b>Eve</b>", "text": "hello & goodbye"}
    signed = ask("POST", url + "/sign", data=form)
    assert signed.status_code == 303
    assert signed.headers["location"] == "/fn/guestbook/"
    page = ask("GET", url + "/").text
    assert "&lt;b&gt;Eve" in page
    assert "hello &amp; goodbye" in page


def picture(width: int, height: int) -> bytes:
    """A grey PNG. Source: W3C PNG specification, sections 5 and 11."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_thumbnails(served: Node) -> None:
    url = deploy(served, "thumbnails")
    small = ask("POST", url + "?size=32", content=picture(640, 320))
    assert small.headers["content-type"] == "image/png", small.text
    assert struct.unpack(">2I", small.content[16:24]) == (32, 16)
    assert ask("POST", url, content=b"no picture").status_code == 415
    assert ask("POST", url + "?size=0", content=picture(8, 8)).status_code == 400


READER = """
import io
import pyarrow.parquet as pq
def handle(event):
    rows = pq.read_table(io.BytesIO(event.http.body)).to_pylist()
    return [{**row, "day": str(row["day"]), "revenue": str(row["revenue"])} for row in rows]
"""


def test_etl(served: Node) -> None:
    url = deploy(served, "etl")
    sales = "day,product,quantity,price\n2026-11-01,tea,2,3.50\n2026-11-01,tea,1,3.50\n2026-11-02,cup,1,9.99\n"
    made = ask("POST", url, content=sales)
    assert made.content[:4] == made.content[-4:] == b"PAR1", made.text
    wrong = ask("POST", url, content=sales + "yesterday,tea,1,1\n")
    assert wrong.status_code == 422
    assert [one["line"] for one in wrong.json()["lines"]] == [5]
    folder = served.folder / "read-parquet"
    folder.mkdir()
    (folder / "main.py").write_text(READER)
    (folder / "requirements.txt").write_text((EXAMPLES / "etl" / "requirements.txt").read_text())
    reader = str(served.json("deploy", str(folder))["url"])
    assert ask("POST", reader, content=made.content).json() == [
        {"day": "2026-11-01", "product": "tea", "quantity": 3, "revenue": "10.50"},
        {"day": "2026-11-02", "product": "cup", "quantity": 1, "revenue": "9.99"},
    ]


def test_inference(served: Node) -> None:
    url = deploy(served, "inference")
    answer = ask("POST", url, json={"rows": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]})
    assert [one["class"] for one in answer.json()["predictions"]] == ["setosa", "virginica"], answer.text
    assert answer.json()["accuracy"] > 0.9
    assert ask("POST", url, json={"rows": [[1, 2]]}).status_code == 400


def project(**files: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/") + ".py", text)
    return out.getvalue()


def test_ci_job(served: Node) -> None:
    url = deploy(served, "ci_job")
    test = "import unittest\nclass T(unittest.TestCase):\n    def test_it(self): self.assertEqual(1 + 1, {})\n"

    def verdict(expected: int) -> Any:
        lines = ask("POST", url, content=project(test_it=test.format(expected))).text.splitlines()
        return json.loads(lines[-1]), len(lines)

    assert verdict(2)[0] == {"passed": True, "exit_code": 0}
    assert verdict(3)[0] == {"passed": False, "exit_code": 1}
    assert verdict(2)[1] > 3, "the output comes with it"
    assert ask("POST", url, content=project(**{"..__escape": ""})).status_code == 400


def test_chatbot(served: Node) -> None:
    secret = b"between us and the chat service"
    done = served.cli("secret", "set", "CHAT_SIGNING_SECRET", stdin=secret)
    assert done.returncode == 0, done.stderr
    url = deploy(served, "chatbot")

    def command(text: str, *, key: bytes = secret, age_s: int = 0) -> httpx.Response:
        body, stamp = b"user_name=ada&text=" + text.encode(), str(int(time.time()) - age_s)
        mark = hmac.new(key, b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        headers = {"x-slack-request-timestamp": stamp, "x-slack-signature": "v0=" + mark}
        return ask("POST", url, content=body, headers=headers)

    assert command("echo+hello+there").json()["text"] == "hello there"
    assert " = " in command("roll+2d6").json()["text"]
    assert command("roll", key=b"another").status_code == 401
    assert command("roll", age_s=301).status_code == 401
