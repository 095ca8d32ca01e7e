"""Rehearsal: a pool member serves a function of ours once, over a link of its own, and throws it away.

Every page that a cold call writes to is copied then, not while a caller waits (measured: it halves the cold start).
"""

from __future__ import annotations

import gc
import json
import os
import random
import socket
import sys
import time
from importlib.machinery import SourceFileLoader

from wisp.runtime import frames, rehearsal_subject

_CALLS = (b'{"kind":"json"}', b'{"kind":"print"}', b'{"kind":"raise"}', b'{"kind":"json"}')


def rehearse() -> None:
    """Serve the subject; leave no trace in modules, paths, environment or random numbers. Never raises `OSError`."""
    gc.enable()
    path, environment, modules = list(sys.path), dict(os.environ), set(sys.modules)
    bytecode = sys.dont_write_bytecode
    try:
        _compile()
        _serve()
    except OSError:
        pass  # no socket pair to be had: the first call pays
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode = bytecode
        for name in set(os.environ) - environment.keys():
            del os.environ[name]
        for name in set(sys.modules) - modules:
            del sys.modules[name]
        sys.path_importer_cache.pop(os.path.dirname(rehearsal_subject.__file__), None)
    random.seed()
    gc.collect()
    gc.freeze()


def _compile() -> None:
    """Read, compile and run a module from its source, as the first import of a function does."""
    loader = SourceFileLoader("wisp_rehearsal", rehearsal_subject.__file__)
    source = loader.get_data(rehearsal_subject.__file__)
    space: dict[str, object] = {"__name__": "wisp_rehearsal", "__file__": rehearsal_subject.__file__}
    sys.modules["wisp_rehearsal"] = type(sys)("wisp_rehearsal")
    exec(loader.source_to_code(source, rehearsal_subject.__file__), space)  # noqa: S102  (our own file)


def _serve() -> None:
    from wisp.runtime.serving import serve

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        settings = {
            "function": "rehearsal",
            "handler": "rehearsal_subject:handle",
            "code": os.path.dirname(rehearsal_subject.__file__),
            "env": {"WISP_REHEARSAL": "1"},
        }
        ours.send(frames.pack(frames.HELLO, meta=frames.VERSION))
        ours.send(frames.pack(frames.INIT, head=json.dumps(settings).encode()))
        for number, body in enumerate(_CALLS, 1):
            ours.send(_invoke(number, body))
        ours.shutdown(socket.SHUT_WR)
        serve(theirs)


def _invoke(number: int, body: bytes) -> bytes:
    block = b"POST /fn/rehearsal/?a=b 127.0.0.1:1\r\nhost: localhost\r\ncontent-type: application/json\r\n\r\n"
    head = frames.INVOKE_HEAD.pack(time.monotonic_ns() + 10**10, 0, bytes(16), 13, 0) + block[:-2]
    return frames.pack(frames.INVOKE, number, flags=frames.HTTP, head=head, body=body)
