"""The control API's document as one HTML page: no script, nothing loaded from elsewhere."""

from __future__ import annotations

import json
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}body{max-width:60rem;margin:2rem auto;padding:0 1rem}
details{border:1px solid #8884;border-radius:6px;margin:.4rem 0;padding:.4rem .8rem}summary{cursor:pointer}
summary b{display:inline-block;min-width:5rem}code,pre{font:13px/1.5 ui-monospace,monospace}
pre{overflow:auto;background:#8881;padding:.6rem;border-radius:6px}table{border-collapse:collapse}
td{padding:.1rem .8rem .1rem 0;vertical-align:top}small{opacity:.75}h2{margin-top:2rem;text-transform:capitalize}
"""


def docs_page(document: dict[str, Any]) -> bytes:
    """Return the page."""
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            by_tag.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    parts = [f"<h2>{escape(tag)}</h2>{''.join(found)}" for tag, found in sorted(by_tag.items())]
    schemas = "".join(_shape(name, schema) for name, schema in sorted(document["components"]["schemas"].items()))
    about = document["info"]
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(about["title"])}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style><h1>{escape(about['title'])}</h1><p>{escape(about['description'])}</p>"
        '<p><a href="openapi.json">openapi.json</a> · <code>Authorization: Bearer &lt;token&gt;</code></p>'
        f"{''.join(parts)}<h2>Shapes</h2>{schemas}</html>\n"
    )
    return page.encode()


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    permission = operation["x-wisp-permission"]
    who = "no token" if permission == "open" else f"{permission}, {operation['x-wisp-scope']}"
    parts = [
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> {escape(operation['summary'])} "
        f"<small>({escape(who)})</small></summary>"
    ]
    if "description" in operation:
        parts.append(f"<p>{escape(operation['description'])}</p>")
    parts.append(_parameters(operation["parameters"]))
    if "requestBody" in operation:
        parts.append(f"<p>Body</p>{_json(operation['requestBody']['content'])}")
    parts.append("<table>")
    for status, answer in operation["responses"].items():
        shape: dict[str, Any] = next((one.get("schema", {}) for one in answer.get("content", {}).values()), {})
        name = str(shape.get("$ref", "")).rpartition("/")[2]
        link = f'<a href="#{escape(name, quote=True)}">{escape(name)}</a>' if name else ""
        parts.append(f"<tr><td>{escape(status)}<td>{escape(answer['description'])}<td>{link}")
    return "".join(parts) + "</table></details>"


def _parameters(parameters: list[dict[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(one['name'])}</code><td>{escape(one['in'])}<td>{escape(one.get('description', ''))}"
        f"<td><code>{escape(json.dumps(one['schema']))}</code>"
        for one in parameters
    )
    return f"<table>{rows}</table>" if rows else ""


def _shape(name: str, schema: object) -> str:
    title = escape(name, quote=True)
    return f'<details id="{title}"><summary><code>{title}</code></summary>{_json(schema)}</details>'


def _json(content: object) -> str:
    return f"<pre>{escape(json.dumps(content, indent=2, ensure_ascii=False))}</pre>"
