"""`/docs`: the document for people, one page that loads nothing but `openapi.json`."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Final

from wisp.runtime.outcomes import Answer

_STYLE: Final = """
:root{color-scheme:light dark;--line:#8884;--soft:#8882;--tone:#2563eb}
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:56rem;padding:2rem 1rem}
h1{margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.3rem 0}
code,pre,input,textarea,.path{font-family:ui-monospace,monospace;font-size:.9rem}
details{border:1px solid var(--line);border-radius:.5rem;margin:.5rem 0}
summary{cursor:pointer;padding:.6rem .8rem;display:flex;gap:.8rem;align-items:baseline;flex-wrap:wrap}
summary b{color:var(--tone);min-width:4.5rem}summary .what{opacity:.7}
.inside{border-top:1px solid var(--line);padding:.8rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .5rem;vertical-align:top}
th{font-weight:600}tr+tr td{border-top:1px solid var(--soft)}
input,textarea{width:100%;box-sizing:border-box;padding:.3rem;border:1px solid var(--line);border-radius:.3rem;
background:transparent;color:inherit}
button{padding:.4rem 1rem;border-radius:.3rem;border:0;background:var(--tone);color:#fff;cursor:pointer;
margin:.6rem 0}
pre{background:var(--soft);padding:.6rem;border-radius:.3rem;overflow:auto;white-space:pre-wrap}
.need{color:#dc2626}
"""

# Everything of the document goes into the page as text, never as markup.
_SCRIPT: Final = """
const base = location.pathname.replace(/\\/docs\\/?$/, "");
const make = (tag, text, ...inside) => {
  const one = document.createElement(tag);
  if (text) one.textContent = text;
  one.append(...inside);
  return one;
};
const typed = (schema, all, depth = 0, inside = []) => {
  if (!schema) return "";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return inside.includes(name) ? name : typed(all[name] || {}, all, depth, [...inside, name]);
  }
  if (schema.anyOf) return schema.anyOf.map((one) => typed(one, all, depth, inside)).join(" | ");
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const each = (list) => list.map((one) => typed(one, all, depth, inside));
  if (schema.prefixItems) return "[" + each(schema.prefixItems).join(", ") + "]";
  if (schema.type === "array") return typed(schema.items, all, depth, inside) + "[]";
  if (schema.properties) {
    const needed = schema.required || [];
    const pad = "  ".repeat(depth + 1);
    const lines = Object.entries(schema.properties).map(([name, one]) =>
      pad + name + (needed.includes(name) ? "" : "?") + ": " + typed(one, all, depth + 1, inside));
    return "{\\n" + lines.join("\\n") + "\\n" + "  ".repeat(depth) + "}";
  }
  if (schema.additionalProperties) return "{[key]: " + typed(schema.additionalProperties, all, depth, inside) + "}";
  return schema.format || schema.type || "any";
};
const send = async (method, path, fields, body, out) => {
  let target = path;
  const query = new URLSearchParams(), headers = {};
  for (const [one, input] of fields) {
    if (one.in === "path") target = target.replace("{" + one.name + "}", encodeURIComponent(input.value));
    else if (!input.value) continue;
    else if (one.in === "query") {
      const several = [one.schema, ...(one.schema.anyOf || [])].some((schema) => schema.type === "array");
      for (const value of several ? input.value.split(",") : [input.value]) query.append(one.name, value.trim());
    }
    else if (one.in === "header") headers[one.name] = input.value;
  }
  const options = { method, headers };
  if (body && body[1].value) { headers["content-type"] = body[0]; options.body = body[1].value; }
  out.textContent = "…";
  const began = performance.now();
  try {
    const answer = await fetch(base + target + (query.size ? "?" + query : ""), options);
    const text = await answer.text();
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* no JSON: as it is */ }
    out.textContent = `${answer.status} in ${Math.round(performance.now() - began)} ms\\n${shown}`;
  } catch (error) { out.textContent = String(error); }
};
const operation = (path, method, one, all) => {
  const inside = make("div"), fields = [];
  inside.className = "inside";
  if (one.description) inside.append(make("p", one.description));
  if (one.parameters) {
    const rows = one.parameters.map((parameter) => {
      const input = make("input");
      fields.push([parameter, input]);
      const name = make("td", "", make("code", parameter.name));
      if (parameter.required) { const mark = make("span", " *"); mark.className = "need"; name.append(mark); }
      const about = make("td", parameter.in + ": " + typed(parameter.schema, all));
      if (parameter.description) about.append(make("p", parameter.description));
      return make("tr", "", name, about, make("td", "", input));
    });
    inside.append(make("table", "", ...rows));
  }
  let body = null;
  if (one.requestBody) {
    const [kind, content] = Object.entries(one.requestBody.content)[0];
    const input = make("textarea");
    input.rows = 5;
    body = [kind, input];
    inside.append(make("h2", "Body: " + kind), make("pre", typed(content.schema, all) || "bytes"), input);
  }
  const button = make("button", "Send"), out = make("pre");
  out.hidden = true;
  button.onclick = () => { out.hidden = false; send(method.toUpperCase(), path, fields, body, out); };
  inside.append(button, out);
  for (const [status, answer] of Object.entries(one.responses)) {
    const content = answer.content && Object.entries(answer.content)[0];
    if (content && content[1].schema) {
      inside.append(make("h2", status + ": " + content[0]), make("pre", typed(content[1].schema, all)));
    }
  }
  const where = make("span", path), what = make("span", one.summary || "");
  where.className = "path";
  what.className = "what";
  return make("details", "", make("summary", "", make("b", method.toUpperCase()), where, what), inside);
};
fetch(base + "/openapi.json").then((answer) => answer.json()).then((found) => {
  const all = found.components.schemas, page = document.querySelector("main");
  page.textContent = "";
  page.append(make("h1", found.info.title), make("p", "version " + found.info.version));
  if (found.info.description) page.append(make("p", found.info.description));
  const groups = {};
  for (const [path, methods] of Object.entries(found.paths)) {
    for (const [method, one] of Object.entries(methods)) {
      (groups[(one.tags || [""])[0]] ||= []).push(operation(path, method, one, all));
    }
  }
  for (const [tag, rows] of Object.entries(groups)) page.append(make("h2", tag), ...rows);
  page.append(make("p", "", Object.assign(make("a", "openapi.json"), { href: base + "/openapi.json" })));
}).catch((error) => { document.querySelector("main").textContent = String(error); });
"""


def page(title: str) -> Answer:
    """Return the page. Its policy allows its own script and style, and requests to its own host: nothing else."""
    shown = escape(title)
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{shown}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>Reading openapi.json</main>"
        f"<script>{_SCRIPT}</script></body></html>"
    )
    policy = (
        f"default-src 'none'; script-src {_digest(_SCRIPT)}; style-src {_digest(_STYLE)}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    lines = (
        "content-type: text/html; charset=utf-8\r\n"
        f"content-security-policy: {policy}\r\nx-content-type-options: nosniff\r\n"
    )
    return 200, lines.encode(), html.encode()


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
