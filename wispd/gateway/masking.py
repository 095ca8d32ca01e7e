"""Masking: values of secrets in what a function prints become `***`. Pure; best effort, see docs/secrets.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

MASK: Final = b"***"
MASKED_BYTES_MIN: Final = 8  # shorter values would blacken ordinary text
NEEDLES_MAX: Final = 128  # each one costs a pass over the text: about 0.1 ms a megabyte


def needles(values: Sequence[bytes]) -> list[bytes]:
    """Return what is looked for: each value, and the lines of those that have several, the longest first."""
    found = {value for value in values if len(value) >= MASKED_BYTES_MIN}
    for value in values:
        lines = [line.strip() for line in value.splitlines()]
        found |= {line for line in lines if len(line) >= MASKED_BYTES_MIN}
    return sorted(found, key=lambda needle: (-len(needle), needle))[:NEEDLES_MAX]


def masker(values: Sequence[bytes]) -> Callable[[bytes], bytes]:
    """Return the function that masks these values."""
    wanted = needles(values)

    def mask(text: bytes) -> bytes:
        for needle in wanted:
            if needle in text:
                text = text.replace(needle, MASK)
        return text

    return mask
