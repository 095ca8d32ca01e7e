"""What a build is asked to make, as the code's tree says it, and the keys that name it."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import msgspec

from wispd.control import buildplan, buildsource
from wispd.control.lockfile import Target, request_key
from wispd.model.build import BuildRequest, Index


class Order:
    """What a request comes to, read from the code's tree. Making it blocks."""

    def __init__(self, namespace: str, request: BuildRequest, tree: Path, index: Index) -> None:
        self.namespace = namespace
        self.request = request
        self.target = Target(minor_of(request.runtime))
        self.source = buildsource.find(tree, request.dependencies)
        self.files = buildsource.files(tree, self.source) if self.source else {}
        settings = [buildplan.without_credentials(url) for url in (index.index_url, *index.extra_index_urls)]
        source = [self.source.kind, self.source.path] if self.source else []
        code = [request.code] if self.source and self.source.local else []
        self.source_key = request_key(self.files, self.target, more=[*source, *settings, *index.find_links, *code])
        self.whole_key = hashlib.sha256(self.source_key + self.run_key("")).digest()

    def run_key(self, layer: str) -> bytes:
        """Return what is equal for the same commands over the same code with the same layer."""
        commands = msgspec.json.encode(self.request.run).decode()
        return request_key({}, self.target, more=["run", self.request.code, layer, commands])


def minor_of(runtime: str) -> int:
    """Return the minor version of Python that a runtime's name means; `python3` is our own."""
    return sys.version_info[1] if runtime == "python3" else int(runtime.removeprefix("python3."))
