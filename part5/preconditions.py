"""If-Match: an update says which state it has seen (RFC 9110, section 13.1.1)."""

import re
from typing import Annotated, Any

from fastapi import Depends, Request

from part5.problems import ProblemError

# Required for those who read the document; a request without it gets 428 (RFC 6585) and not 422.
IF_MATCH: dict[str, Any] = {
    "name": "If-Match",
    "in": "header",
    "required": True,
    "description": "The ETag of the user as you read it, or * to replace whatever is there.",
    "schema": {"type": "string"},
    "example": '"1"',
}


def known_versions(request: Request) -> frozenset[int] | None:
    """The versions that If-Match names; None for `*`, which is any.

    Raises:
        ProblemError: 428 without the header.
    """
    given = request.headers.getlist("if-match")
    if not given:
        raise ProblemError(428, "send If-Match with the ETag of the user as you read it")
    text = ", ".join(given).strip()
    if text == "*":
        return None
    # A weak tag, as in W/"1", or one that we never gave, matches nothing; versions are 64 bits.
    tags = re.findall(r'(?<!W/)"([1-9][0-9]{0,17})"', text)
    return frozenset(map(int, tags))


KnownVersions = Annotated[frozenset[int] | None, Depends(known_versions)]
