"""What runs in the sandbox. The launcher calls, in this order, `preload`, `rehearse` (after the fork) and `serve`."""

from __future__ import annotations

import socket

__all__ = ["preload", "rehearse", "serve"]


def preload() -> None:
    """Import what instances need, before forking them."""
    from wisp.runtime.preloading import preload as run

    run()


def rehearse() -> None:
    """Walk the path of a cold call once, so that a later one finds all its memory pages its own."""
    from wisp.runtime.rehearsal import rehearse as run

    run()


def serve(link: socket.socket) -> None:
    """Run one instance on its end of the SEQPACKET link; return when the gateway closes its end."""
    from wisp.runtime import preloading
    from wisp.runtime.serving import serve as run

    if not preloading.done:
        preloading.preload()
    run(link)
