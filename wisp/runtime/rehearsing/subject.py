"""The function of the rehearsal. It uses what small functions use."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from wisp import Response


@dataclass
class Greeting:
    """A class, because functions have them."""

    name: str

    def text(self) -> str:
        return f"hello {self.name}"


def handle(event: Any, context: Any) -> Any:
    """Answer, or print and answer."""
    kind = event.data["kind"]
    if kind == "print":
        print("rehearsing")
        return Response({"id": context.invocation_id, "left": context.remaining_s()}, 201, {"x-kind": kind})
    path = event.http.path if event.http else "/"
    name = re.sub(r"\W", "", str(path) + kind)
    return {"greeting": Greeting(name).text(), "again": json.loads(json.dumps({"id": event.id, "n": [1, 2.5, None]}))}
