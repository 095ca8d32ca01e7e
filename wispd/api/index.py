"""What the public listener says at `/` when no function claims it: a page for who runs the node, on its own machine.

Pure. It is shown for plain loopback use only, and lists only what anybody could call there anyway.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Any, Final, NamedTuple

import msgspec

from wispd.model.function import Published

LISTED_MAX: Final = 200  # functions
LOOKED_MAX: Final = 1_000  # functions looked at: one page view must not hold up calls where there are very many
_DEFAULT: Final = "default"
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")  # RFC 1123
_STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem}"
    "h1{font-size:1.5rem;margin:0}ul{list-style:none;padding:0}"
    "li{padding:.75rem 0;border-top:1px solid #8884}"
    "p{margin:.25rem 0 1.5rem}li p{margin:0}.quiet{opacity:.7;font-size:.875rem;overflow-wrap:anywhere}"
    "code{font-family:ui-monospace,monospace;font-size:.9em}"
)
_POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    f"Content-Security-Policy: {_POLICY}\r\n"
    "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
    "Cache-Control: no-store\r\nVary: Accept\r\n"
).encode()
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Wisp</title><style>{style}</style></head>
<body><h1>Wisp</h1><p>This node serves {count} here without a token.</p>
{items}
<p class="quiet">Only this machine sees this page. {more}Deploy another one with <code>wisp deploy PATH</code>.</p>
</body></html>
"""


class Listed(NamedTuple):
    """One function, with addresses relative to the page's own scheme."""

    name: str
    path: str  # "" where a namespace of its own hides it from the path
    host: str  # host and port; "" where the name is no host name
    description: str


def listed(functions: list[Published], *, domain: str, port: str) -> list[Listed]:
    """Return what the page shows of these functions, by name. `port`: with its colon, or nothing."""
    rows = []
    for function in functions:
        default = function.namespace == _DEFAULT
        labels = [function.name.lower(), *([] if default else [function.namespace.lower()])]
        host = ".".join([*labels, domain]) + port if all(_LABEL.match(label) for label in labels) else ""
        path = f"/fn/{function.name}/" if default else ""
        name = function.name if default else f"{function.namespace}/{function.name}"
        rows.append(Listed(name, path, host, function.live.description))
    return sorted(rows)


def index(rows: list[Listed], *, base: str, accept: bytes, cut: bool) -> tuple[bytes, bytes]:
    """Return header lines and body. `base`: scheme and host of the request; `cut`: there may be more functions."""
    if b"json" in accept and b"text/html" not in accept:
        scheme = base.partition("://")[0]
        items = [_item(row, base, scheme) for row in rows]
        body = msgspec.json.encode({"platform": "wisp", "functions": items, "complete": not cut}) + b"\n"
        return b"Content-Type: application/json\r\n" + _HEADERS, body
    count = f"{len(rows)} function{'' if len(rows) == 1 else 's'}" if rows else "no function"
    items_html = "<ul>" + "".join(_row(row) for row in rows) + "</ul>" if rows else ""
    more = "Not all functions are shown; <code>wisp list</code> has them all. " if cut else ""
    page = _PAGE.format(style=_STYLE, count=count, items=items_html, more=more)
    return b"Content-Type: text/html; charset=utf-8\r\n" + _HEADERS, page.encode()


def _item(row: Listed, base: str, scheme: str) -> dict[str, Any]:
    urls = [*([base + row.path] if row.path else []), *([f"{scheme}://{row.host}/"] if row.host else [])]
    return {"name": row.name, "urls": urls, "description": row.description}


def _row(row: Listed) -> str:
    """Text from a deployment is escaped: its author is not who looks at the page."""
    first = row.path or (f"//{row.host}/" if row.host else "")
    name = f'<a href="{escape(first)}">{escape(row.name)}</a>' if first else escape(row.name)
    host = f'<p class="quiet"><code>{escape(row.host)}</code></p>' if row.host else ""
    text = f"<p>{escape(row.description)}</p>" if row.description else ""
    return f"<li>{name}{text}{host}</li>"
