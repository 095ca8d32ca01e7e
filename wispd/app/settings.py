"""Settings: the only place that reads the environment. Defaults < `<data>/wisp-node.toml` < environment < flags."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import msgspec
import platformdirs
from msgspec import Struct

from wispd.base.errors import Fault
from wispd.metering.rating import PriceList
from wispd.model.build import Index

MB: Final = 1024 * 1024
PATHS: Final = {"tls_cert", "tls_key", "admin_tls_cert", "admin_tls_key"}
FILE_NAME: Final = "wisp-node.toml"
_INDEX_VARIABLES: Final = {
    "index_url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"),
    "extra_index_urls": ("UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL"),
    "find_links": ("UV_FIND_LINKS", "PIP_FIND_LINKS"),
    "ca_file": ("SSL_CERT_FILE", "PIP_CERT"),
    "offline": ("UV_OFFLINE",),
}
PRICE_MAX: Final = 1_000_000
CURRENCY_MAX: Final = 16


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds of one node. All are enforced; `wisp doctor` prints them."""

    concurrency: int = 1000
    """Invocations of one namespace in flight at once; above it `throttled`."""
    body_bytes: int = 6 * MB
    """Request body of a synchronous call."""
    body_buffer_bytes: int = 256 * MB
    """Request bodies buffered at once, over all connections."""
    connections: int = 10_000
    """Open client connections."""
    headers: int = 100
    """Request headers."""
    headers_bytes: int = 32_768
    """Request headers together, without the request line."""
    uri_bytes: int = 8_192
    """Request target."""
    head_s: float = 10.0
    """From the first byte of a request to the end of its headers."""
    body_rate_bytes_per_s: int = 1_024
    """Slowest request body that is waited for, after a grace of head_s."""
    idle_s: float = 75.0
    """Keep-alive connections without a request."""
    write_s: float = 30.0
    """An answer of which the client takes nothing."""
    message_bytes: int = MB
    """A WebSocket message from a client."""
    messages_per_s: int = 10_000
    """Frames from one WebSocket; above it, its client waits."""
    stream_idle_s: float = 600.0
    """A WebSocket without a message, or a stream of events without an event."""
    init_s: float = 30.0
    """From the start of an instance to the end of its imports."""
    versions_kept: int = 100
    """Versions of a function that are kept besides those an alias points at."""
    package_zip_bytes: int = 50 * MB
    """A deployment as it is uploaded."""
    package_bytes: int = 250 * MB
    """A deployment unpacked."""
    package_files: int = 20_000
    """Files of a deployment."""


class FreeTier(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every namespace has free in each UTC month."""

    calls: int = 0
    """Calls."""
    gb_seconds: int = 0
    """Memory-time of calls."""


class Prices(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The price list. Amounts are of `currency`; write small ones as text, `"0.0000166667"`, to keep every digit."""

    currency: str = "USD"
    """A word that is printed behind amounts."""
    million_calls: str | float = "0.20"
    """A million calls."""
    gb_second: str | float = "0.0000166667"
    """A GB of memory for a second of run time."""
    warm_gb_second: str | float = "0.0000041667"
    """A GB of memory for a second of an idle instance that `min` keeps."""
    million_operations: str | float = "0.40"
    """A million operations on a service."""
    stored_gb_month: str | float = "0.023"
    """A GB stored for thirty days."""
    egress_gb: str | float = "0.09"
    """A GB of answers."""
    free: FreeTier = FreeTier()
    """What is free."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node."""

    data_dir: str
    """Where everything lives; absolute."""
    host: str = "127.0.0.1"
    """Address of the public listener."""
    port: int = 8080
    """Port of the public listener; 0: any free one."""
    admin_host: str = "127.0.0.1"
    """Address of the admin listener."""
    admin_port: int = 8081
    """Port of the admin listener; 0: any free one."""
    tls_cert: str = ""
    """PEM file with the certificate chain of both listeners; empty: no TLS. Read again when it changes."""
    tls_key: str = ""
    """PEM file with its private key, not encrypted; empty: it is in the certificate's file."""
    admin_tls_cert: str = ""
    """Another certificate for the admin listener; `none`: no TLS there."""
    admin_tls_key: str = ""
    """Its private key."""
    domain: str = "localhost"
    """Host URLs are `<function>.<domain>`."""
    drain_s: float = 30.0
    """How long running calls may go on after SIGTERM."""
    memory_budget_bytes: int = 0
    """For all instances together; 0: three quarters of the machine's memory."""
    pool_members: int = 8
    """Rehearsed sandboxes kept ready for each common kind."""
    uid_first: int = 0
    """First uid of the leased range (root only), which the services use; 0: computed from the data directory."""
    uid_count: int = 16_384
    """Length of the leased range."""
    service_uid: int = -1
    """uid of gateway, control and recorder when started as root; -1: the first of the leased range."""
    secret_key_file: str = ""
    """The file of the key that secrets are sealed with; empty: `secret.key` in the data directory."""
    level: str = ""
    """Isolation level to insist on: full, namespaces, process; empty: the best there is."""
    limits: Limits = Limits()
    """Bounds."""
    build: Index = Index()
    """Builds: package indexes, and what a build may use."""
    prices: Prices = Prices()
    """What usage costs."""


def default_data_dir() -> str:
    """Return the per-user data folder, or what WISP_DATA says."""
    return os.path.abspath(os.environ.get("WISP_DATA") or platformdirs.user_data_dir("wisp"))


def remote() -> tuple[str, str]:
    """Return (URL, token) of a remote node from WISP_URL and WISP_TOKEN, empty where unset."""
    return os.environ.get("WISP_URL", ""), os.environ.get("WISP_TOKEN", "")


def git_token() -> str:
    """Return the credential for git over https from WISP_GIT_TOKEN, empty where unset."""
    return os.environ.get("WISP_GIT_TOKEN", "")


def child_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program that the user's command starts in the user's name, without our tokens."""
    own = {name: value for name, value in os.environ.items() if name not in ("WISP_TOKEN", "WISP_GIT_TOKEN")}
    return own | dict(more)


def notify_socket() -> str:
    """Return where the service manager hears that the node serves; "" where there is none."""
    return os.environ.get("NOTIFY_SOCKET", "")


def certificate_authority() -> str:
    """Return the file of certificates that a remote node's may be signed by; "" for those of the system."""
    return os.environ.get("WISP_CA", "")


def load(data_dir: str, flags: Mapping[str, Any]) -> Settings:
    """Return the settings of a node; flags that are None count as not given.

    Raises: `Fault("invalid_argument")` naming the file and the key that is wrong.
    """
    path = Path(data_dir) / FILE_NAME
    given: dict[str, Any] = {}
    if path.exists():
        try:
            given = tomllib.loads(path.read_text("utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise Fault("invalid_argument", f"{path}: {error}") from error
    given["build"] = build_table(given.get("build", {}), path) | build_environment(os.environ)
    for key in PATHS & given.keys():
        given[key] = _beside(data_dir, given[key])
    given |= {key: value for key, value in flags.items() if value is not None}
    for key in PATHS & flags.keys():
        given[key] = _beside("", given.get(key, ""))
    given["data_dir"] = os.path.abspath(data_dir)
    try:
        chosen = msgspec.convert(given, Settings)
        price_list(chosen.prices)
    except (msgspec.ValidationError, ValueError) as error:
        raise Fault("invalid_argument", f"{path}: {error}") from error
    return chosen


def price_list(prices: Prices) -> PriceList:
    """Return the prices as whole pico-units. Raises: `ValueError` naming the price that is none."""
    free = prices.free
    if min(free.calls, free.gb_seconds) < 0:
        raise ValueError("prices.free: less than nothing can't be free")
    if not prices.currency.strip() or len(prices.currency) > CURRENCY_MAX:
        raise ValueError(f"prices.currency is {prices.currency[:40]!r}: want a word such as EUR")
    return PriceList(
        currency=prices.currency,
        call_pico=_pico(prices, "million_calls") // 1_000_000,
        gib_s_pico=_pico(prices, "gb_second"),
        warm_gib_s_pico=_pico(prices, "warm_gb_second"),
        operation_pico=_pico(prices, "million_operations") // 1_000_000,
        stored_gib_month_pico=_pico(prices, "stored_gb_month"),
        egress_gib_pico=_pico(prices, "egress_gb"),
        free_calls=free.calls,
        free_gib_s=free.gb_seconds,
    )


def _pico(prices: Prices, name: str) -> int:
    written = getattr(prices, name)
    try:
        amount = Decimal(str(written))
    except InvalidOperation:
        raise ValueError(f"prices.{name} is {str(written)[:40]!r}: want an amount such as 0.20") from None
    if not amount.is_finite() or not 0 <= amount <= PRICE_MAX:
        raise ValueError(f"prices.{name} is {str(written)[:40]}: want 0 to {PRICE_MAX}")
    return int(amount * 10**12)


def build_table(given: object, path: Path) -> dict[str, Any]:
    """Return the table [build] of the settings file."""
    if not isinstance(given, dict):
        raise Fault("invalid_argument", f"{path}: build must be a table: [build]")
    return dict(given)


def build_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what the operator's environment says about package indexes, in the words of uv and pip."""
    found: dict[str, Any] = {}
    for key, names in _INDEX_VARIABLES.items():
        value = next((environment[name] for name in names if environment.get(name)), "")
        if value:
            found[key] = value
    for key in ("extra_index_urls", "find_links"):
        if key in found:
            parts = re.split(r"[\s,]+" if key == "find_links" else r"\s+", found[key].strip())
            found[key] = [re.sub(r"^[\w.-]+=(?=\w+://)", "", part) for part in parts]  # uv's name=address
    if "find_links" in found:
        found["find_links"] = [part for part in found["find_links"] if os.path.isdir(part)]
    if "offline" in found:
        found["offline"] = found["offline"].lower() in ("1", "true", "yes", "on")
    return found


def _beside(folder: str, path: Any) -> Any:
    """Return an absolute path: what a file says is relative to it, what a flag says to where the command is given."""
    return os.path.abspath(os.path.join(folder, path)) if isinstance(path, str) and path not in ("", "none") else path


def machine_memory_bytes() -> int:
    """Return the memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
