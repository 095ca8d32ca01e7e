"""Entry: one entry point that an App declares. The list comes out of a sandbox: it is checked when it is read."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

ENTRIES_MAX: Final = 500
_SHOWN: Final = r"^[^\x00-\x1f\x7f-\x9f]*\Z"  # nothing that could steer a terminal
_Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_Name = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}\Z")]
_Text = Annotated[str, Meta(max_length=256, pattern=_SHOWN)]
_Key = Annotated[str, Meta(pattern=r"^[a-z_]{1,32}\Z")]
_Count = Annotated[int, Meta(ge=0, le=100)]


class Entry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A route, a timer (every, cron), or a handler of events (on). What does not belong to the kind is empty."""

    kind: Literal["route", "every", "cron", "on"]
    name: _Name
    methods: Annotated[tuple[_Method, ...], Meta(max_length=7)] = ()
    path: Annotated[str, Meta(max_length=512, pattern=_SHOWN)] = ""
    schedule: _Text = ""
    type: _Text = ""
    options: Annotated[dict[_Key, _Count | _Text], Meta(max_length=8)] = {}

    def __post_init__(self) -> None:
        said = {"route": self.path, "on": self.type}.get(self.kind, self.schedule)
        if not said:
            raise ValueError(f"entry {self.name!r} of kind {self.kind} does not say when it runs")


Entries = Annotated[tuple[Entry, ...], Meta(max_length=ENTRIES_MAX)]
_decoder = msgspec.json.Decoder(Entries)


def parse_entries(body: bytes) -> tuple[Entry, ...]:
    """Return the entry points that READY names. Raises: `ValueError`."""
    if not body:
        return ()
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"entry points: {error}") from None
