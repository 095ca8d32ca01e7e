"""Which names functions and namespaces may have. Files on disk are named by digest, never by these."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from wispd.base.errors import Fault
from wispd.model.function import NAME_PATTERN

RESERVED: Final = frozenset({"fn", "async", "events", "_wisp"})  # first path segments of the public listener
RESERVED_PATHS: Final = ("/fn", "/async", "/events", "/_wisp")
_NAME: Final = re.compile(NAME_PATTERN, re.ASCII)


def check_name(text: str, what: str = "function") -> str:
    """Return `text` when it may name a function or a namespace; raises `Fault("invalid_argument")` saying why not."""
    shown = ascii(text[:80])
    if unicodedata.normalize("NFC", text) != text:
        raise Fault("invalid_argument", f"the {what} name {shown} is not in Unicode form NFC", name=text[:80])
    if not _NAME.fullmatch(text):
        rule = "1 to 64 of A-Z a-z 0-9 _ -, the first a letter or digit"
        raise Fault("invalid_argument", f"the {what} name {shown} is not allowed: {rule}", name=text[:80])
    if text.lower() in RESERVED:
        raise Fault("invalid_argument", f"the {what} name {shown} is reserved", name=text)
    return text


def name_key(name: str) -> str:
    """Return what two names share that may not both exist: names are unique ignoring case."""
    return name.lower()  # check_name lets ASCII through only


def reserved_path(path: str) -> bool:
    """Does a route's path belong to the platform?"""
    return any(path == taken or path.startswith(taken + "/") or path == taken + "*" for taken in RESERVED_PATHS)
