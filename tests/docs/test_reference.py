"""Every command, option, setting, key of a manifest, error and metric has its place in the reference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from wispd.app.settings import Settings
from wispd.base.errors import CODES
from wispd.cli import manifest
from wispd.cli.main import wisp
from wispd.control import declaration
from wispd.observe.exposition import render
from wispd.observe.metrics import GatewayMetrics

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def _leaves(command: click.Command, path: str = "wisp") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from _leaves(below, f"{path} {name}")


def _sections(page: str) -> dict[str, str]:
    parts = re.split(r"^##+ `([^`]+)`$", (DOCS / page).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


COMMANDS = [(path, command) for path, command in _leaves(wisp) if not command.hidden]


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[path for path, _ in COMMANDS])
def test_a_command_and_its_options_are_documented(path: str, command: click.Command) -> None:
    text = _sections("cli.md")[path]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    written = {name for option in options if not option.hidden for name in (*option.opts, *option.secondary_opts)}
    assert sorted(name for name in written if name not in text) == []


def _settings(kind: type, section: str = "") -> Iterator[tuple[str, str]]:
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _settings(field.type, f"{section}.{field.name}".strip("."))
        else:
            yield section, field.name


def test_every_setting_is_documented() -> None:
    found = list(_settings(Settings))
    assert len(found) > 40
    sections = _sections("reference/settings.md")
    text = (DOCS / "reference/settings.md").read_text()
    top = text[text.index("## Top of the file") :]
    pages = {section: sections[f"[{section}]"] if section else top for section, _ in found}
    missing = [(s, name) for s, name in found if f"\n| `{name}` |" not in pages[s] and name != "data_dir"]
    assert missing == []


def test_every_key_of_a_manifest_is_documented() -> None:
    text = (DOCS / "reference/manifest.md").read_text()
    keys = {*manifest.KEYS, *manifest.BUILD_KEYS}
    assert sorted(key for key in keys if not re.search(rf"^\| `{key}[`.]", text, re.MULTILINE)) == []


def test_every_key_of_a_declaration_is_documented() -> None:
    page = (DOCS / "admin.md").read_text()
    text = page[page.index("## The declaration") : page.index("## Zips")]
    assert [key for key in declaration.KEYS if f"`{key}`" not in text and f'"{key}"' not in text] == []


def test_every_error_is_in_the_list_of_errors() -> None:
    text = (DOCS / "errors/README.md").read_text()
    assert [code for code in CODES if f"({code}.md)" not in text] == []


def test_every_metric_is_documented_with_its_labels() -> None:
    text = (DOCS / "reference/metrics.md").read_text()
    shown = render(GatewayMetrics().snapshot()).decode()
    names = re.findall(r"^# TYPE (\w+) \w+$", shown, re.MULTILINE)
    assert len(names) > 15
    assert [name for name in names if f"`{name}`" not in text] == []
    assert "| `wisp_invocations_total` | counter | `namespace`, `function`, `status` |" in text
