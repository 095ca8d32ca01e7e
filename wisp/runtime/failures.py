"""How an exception of user code is told: one line for people, a traceback without our own frames."""

from __future__ import annotations

import importlib
import os
import traceback
from types import TracebackType
from typing import Final

from wisp.runtime.frames import MESSAGE_MAX, TRACE_MAX

_LOADING: Final = os.path.dirname(importlib.__file__) + os.sep
_OURS: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep


class AnswerError(Exception):
    """The handler's result can't be sent; the message names the value. Told without a traceback."""


def first_line(error: BaseException) -> bytes:
    """Return `Type: message`, bounded; never raises."""
    kind = "error" if isinstance(error, AnswerError) else type(error).__name__
    try:
        text = str(error)
    except BaseException as second:  # str() is user code too
        text = f"<str() of it raised {type(second).__name__}>"
    line = f"{kind}: {text}" if text else kind
    return bounded(line.encode("utf-8", "backslashreplace"), MESSAGE_MAX)


def first_line_at(error: BaseException, code: str) -> bytes:
    """Return `first_line` and where in the code it happened: `ValueError: no (main.py, line 3)`."""
    line = first_line(error)
    if isinstance(error, SyntaxError):  # it says so itself
        return line
    place, step = "", error.__traceback__
    while step is not None:
        filename = step.tb_frame.f_code.co_filename
        if filename.startswith(code + os.sep):
            place = f" ({filename[len(code) + 1 :]}, line {step.tb_lineno})"
        step = step.tb_next
    end = place.encode("utf-8", "backslashreplace")
    return line + end if len(line) + len(end) <= MESSAGE_MAX else line


def trace_of(error: BaseException) -> bytes:
    """Return the traceback as text, our own frames left out, bounded; never raises."""
    if isinstance(error, AnswerError):
        return b""
    try:
        lines = traceback.format_exception(type(error), error, _theirs(error.__traceback__))
        text = "".join(lines)
    except BaseException as second:  # a hostile __str__, __repr__, or no memory left
        text = f"{type(error).__name__} (its traceback can't be told: {type(second).__name__})\n"
    return bounded(text.encode("utf-8", "backslashreplace"), TRACE_MAX)


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """Skip the frames between our loop and the function's code."""
    step = trace
    while step is not None and _is_ours(step.tb_frame.f_code.co_filename):
        step = step.tb_next
    return step if step is not None else None


def _is_ours(filename: str) -> bool:
    return filename.startswith((_OURS, _LOADING, "<frozen importlib"))


def bounded(text: bytes, limit: int) -> bytes:
    """Cut the middle out of a text that is too long: its ends say most."""
    if len(text) <= limit:
        return text
    mark = b"\n[...]\n"
    half = (limit - len(mark)) // 2
    return text[:half] + mark + text[-half:]
