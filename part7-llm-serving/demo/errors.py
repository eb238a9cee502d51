"""What can go wrong at the chat server, for the person at the page."""

from contextlib import suppress

import httpx2


class ChatServerError(Exception):
    """The message says what happened; `title` names it in a few words."""

    title = "The chat server"


class AwayError(ChatServerError):
    """Nobody answers at the chat server's address."""

    title = "No chat server"


class RefusedError(ChatServerError):
    """The server answers that it cannot be done."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title


def refused(answer: httpx2.Response) -> RefusedError:
    """The error that an answer, which has been read, describes as a problem document."""
    problem: dict[str, object] = {}
    with suppress(ValueError):
        if isinstance(read := answer.json(), dict):
            problem = read
    detail = str(problem.get("detail") or f"the answer was HTTP {answer.status_code}")
    faults = problem.get("errors")
    if isinstance(faults, list):
        said = [str(fault["what"]) for fault in faults if isinstance(fault, dict)]
        detail += f" ({'; '.join(said)})"
    if answer.status_code == httpx2.codes.UNAUTHORIZED:
        detail += "; set CHAT_API_KEY to one of its CHAT_API_KEYS"
    title = str(problem.get("title") or answer.reason_phrase or "Refused")
    return RefusedError(answer.status_code, title, detail)
