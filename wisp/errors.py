"""`HttpError`: an answer that is raised."""

from __future__ import annotations

from collections.abc import Mapping


class HttpError(Exception):
    """End a call of an App's route with this status (400 to 599) and a problem document (RFC 9457).

    `facts` become members of the document.
    """

    def __init__(
        self, status: int, detail: str = "", *, headers: Mapping[str, str] | None = None, **facts: object
    ) -> None:
        super().__init__(f"{status} {detail}".strip())
        if not 400 <= status <= 599:
            raise ValueError(f"HttpError's status is {status}, allowed are 400 to 599")
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.facts = facts
