"""`Response`: an answer with a status and headers of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class Response:
    """An HTTP answer.

    `body` is None, text, bytes, a JSON value, or an (async) iterator of text or bytes, which is streamed. A header's
    value is text or a list of texts (several headers of that name). `content_type` beats the one the body implies.
    """

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        body: object = None,
        status: int = 200,
        headers: Mapping[str, str | list[str]] | Iterable[tuple[str, str]] | None = None,
        *,
        content_type: str | None = None,
    ) -> None:
        self.body = body
        self.status = status
        self.headers = headers
        self.content_type = content_type

    def __repr__(self) -> str:
        return f"Response({self.body!r}, status={self.status})"
