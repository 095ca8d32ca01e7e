"""Which certificates a client of a node believes.

A local node is known by the very certificate that it serves, which its data directory has. Whose name is in it and
who signed it does not matter. A remote one is believed as the system, or the named file, says.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import msgspec

from wispd.base.errors import Fault


def trust(url: str, *, pinned: str = "", authority: str = "") -> ssl.SSLContext:
    """Return what a connection to `url` is verified with.

    `pinned`: certificates in PEM, one of which the node must present; `authority`: a file of certificates that may
    have signed the node's, instead of the system's. Raises: `Fault("invalid_argument")` for a file that is none.
    """
    if not url.lower().startswith("https:"):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # believes nobody, and costs nothing to make
    try:
        if pinned:
            context = ssl.create_default_context(cadata=pinned)
            context.check_hostname = False
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the certificate itself is the anchor
            return context
        return ssl.create_default_context(cafile=authority or None)
    except (OSError, ssl.SSLError) as error:
        raise Fault(
            "invalid_argument", f"{authority or 'the certificate of the node'} can't be used: {error}"
        ) from error


def pinned(data_dir: Path) -> str:
    """Return the certificates of the admin listener of the node on a data directory; "" where it has none."""
    try:
        status = msgspec.json.decode((data_dir / "run" / "status.json").read_bytes())
        return str(status["tls"]["admin"]["chain"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
