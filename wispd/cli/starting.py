"""`wisp init`: a runnable starting point, made from a template that is part of the package."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

import click

from wispd.base.errors import Fault
from wispd.cli.grouping import nearest
from wispd.cli.naming import default_name
from wispd.cli.output import print_json, say

# name → what it is, in the order they are offered
TEMPLATES: Final = {
    "http": "a function that answers HTTP requests",
    "app": "an app with typed routes, checked input and an OpenAPI document",
    "fastapi": "a FastAPI app, served as it is",
    "flask": "a Flask app, served as it is",
    "scheduled": "work that is done again and again",
    "image": "thumbnails with Pillow",
    "ml": "inference with scikit-learn",
}
PLACE: Final = "{{name}}"
SHOWN_MAX: Final = 5  # names of a folder that is not empty
_SKIPPED: Final = ("__pycache__", ".pyc")


def complete_templates(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in TEMPLATES if name.startswith(incomplete)]


@click.command()
@click.argument("name", required=False)
@click.option(
    "-t",
    "--template",
    default="http",
    show_default=True,
    shell_complete=complete_templates,
    help="What to begin with.",
)
@click.option("--list", "listed", is_flag=True, help="List the templates.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def init(name: str | None, template: str, listed: bool, as_json: bool) -> None:
    """Make a folder NAME with a runnable starting point: code, wisp.toml, a test, a README.

    A folder that has something in it is left alone.
    """
    if listed:
        _list(as_json)
        return
    if name is None:
        raise click.UsageError("say what it is called: `wisp init NAME`; `wisp init --list` shows the templates")
    if template not in TEMPLATES:
        near = nearest(template, TEMPLATES)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(TEMPLATES)}"
        raise Fault("not_found", f"there is no template {template!r}; {hint}")
    folder = Path(name).absolute()
    refuse_occupied(folder)
    written = write(folder, template, default_name(folder))
    if as_json:
        print_json({"folder": str(folder), "template": template, "name": default_name(folder), "files": written})
        return
    say(f"{folder} is {TEMPLATES[template]}:")
    say("  " + "  ".join(written))
    say(f"\nnext:\n  cd {name}\n  wisp dev       serve it while you work on it\n  wisp deploy    put it on your node")


def refuse_occupied(folder: Path) -> None:
    """Raises: `Fault("conflict")` naming what is there."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise Fault("conflict", f"{folder} is a file; choose another name")
    found = sorted(path.name for path in folder.iterdir())
    if found:
        more = f" and {len(found) - SHOWN_MAX} more" if len(found) > SHOWN_MAX else ""
        text = f"{folder} is not empty: {', '.join(found[:SHOWN_MAX])}{more}"
        raise Fault("conflict", f"{text}; choose another name, or empty it first")


def write(folder: Path, template: str, name: str) -> list[str]:
    """Write the template's files with the name in its place; return their names.

    Raises: `Fault("forbidden")` when the folder can't be written.
    """
    written = []
    try:
        for file in _sources(template):
            path = folder / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.read_text("utf-8").replace(PLACE, name), "utf-8")
            written.append(file.name)
    except OSError as error:
        raise Fault("forbidden", f"{error.filename or folder} can't be written: {error.strerror}") from error
    return sorted(written)


def _sources(template: str) -> Iterator[Traversable]:
    for file in (files("wispd.cli") / "templates" / template).iterdir():
        if not file.name.endswith(_SKIPPED):
            yield file


def _list(as_json: bool) -> None:
    if as_json:
        items: list[dict[str, Any]] = [{"name": name, "description": text} for name, text in TEMPLATES.items()]
        print_json({"items": items, "next": None})
        return
    width = max(map(len, TEMPLATES))
    for name, text in TEMPLATES.items():
        say(f"{name:<{width}}  {text}")
