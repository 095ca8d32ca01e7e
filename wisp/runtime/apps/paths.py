"""The patterns of routes: `/orders/{order_id}`, `/files/{rest:path}`. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import unquote

SEGMENTS_MAX: Final = 32
PATTERN_MAX: Final = 512


class Segment(NamedTuple):
    """One part of a pattern. `kind` is `text`, `one` (one part of a path) or `rest` (all that is left)."""

    kind: str
    name: str


def parse_pattern(pattern: str) -> tuple[Segment, ...]:
    """Return the segments of a pattern. Raises: `ValueError` that says what is wrong."""
    if not pattern.startswith("/") or len(pattern) > PATTERN_MAX:
        raise ValueError(f"path {pattern[:60]!r} must begin with / and have at most {PATTERN_MAX} characters")
    if any(mark in pattern for mark in "?#") or not pattern.isprintable():
        raise ValueError(f"path {pattern!r} has ? or # or a character that can't be seen")
    parts = pattern[1:].removesuffix("/").split("/") if pattern != "/" else []
    if len(parts) > SEGMENTS_MAX:
        raise ValueError(f"path {pattern!r} has {len(parts)} parts, limit {SEGMENTS_MAX}")
    segments = tuple(_segment(part, pattern) for part in parts)
    if any(segment.kind == "rest" for segment in segments[:-1]):
        raise ValueError(f"path {pattern!r}: a part with :path must be the last one")
    names = [segment.name for segment in segments if segment.kind != "text"]
    if len(set(names)) < len(names):
        raise ValueError(f"path {pattern!r} names a parameter twice")
    return segments


def _segment(part: str, pattern: str) -> Segment:
    if not part:
        raise ValueError(f"path {pattern!r} has an empty part")
    if "{" not in part and "}" not in part:
        return Segment("text", unquote(part))
    name, colon, kind = part[1:-1].partition(":")
    if part[0] != "{" or part[-1] != "}" or not name.isidentifier():
        raise ValueError(f"path {pattern!r}: {part!r} is not {{name}}; a parameter is a whole part of the path")
    if not colon:
        return Segment("one", name)
    if kind != "path":
        raise ValueError(f"path {pattern!r}: write {{{name}}}; the type {kind!r} comes from the annotation")
    return Segment("rest", name)


def shape_of(segments: tuple[Segment, ...]) -> tuple[tuple[str, str], ...]:
    """Return what is equal for patterns that match the same paths."""
    return tuple((kind, name if kind == "text" else "") for kind, name in segments)


def split_path(path: bytes) -> tuple[list[str], bool]:
    """Return the decoded parts of a path as it came, and whether it ends with a slash."""
    text = path.decode("latin-1")[1:]
    trailing = text.endswith("/")
    if trailing:
        text = text[:-1]
    if not text:
        return [], trailing
    if "%" not in text:
        return [_utf8(part) for part in text.split("/")], trailing
    return [unquote(_utf8(part)) for part in text.split("/")], trailing


def _utf8(part: str) -> str:
    return part if part.isascii() else part.encode("latin-1").decode("utf-8", "replace")
