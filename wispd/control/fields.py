"""Checks of single fields of a JSON document. All raise `Fault("invalid_argument")` naming the key and the limit."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from wispd.base.errors import Fault
from wispd.control.names import reserved_path
from wispd.control.secrets import check_secret_name
from wispd.model.function import Route
from wispd.model.secret import SecretUse

ENV_BYTES_MAX: Final = 32_768  # names and values together; an instance gets them in one message
ENV_MAX: Final = 256
LABELS_MAX: Final = 64
ROUTES_MAX: Final = 100
SECRETS_MAX: Final = 32
ALLOW_MAX: Final = 64
METHODS: Final = ("", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,255}", re.ASCII)
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}", re.ASCII)
_SECRET_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_HOST_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_PATH: Final = re.compile(r"/[A-Za-z0-9_.~!$&'()+,;=:@/-]{0,1023}(?:/\*)?|/\*", re.ASCII)


def refused(key: str, message: str) -> Fault:
    """Return the fault of one key."""
    return Fault("invalid_argument", f"{key} {message}", key=key)


def refuse_unknown(given: Mapping[str, Any], known: list[str], prefix: str = "") -> None:
    """Refuse keys that do not exist, naming the nearest that does."""
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0.5)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"there are {', '.join(known)}"
            raise refused(f"{prefix}{str(key)[:80]}", f"is no key of a function; {hint}")


def refuse_unknown_of(document: object, keys: list[str]) -> dict[str, Any]:
    """Return a request's object when it has these keys at most. Raises: `Fault("invalid_argument")`."""
    if not isinstance(document, dict):
        raise Fault("invalid_argument", "the body must be a JSON object")
    refuse_unknown(document, keys)
    return document


def text(given: Mapping[str, Any], key: str, length_max: int) -> str:
    value = given.get(key, "")
    if not isinstance(value, str) or len(value) > length_max:
        raise refused(key, f"must be text of at most {length_max} characters")
    return value


def matching(given: Mapping[str, Any], key: str, pattern: re.Pattern[str], wanted: str) -> str:
    value = given.get(key, "")
    if value == "":
        return ""
    if not isinstance(value, str) or not pattern.fullmatch(value) or ".." in value:
        raise refused(key, f"is {str(value)[:80]!r}, it must be {wanted}")
    return value


def choice(given: Mapping[str, Any], key: str, words: Iterable[str], default: str) -> str:
    value = given.get(key, default)
    words = tuple(words)
    if not isinstance(value, str) or value not in words:
        raise refused(key, f"is {str(value)[:80]!r}, it must be one of {', '.join(w for w in words if w)}")
    return value


def flag(given: Mapping[str, Any], key: str, default: bool) -> bool:
    value = given.get(key, default)
    if not isinstance(value, bool):
        raise refused(key, "must be true or false")
    return value


def whole(given: Mapping[str, Any], key: str, default: int, *, low: int, high: int) -> int:
    value = given.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool):
        raise refused(key, "must be a whole number")
    within(value, key, low, high)
    return value


def number(given: Mapping[str, Any], key: str, default: float) -> float:
    value = given.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise refused(key, "must be a number")
    return float(value)


def within(value: float, key: str, low: float, high: float) -> float:
    if not low <= value <= high:
        raise refused(key, f"is {value:.15g}, allowed are {low:.15g} to {high:.15g}")
    return value


def environment(given: Mapping[str, Any]) -> dict[str, str]:
    """Return `env`: names as in a shell, text values without NUL, bounded together."""
    env = _texts(given, "env", ENV_MAX)
    for name, value in env.items():
        if not _ENV_NAME.fullmatch(name) or "\0" in value:
            raise refused("env", f"has {name[:80]!a}, which is no name of a variable, or holds a NUL")
    size = sum(len(name.encode()) + len(value.encode("utf-8", "surrogatepass")) for name, value in env.items())
    if size > ENV_BYTES_MAX:
        raise refused("env", f"is {size} bytes, limit {ENV_BYTES_MAX}")
    return env


def labels(given: Mapping[str, Any]) -> dict[str, str]:
    found = _texts(given, "labels", LABELS_MAX)
    for name, value in found.items():
        if not _LABEL.fullmatch(name) or len(value) > 256:
            raise refused("labels", f"has {name[:80]!a}: at most 63 plain characters, values at most 256")
    return found


def secrets(given: Mapping[str, Any], env: Mapping[str, str]) -> tuple[SecretUse, ...]:
    """Return `secrets`: names, or {"name": …, "file": …} for those that arrive as a file below /run/secrets."""
    listed = given.get("secrets", [])
    if not isinstance(listed, list) or len(listed) > SECRETS_MAX:
        raise refused("secrets", f"must be a list of at most {SECRETS_MAX} names")
    found = tuple(_secret(entry) for entry in listed)
    variables = [use.name for use in found if not use.file]
    files = [use.file for use in found if use.file]
    if len(set(variables)) != len(variables) or len(set(files)) != len(files):
        raise refused("secrets", "has the same variable or file twice")
    both = [name for name in variables if name in env]
    if both:
        raise refused("secrets", f"has {both[0]}, which env sets too")
    return found


def _secret(entry: object) -> SecretUse:
    table = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise refused("secrets", 'must have names, or tables such as {"name": "TLS_KEY", "file": "tls.key"}')
    refuse_unknown(table, ["name", "file"], "secrets.")
    name, file = check_secret_name(table["name"]), table.get("file", "")
    if not isinstance(file, str) or (file and not _SECRET_FILE.fullmatch(file)):
        raise refused("secrets", f"has the file {str(file)[:80]!a}: it must be a plain file name")
    return SecretUse(name=name, file=file)


def routes(given: Mapping[str, Any]) -> tuple[Route, ...]:
    """Return `routes`: [host, method, path] each; the platform's own paths can't be taken."""
    listed = given.get("routes", [])
    if not isinstance(listed, list) or len(listed) > ROUTES_MAX:
        raise refused("routes", f"must be a list of at most {ROUTES_MAX} [host, method, path]")
    found = tuple(_route(entry) for entry in listed)
    if len(set(found)) != len(found):
        raise refused("routes", "has the same route twice")
    return found


def allow(network: Mapping[str, Any]) -> tuple[str, ...]:
    """Return `network.allow`: addresses or ranges, each perhaps with a port. Names may change what they mean."""
    listed = network.get("allow", [])
    if not isinstance(listed, list) or len(listed) > ALLOW_MAX:
        raise refused("network.allow", f"must be a list of at most {ALLOW_MAX} addresses")
    for entry in listed:
        if not isinstance(entry, str) or not _addressed(entry):
            wanted = "it must be address:port or address/prefix:port, IPv6 in brackets, port * for all"
            raise refused("network.allow", f"has {str(entry)[:80]!r}, {wanted}")
    return tuple(listed)


def _route(entry: object) -> Route:
    if not isinstance(entry, list) or len(entry) != 3 or not all(isinstance(part, str) for part in entry):
        raise refused("routes", f"has {str(entry)[:80]!r}, it must be [host, method, path]")
    host, method, path = entry[0].lower(), entry[1].upper(), entry[2]
    plain = _PATH.fullmatch(path) and "//" not in path and not {".", ".."} & set(path.split("/"))
    if not plain or reserved_path(path):
        raise refused("routes", f"has the path {path[:80]!a}, which is not plain or belongs to the platform")
    named = not host or all(_HOST_LABEL.fullmatch(label) for label in host.split("."))
    if method not in METHODS or len(host) > 253 or not named:
        raise refused("routes", f"has {(host + ' ' + method)[:80]!a}, which is no host and method")
    return Route(host, method, path)


def _texts(given: Mapping[str, Any], key: str, count_max: int) -> dict[str, str]:
    found = given.get(key, {})
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise refused(key, "must be an object of texts")
    if len(found) > count_max:
        raise refused(key, f"has {len(found)} entries, limit {count_max}")
    return dict(found)


def _addressed(entry: str) -> bool:
    """Is it an entry that the launcher's egress rules read?"""
    host, _, port = entry.strip().rpartition(":")
    bare = host.replace("[", "").replace("]", "")
    if (":" in bare) != (host.startswith("[") and "]" in host):
        return False
    try:
        ipaddress.ip_network(bare)
    except ValueError:
        return False
    return port == "*" or (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65_535)
