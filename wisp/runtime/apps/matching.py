"""Which entry point takes an event that did not come over HTTP. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from wisp.app import Entry

# Attributes of what the platform delivers. Source: CloudEvents 1.0.2 §3.1.1: lower-case letters and digits.
ENTRY_ATTRIBUTE: Final = "wispentry"  # names the entry point that is meant
TIMER_TYPE: Final = "wisp.timer"  # type of a timer's event; its subject is the entry point's name


class NoEntryError(ValueError):
    """No entry point takes this event, or several do; the message says which there are."""


def entry_for(entries: Sequence[Entry], attributes: Mapping[str, str]) -> Entry:
    """Return the entry point for an event's attributes. Raises: `NoEntryError`."""
    kind, named = attributes.get("type", ""), attributes.get(ENTRY_ATTRIBUTE, "")
    if not named and kind == TIMER_TYPE:
        named = attributes.get("subject", "")
    takers = [entry for entry in entries if entry.kind != "route"]
    if named:
        chosen = [entry for entry in takers if entry.name == named]
        if not chosen:
            raise NoEntryError(f"the event is for entry point {named!r}; {_offered(takers)}")
        fitting = [entry for entry in chosen if entry.kind != "on" or _takes(entry, attributes)]
        return (fitting or chosen)[0]
    fitting = [entry for entry in takers if entry.kind == "on" and _takes(entry, attributes)]
    if not fitting:
        raise NoEntryError(f"no entry point takes events of type {kind!r}; {_offered(takers)}")
    best = max(_rank(entry.type) for entry in fitting)
    fitting = [entry for entry in fitting if _rank(entry.type) == best]
    if len(fitting) > 1:
        names = ", ".join(entry.name for entry in fitting)
        raise NoEntryError(f"{names} all take events of type {kind!r}; say which with {ENTRY_ATTRIBUTE}")
    return fitting[0]


def fits(pattern: str, text: str) -> bool:
    """Does a text fit a pattern, whose `*` at the end stands for whatever follows?"""
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def _takes(entry: Entry, attributes: Mapping[str, str]) -> bool:
    wanted = {"type": entry.type} | {key: entry.options.get(key) for key in ("source", "subject")}
    return all(fits(pattern, attributes.get(key, "")) for key, pattern in wanted.items() if pattern)


def _rank(pattern: str) -> tuple[bool, int]:
    """The whole type before a beginning of it, a longer beginning before a shorter one."""
    return not pattern.endswith("*"), len(pattern)


def _offered(takers: Sequence[Entry]) -> str:
    offered = sorted({f"{entry.name} ({entry.type or entry.kind + ' ' + entry.schedule})" for entry in takers})
    return f"there are {', '.join(offered[:20])}" if offered else "the app has no timers and no handlers of events"
