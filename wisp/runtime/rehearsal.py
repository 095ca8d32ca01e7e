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
from itertools import islice

from wisp.runtime import frames

_SUBJECT = os.path.join(os.path.dirname(__file__), "rehearsing")  # a code folder like a function's
_CALLS = (b'{"kind":"json"}', b'{"kind":"print"}')


def rehearse() -> None:
    """Serve the subject; leave no trace in modules, paths, environment or random numbers. Never raises `OSError`."""
    gc.enable()
    path, known = list(sys.path), len(sys.modules)
    bytecode = sys.dont_write_bytecode
    try:
        _serve()
    except OSError:
        pass  # no socket pair to be had: the first call pays
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode = bytecode
        os.environ.pop("WISP_REHEARSAL", None)
        # The newest entries only: to look at all of them would touch, and copy, a page for nearly each.
        for name in list(islice(reversed(sys.modules), len(sys.modules) - known)):
            del sys.modules[name]
        sys.path_importer_cache.pop(_SUBJECT, None)
    random.seed()
    gc.collect()
    gc.freeze()


def _serve() -> None:
    from wisp.runtime.serving import serve

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        settings = {
            "function": "rehearsal",
            "handler": "subject:handle",
            "code": _SUBJECT,
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
