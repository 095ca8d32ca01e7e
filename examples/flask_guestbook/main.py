"""A Flask application, served as it is, below its own prefix.

wisp deploy examples/flask_guestbook, then open http://127.0.0.1:8080/fn/guestbook/
"""

from flask import Flask, redirect, render_template_string, request, url_for

app = Flask(__name__)
ENTRIES_MAX = 100
_entries: list[tuple[str, str]] = []

PAGE = """<!doctype html><meta charset="utf-8"><title>Guest book</title>
<h1>Guest book</h1>
<form method="post" action="{{ url_for('sign') }}">
  <input name="name" placeholder="Name" required>
  <input name="text" placeholder="Hello" required>
  <button>Sign</button>
</form>
<ul>{% for name, text in entries %}<li><b>{{ name }}</b>: {{ text }}</li>{% endfor %}</ul>
"""


@app.get("/")
def show() -> str:
    """Show the book; Jinja escapes what guests wrote."""
    return render_template_string(PAGE, entries=list(reversed(_entries)))


@app.post("/sign")
def sign():
    """Take an entry. `url_for` knows the prefix that the function is served below."""
    _entries.append((request.form["name"][:50], request.form["text"][:500]))
    del _entries[:-ENTRIES_MAX]
    return redirect(url_for("show"), code=303)
