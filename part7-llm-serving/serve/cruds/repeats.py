"""Requests that come again: an Idempotency-Key says so, and what the first one made is the answer.

The key is kept with what a request writes first: a user's message, or, where there is none because
a reply is made again, that reply.
"""

from dataclasses import dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from serve.core.errors import UnusableError
from serve.models import ChatMessage, Role

_M = ChatMessage.__table__.c

# Built once: building a statement takes longer than running it.
_KNOWN = select(_M.id, _M.role, _M.parent_id, _M.request_hash).where(
    _M.conversation_id == bindparam("conversation_id"),
    _M.idempotency_key == bindparam("key"),
)
_REPLY_TO = select(_M.id).where(_M.parent_id == bindparam("parent")).order_by(_M.seq).limit(1)


@dataclass(frozen=True)
class Once:
    """What makes a request recognisable when it comes again."""

    key: str
    request_hash: str


class RepeatedError(Exception):
    """The request was made before; `reply_id` is what came of it."""

    def __init__(self, message_id: int, reply_id: int) -> None:
        super().__init__(message_id, reply_id)
        self.message_id = message_id
        self.reply_id = reply_id


def check(session: Session, conversation_id: int, once: Once) -> None:
    """Let a request pass that is new; the conversation's row has to be locked by now.

    Who comes second has then waited for the first one's commit, and sees it here.

    Raises:
        RepeatedError: it was made before.
        UnusableError: the key is known, but of another request.
    """
    connection = session.connection()
    known = connection.execute(
        _KNOWN, {"conversation_id": conversation_id, "key": once.key}
    ).one_or_none()
    if known is None:
        return
    if known.request_hash != once.request_hash:
        raise UnusableError(
            f"the Idempotency-Key {once.key!r} belongs to another request; "
            "send a new key with a new request"
        )
    if known.role == Role.ASSISTANT:
        raise RepeatedError(known.parent_id, known.id)
    # The first of its replies: the others were asked for later, by requests of their own.
    raise RepeatedError(known.id, connection.execute(_REPLY_TO, {"parent": known.id}).scalar_one())
