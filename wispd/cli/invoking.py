"""`wisp invoke`."""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import httpx

from wispd.base.errors import Fault
from wispd.cli.completing import alias_names, function_names
from wispd.cli.failures import FUNCTION_FAILED, OK, exit_code
from wispd.cli.options import Where, node_options, suggesting
from wispd.cli.output import note, print_json
from wispd.client.node import NodeClient, fault_of
from wispd.metering.rating import mib_ms, rate

BODY_MAX: Final = 64 * 1024 * 1024  # read from a file or standard input; the node's own limit is lower
RECORD_WAIT_S: Final = (0.0, 0.1, 0.3, 0.6, 1.0)  # the record is there when the recorder has indexed it


@click.command()
@click.argument("name", shell_complete=function_names)
@click.option("-d", "payload", metavar="DATA", help="The payload; @FILE: of a file; -: of standard input.")
@click.option("--path", "rest", default="", help="Path and query below the function, such as /orders?id=1.")
@click.option("-X", "--method", default="POST", show_default=True, help="The HTTP method.")
@click.option(
    "--alias",
    "alias",
    shell_complete=alias_names,
    help="Invoke what this alias points at, not what is live.",
)
@click.option("--version", "version", help="Invoke this version, whatever points at it.")
@click.option("--log", "with_log", is_flag=True, help="Print the log and what the run cost on standard error.")
@node_options
def invoke(
    where: Where, name: str, payload: str | None, rest: str, method: str, with_log: bool, **which: str | None
) -> int:
    """Invoke a function and print the body of its answer alone.

    DATA is sent as JSON when it is JSON, else as text. Exit code 1: the function failed.
    """
    body, content_type = read_payload(payload, sys.stdin.buffer.read)
    if rest and rest[0] not in "/?":
        rest = "/" + rest
    with where.client() as client, suggesting(client, name):
        with client.invoke(
            name, body, content_type=content_type, rest=rest, method=method, headers=chosen_version(**which)
        ) as answer:
            code = _answered(answer, where)
        if with_log:
            _print_log(client, answer.headers.get("wisp-invocation-id", ""))
    return code


def chosen_version(alias: str | None = None, version: str | None = None) -> dict[str, str]:
    """Return the headers that name an alias or a version. Raises: `Fault("invalid_argument")` for both."""
    if alias and version:
        raise Fault("invalid_argument", "give --alias or --version, not both")
    if version:
        return {"wisp-version": version.lower().removeprefix("v")}
    return {"wisp-alias": alias} if alias else {}


def read_payload(payload: str | None, read_stdin: Callable[[int], bytes]) -> tuple[bytes | None, str]:
    """Return the body and its content type. Raises: `Fault` `not_found`, `payload_too_large`."""
    if payload is None:
        return None, ""
    if payload == "-":
        body = read_stdin(BODY_MAX + 1)
    elif payload.startswith("@"):
        path = Path(payload[1:])
        if not path.is_file():
            raise Fault("not_found", f"{path} (of -d {payload}) is not a file")
        with path.open("rb") as file:
            body = file.read(BODY_MAX + 1)
    else:
        body = payload.encode("utf-8", "surrogateescape")
    if len(body) > BODY_MAX:
        raise Fault("payload_too_large", f"the payload is over {BODY_MAX} bytes, limit {BODY_MAX}")
    return body, kind_of(body)


def kind_of(body: bytes) -> str:
    """Return the content type of a payload."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return "application/octet-stream"
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return "text/plain; charset=utf-8"
    return "application/json"


def _answered(answer: httpx.Response, where: Where) -> int:
    """Print the answer; return the exit code. Raises: `Fault` when there is none from the function."""
    headers = answer.headers
    problem = headers.get("content-type", "").startswith("application/problem+json")
    if answer.status_code >= 400 and problem and headers.get("wisp-status", "") != "ok":
        answer.read()
        fault = fault_of(answer)
        if exit_code(fault) != FUNCTION_FAILED or where.as_json:
            raise fault
        note(f"wisp: {fault.message}")
        return FUNCTION_FAILED
    if where.as_json:
        answer.read()
        print_json(_document(answer))
        return OK
    output = sys.stdout.buffer
    for piece in answer.iter_bytes():
        output.write(piece)
        output.flush()
    return OK


def _document(answer: httpx.Response) -> dict[str, Any]:
    headers = answer.headers
    document: dict[str, Any] = {
        "invocation_id": headers.get("wisp-invocation-id", ""),
        "status": headers.get("wisp-status", "ok"),
        "http_status": answer.status_code,
        "content_type": headers.get("content-type", ""),
        "version": int(headers.get("wisp-version", "0")),
        "cold": headers.get("wisp-cold") == "1",
        "run_ms": float(headers.get("wisp-run-ms", "0")),
        "billed_ms": int(headers.get("wisp-billed-ms", "0")),
    }
    try:
        text = answer.content.decode("utf-8")
    except UnicodeDecodeError:
        return document | {"body_base64": base64.b64encode(answer.content).decode()}
    if "json" in document["content_type"]:
        try:
            return document | {"body": json.loads(text)}
        except ValueError:
            pass
    return document | {"body": text}


def _print_log(client: NodeClient, invocation_id: str) -> None:
    record = _record(client, invocation_id)
    if record is None:
        note(f"the record of {invocation_id or 'this run'} is not there yet; see `wisp invocation show` later")
        return
    for line in record["log"]:
        note(str(line["text"]).rstrip("\n"))
    if record.get("traceback"):
        note(str(record["traceback"]).rstrip("\n"))
    bill = rate(1, mib_ms(record["billed_ms"] * 1_000_000, record["memory_bytes"]))
    cold = "cold" if record["cold"] else "warm"
    times = " ".join(f"{key} {record[f'{key}_ms']:.2f} ms" for key in ("queue", "init", "run"))
    billed = f"billed {record['billed_ms']} ms cost {bill.cost_micro} micro-units"
    note(f"{invocation_id} {record['status']} {cold} {times} {billed}")


def _record(client: NodeClient, invocation_id: str) -> dict[str, Any] | None:
    for wait_s in RECORD_WAIT_S if invocation_id else ():
        time.sleep(wait_s)
        try:
            return client.invocation(invocation_id)
        except Fault as fault:
            if fault.code != "not_found":
                raise
    return None
