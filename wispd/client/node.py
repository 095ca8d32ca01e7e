"""`NodeClient`: the control API as typed calls. The command line uses nothing else."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, Final
from urllib.parse import quote

import httpx
import msgspec

from wispd.base.errors import CODES, Fault
from wispd.client.money import MoneyCalls
from wispd.client.trust import trust
from wispd.client.versions import VersionCalls

CONNECT_S: Final = 5.0
ANSWER_S: Final = 120.0  # a deployment may try the version for its whole initialisation
INVOKE_S: Final = 910.0  # above the longest timeout of a function
PAGE: Final = 1000  # items asked for at once
SILENCE_S: Final = 910.0  # between two lines of an answer: a step of a build may say nothing for long
_CHUNK: Final = 1 << 18
Json = dict[str, Any]


class NodeClient(MoneyCalls, VersionCalls):
    """One node's control API, one namespace. Close it, or use it as a context manager.

    Every call raises `Fault`: the node's own, or `unavailable` when it can't be reached.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        namespace: str = "default",
        answer_s: float = ANSWER_S,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        timeout = httpx.Timeout(answer_s, connect=CONNECT_S)
        # trust_env: a proxy of the environment must not see a local node's token.
        verify = verify or trust(url)
        self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout, trust_env=False, verify=verify)
        self._url = url
        self._namespace = namespace
        self._base = f"/v1/namespaces/{quote(namespace, safe='')}"

    @property
    def namespace(self) -> str:
        return self._namespace

    def __enter__(self) -> NodeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    # ── functions ───────────────────────────────────────────────────────────────────────────────────────────

    def upload_package(self, package: BinaryIO) -> str:
        """Upload a zip; return the digest of its tree."""
        return str(self._json("POST", f"{self._base}/packages", content=_pieces(package))["code"])

    def upload_layer(self, package: BinaryIO) -> str:
        """Upload a zip of an installed tree; return its digest."""
        return str(self._json("POST", f"{self._base}/layers", content=_pieces(package))["layer"])

    def functions(self) -> list[Json]:
        """Return all functions of the namespace."""
        return self.ask_all(f"{self._base}/functions")

    def function(self, name: str) -> Json:
        return self._json("GET", self._function(name))

    def delete(self, name: str) -> None:
        self._json("DELETE", self._function(name))

    @contextlib.contextmanager
    def invoke(
        self, name: str, body: bytes | None, *, content_type: str, rest: str = "", method: str = "POST",
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterator[httpx.Response]:  # fmt: skip
        """Invoke a function; yields its answer, not yet read, whatever its status is."""
        headers = dict(headers) | ({"content-type": content_type} if body is not None else {})
        path = f"{self._function(name)}/invoke{rest}"
        with self._reached():
            timeout = httpx.Timeout(INVOKE_S, connect=CONNECT_S)
            with self._http.stream(method, path, content=body, headers=headers, timeout=timeout) as answer:
                yield answer

    @contextlib.contextmanager
    def stream(self, method: str, path: str, **request: Any) -> Iterator[httpx.Response]:
        """Send one request; yields its answer, not yet read. A long silence between two pieces is an error."""
        with self._reached(), self._http.stream(method, path, **request) as answer:
            self._refuse(answer)
            yield answer

    # ── what ran ────────────────────────────────────────────────────────────────────────────────────────────

    def invocation(self, invocation_id: str) -> Json:
        return self._json("GET", f"/v1/invocations/{quote(invocation_id, safe='')}")

    def invocations(self, **wanted: str) -> Json:
        """Return one page: `items` and `next`. `wanted`: function, status, since, limit, cursor."""
        return self._json("GET", f"{self._base}/invocations", params=_given(wanted))

    def logs(self, *, follow: bool = False, **wanted: str) -> Iterator[Json]:
        """Yield log pieces, oldest first; with `follow` for ever. `wanted`: function, since, invocation."""
        params = _given(wanted) | ({"follow": "true"} if follow else {})
        with self._reached():
            timeout = httpx.Timeout(None if follow else ANSWER_S, connect=CONNECT_S)
            with self._http.stream("GET", f"{self._base}/logs", params=params, timeout=timeout) as answer:
                self._refuse(answer)
                for line in answer.iter_lines():
                    if line.strip():
                        yield msgspec.json.decode(line)

    def calls(self, after: int | None) -> Json:
        """Wait for calls that end: `items`, and `next` to ask with. None: only say where now is."""
        return self._json("GET", f"{self._base}/calls", params={} if after is None else {"after": str(after)})

    def status(self) -> Json:
        return self._json("GET", "/v1/status")

    # ── the wire ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def base(self) -> str:
        """The path of everything in this namespace."""
        return self._base

    def lines(self, method: str, path: str, **request: Any) -> Iterator[Json]:
        """Yield the JSON lines of an answer as they come; each may take its time."""
        timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
        with self._reached(), self._http.stream(method, path, timeout=timeout, **request) as answer:
            self._refuse(answer)
            for line in answer.iter_lines():
                if line.strip():
                    yield msgspec.json.decode(line)

    def _function(self, name: str) -> str:
        return f"{self._base}/functions/{quote(name, safe='')}"

    def ask(self, method: str, path: str, **request: Any) -> Json:
        """Send one request; return its JSON."""
        return self._json(method, path, **request)

    def ask_all(self, path: str, *, limit: int = 0, **wanted: str) -> list[Json]:
        """Return the items of a list, all pages of it; `limit`: at most so many (0: all)."""
        items: list[Json] = []
        cursor: str | None = ""
        while cursor is not None and not 0 < limit <= len(items):
            size = min(PAGE, limit - len(items)) if limit else PAGE
            page = self._json("GET", path, params=_given(wanted | {"limit": str(size), "cursor": cursor}))
            items += page["items"]
            cursor = page.get("next")
        return items

    def _json(self, method: str, path: str, **request: Any) -> Json:
        with self._reached():
            answer = self._http.request(method, path, **request)
        self._refuse(answer)
        try:
            decoded = msgspec.json.decode(answer.content) if answer.content else {}
        except msgspec.DecodeError as error:
            raise Fault("unavailable", f"{self._url} does not speak Wisp's control API: {error}") from error
        return decoded if isinstance(decoded, dict) else {"items": decoded}

    def _refuse(self, answer: httpx.Response) -> None:
        """Raise the fault that an answer is, if it is one."""
        if answer.status_code >= 400:
            answer.read()
            raise fault_of(answer)

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise Fault("unavailable", f"the node at {self._url} did not answer in time") from error
        except httpx.RemoteProtocolError as error:
            text = f"the node at {self._url} broke the connection off before it answered"
            raise Fault("unavailable", text + "; look with `wisp status`, then try again") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                text = f"the certificate of {self._url} is not trusted ({error})"
                raise Fault("unavailable", text + "; name who signed it with --ca or WISP_CA") from error
            raise Fault("unavailable", f"no node answers at {self._url} ({error}); is it up?") from error


def fault_of(answer: httpx.Response) -> Fault:
    """Return the fault that a problem document describes; `internal` for anything else."""
    try:
        problem = msgspec.json.decode(answer.content)
        code, message = str(problem["code"]), str(problem["detail"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return Fault("internal", f"the node answered {answer.status_code} without saying why")
    known = {"type", "title", "status", "detail", "code", "retryable"}
    facts = {key: value for key, value in problem.items() if key not in known and key.isidentifier()}
    retry_after = answer.headers.get("retry-after", "")
    retry_after_s = float(retry_after) if retry_after.isdigit() else None
    facts = {key: value for key, value in facts.items() if key not in ("self", "message", "retry_after_s")}
    return Fault(code if code in CODES else "internal", message, retry_after_s=retry_after_s, **facts)


def local(data_dir: Path) -> tuple[str, str]:
    """Return (URL, token) of the node on a data directory.

    Raises: `Fault("unavailable")` when none runs there, `Fault("forbidden")` when its token can't be read.
    """
    try:
        status = msgspec.json.decode((data_dir / "run" / "status.json").read_bytes())
        token = (data_dir / "cli-token").read_text("ascii").strip()
        url, state = str(status["admin_url"]), str(status["state"])
    except PermissionError as error:
        raise Fault("forbidden", f"{error.filename} belongs to another user; set WISP_URL and WISP_TOKEN") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Fault("unavailable", f"no node runs on {data_dir}; start one with `wisp up`") from error
    if state == "ended":
        raise Fault("unavailable", f"no node runs on {data_dir}; start one with `wisp up`")
    return url, token


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_CHUNK):
        yield piece


def _given(wanted: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in wanted.items() if value}
