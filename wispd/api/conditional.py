"""`ETag`, `If-Match` and `If-None-Match`: changes that are made only to what one has read. Source: RFC 9110 §13."""

from __future__ import annotations

import re
from typing import Final

from fastapi import Request
from starlette.responses import Response

from wispd.base.errors import Fault
from wispd.control.preconditions import ANY_TAG, Precondition

IF_MATCH_PATTERN: Final = r'^(\*|"[!#-~]{1,64}")$'
IF_NONE_MATCH_PATTERN: Final = r"^\*$"
_IF_MATCH: Final = re.compile(IF_MATCH_PATTERN, re.ASCII)
_REVISION: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


def precondition_of(request: Request) -> Precondition:
    """Return what a request makes its change conditional on. Raises: `Fault("invalid_argument")`."""
    wanted, unwanted = request.headers.get("if-match"), request.headers.get("if-none-match")
    if wanted is not None and unwanted is not None:
        raise Fault("invalid_argument", "give If-Match or If-None-Match, not both")
    if unwanted is not None and unwanted != ANY_TAG:
        raise Fault("invalid_argument", f"If-None-Match is {unwanted[:40]!r}, it can only be *: nothing is there yet")
    if wanted is not None and _IF_MATCH.fullmatch(wanted) is None:
        raise Fault("invalid_argument", f'If-Match is {wanted[:40]!r}, it must be * or one ETag such as "7"')
    return Precondition(tag=wanted.strip('"') if wanted is not None else None, absent=unwanted is not None)


def revision_of(request: Request) -> int:
    """Return the revision that If-Match names, 0 for `If-None-Match: *` (there must be none), else -1."""
    wanted = precondition_of(request)
    if wanted.absent:
        return 0
    if wanted.tag in (None, ANY_TAG):
        return -1
    if not _REVISION.fullmatch(str(wanted.tag)):
        raise Fault("invalid_argument", f'If-Match is "{wanted.tag}", the ETag of an alias is a number such as "7"')
    return int(str(wanted.tag))


def tagged(answer: Response, tag: str) -> Response:
    """Return the answer with its ETag."""
    answer.headers["etag"] = f'"{tag}"'
    return answer
