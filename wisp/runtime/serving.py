"""An instance from its first frame to its last."""

from __future__ import annotations

import os
import random
import socket
import sys
import time
from collections.abc import Callable
from typing import Final

from wisp.runtime import frames, streams
from wisp.runtime.dialects import Speaker, lambdas, speaker
from wisp.runtime.frames import FrameError
from wisp.runtime.link import Link, LinkClosed
from wisp.runtime.loader import Loaded, LoadError, load
from wisp.runtime.logs import Capture, send_whole
from wisp.runtime.outcomes import peak_bytes
from wisp.runtime.secrets import apply_secrets
from wisp.runtime.settings import Settings, SettingsError, parse_settings

FEATURES: Final = frames.FEATURE_STREAMING | frames.FEATURE_CALLS


def serve(link: socket.socket) -> None:
    """Say HELLO, wait for INIT, load the function, answer calls; return when the gateway is done.

    The caller ends the process afterwards, without waiting for the function's threads (`os._exit`).
    """
    try:
        send_whole(link, frames.pack(frames.HELLO, FEATURES, meta=frames.VERSION))
        told = wait_for_init(link)
        if told is not None:
            run_instance(link, told.head, told.body)
    except LinkClosed:
        pass
    except FrameError as error:
        os.write(2, f"wisp: wrong frame: {error}\n".encode())
    except OSError as error:
        if not link.fileno() < 0:
            os.write(2, f"wisp: link lost: {error}\n".encode())


def wait_for_init(link: socket.socket) -> frames.Frame | None:
    """Return INIT; None when the link ends first. Raises: `FrameError`."""
    while True:
        packet = link.recv(frames.INWARD_MAX)
        if not packet:
            return None
        frame = frames.parse(packet)
        if frame.type == frames.INIT:
            return frame
        if frame.type == frames.HELLO:
            if frame.meta != frames.VERSION:
                raise FrameError(f"wire version {frame.meta}, this runtime speaks {frames.VERSION}")
        elif not frame.flags & frames.OPTIONAL:
            raise FrameError(f"frame of type {frame.type} before INIT")


def run_instance(link: socket.socket, head: bytes, secrets: bytes = b"") -> None:
    """Load the function that INIT names, then run its loop until the link ends."""
    began_ns = time.monotonic_ns()
    capture = Capture(link)
    undo = streams.install(capture)
    try:
        try:
            settings = parse_settings(head)
            apply_environment(settings)
            apply_secrets(secrets)
            loaded = load(settings)
            spoken = speaker(loaded, settings)
            entries = told_entries(loaded) if settings.describe and loaded.dialect == "app" else b""
        except SettingsError as error:
            fail(link, capture, LoadError(frames.FAILURE_SETTINGS, str(error)))
            return
        except LoadError as error:
            fail(link, capture, error)
            return
        reseed()
        number = frames.DIALECTS.index(loaded.dialect)

        def ready() -> None:
            capture.flush()
            told = frames.READY_HEAD.pack(time.monotonic_ns() - began_ns, peak_bytes())
            send_whole(link, frames.pack(frames.READY, meta=number, head=told, body=entries))

        run_loop(link, capture, spoken, settings=settings, ready=ready)
    except LoadError as error:
        fail(link, capture, error)
    finally:
        undo()


def told_entries(loaded: Loaded) -> bytes:
    """Return what READY says in a trial of an App: its entry points as JSON. Raises: `LoadError`: too much."""
    import json

    known = [
        {
            "kind": entry.kind,
            "name": entry.name,
            "methods": entry.methods,
            "path": entry.path,
            "schedule": entry.schedule,
            "type": entry.type,
            "options": entry.options,
        }
        for entry in loaded.target.entries
    ]
    body = json.dumps([{key: value for key, value in one.items() if value} for one in known]).encode()
    if len(body) > frames.BODY_MAX:
        message = f"the {len(known)} entry points take {len(body)} bytes to describe, limit {frames.BODY_MAX}"
        raise LoadError(frames.FAILURE_HANDLER, message)
    return body


def run_loop(
    link: socket.socket, capture: Capture, spoken: Speaker, *, settings: Settings, ready: Callable[[], None]
) -> None:
    """Pick the loop: plain, threads, or asyncio. Raises: `LoadError` when an application refuses to start up."""
    if spoken.answer is None:
        from wisp.runtime.async_loop import run_async

        run_async(link, capture, spoken, settings=settings, ready=ready)
        return
    from wisp.runtime import calling

    several = settings.concurrency > 1
    frames_link = Link(link, windows=several)
    calling.use(calling.LinkCaller(frames_link))
    ready()
    if several:
        from wisp.runtime.thread_loop import run_threads

        run_threads(frames_link, capture, spoken, concurrency=settings.concurrency)
    else:
        from wisp.runtime.sync_loop import run

        run(frames_link, capture, spoken)


def fail(link: socket.socket, capture: Capture, error: LoadError) -> None:
    """Say why the function can't run. The instance ends afterwards."""
    capture.flush()
    head = error.message[: frames.MESSAGE_MAX]
    send_whole(link, frames.pack(frames.FAILED, meta=error.failure, head=head, body=error.trace))


def apply_environment(settings: Settings) -> None:
    """Set the function's environment variables."""
    for name, value in settings.env.items():  # not update(): it wakes all of collections.abc
        os.environ[name] = value
    if lambdas.looks_like_lambda(settings):
        lambdas.set_environment(settings)
    if "TZ" in settings.env:
        time.tzset()


def reseed() -> None:
    """Make this copy's random numbers its own: all pool members are forks of one process."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
