"""`wisp backup` and `wisp restore`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from wispd.base.errors import Fault
from wispd.cli.options import Where, node_options
from wispd.cli.output import note, print_json, say


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--without-records", is_flag=True, help="Leave out records, logs and usage.")
@click.option("--with-key", is_flag=True, help="Put the master key in, sealed with a passphrase (asked for).")
@node_options
def backup(where: Where, file: Path, without_records: bool, with_key: bool) -> None:
    """Write a backup of the node to FILE, while the node goes on working.

    Tokens are left out. Secrets are inside, sealed; without the master key (`secret.key`, or --with-key) nobody opens
    them.
    """
    from wispd.client.backup import save

    wanted: dict[str, object] = {"records": not without_records}
    if with_key:
        wanted["passphrase"] = _passphrase(confirm=True)
    with where.client() as client:
        done = save(client, file.absolute(), wanted, progress=_progress())
    if where.as_json:
        print_json(msgspec.structs.asdict(done))
    else:
        say(f"{file}: {done.bytes / 1048576:.1f} MB, sha256 {done.sha256}")
        if not with_key:
            note("the master key of secrets is not inside: keep a copy of secret.key elsewhere")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--data", "data_dir", required=True, help="The data directory to make: missing, or an empty folder.")
@click.option("--with-key", is_flag=True, help="Take the master key out too; you are asked for its passphrase.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def restore(file: Path, data_dir: str, with_key: bool, as_json: bool) -> None:
    """Make a data directory from a backup. Everything is checked before it appears; then start it with `wisp up`."""
    from wispd.app.restoring import restore as run
    from wispd.base.clock import SystemClock

    passphrase = _passphrase(confirm=False) if with_key else ""
    done = run(file, Path(data_dir).absolute(), passphrase=passphrase, clock=SystemClock())
    if as_json:
        print_json(msgspec.structs.asdict(done))
        return
    records = "with" if done.records else "without"
    say(f"restored {done.functions} functions, {done.files} files, {done.bytes / 1048576:.1f} MB, {records} records")
    say(f"  data       {done.data_dir}\n  state of   {done.taken} ({_age(done.rpo_s)} ago: RPO)")
    say(f"  took       {done.rto_s:.2f} s (RTO, without the start)\n  start      wisp up --data {done.data_dir}")
    say(f"  admin token, shown once: {done.token}\n  (all former tokens are gone)")
    if done.key_needed:
        note(f"secrets need the master key {', '.join(done.key_needed)}: put its file to {done.key_file}, mode 0600,")
        note("before `wisp up`; the node does not start without it")


def _passphrase(*, confirm: bool) -> str:
    if sys.stdin.isatty():
        text: str = click.prompt("passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
        return text
    text = sys.stdin.readline().rstrip("\r\n")
    if not text:
        raise Fault("invalid_argument", "standard input is empty: pipe the passphrase in, or run it on a terminal")
    return text


def _progress() -> Callable[[int], None]:
    """Return what shows how much has arrived, on a terminal."""
    shown = [0]

    def show(size: int) -> None:
        if sys.stderr.isatty() and size - shown[0] >= 1 << 22:
            shown[0] = size
            sys.stderr.write(f"\r{size >> 20} MB")
            sys.stderr.flush()

    return show


def _age(seconds: float) -> str:
    for size, word in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} seconds"
