"""Messages as they are read: one, a path, a tree."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session, aliased

from serve.core.errors import NotFoundError
from serve.cruds import conversations
from serve.models import ChatMessage

# The statements that every turn runs are built once: building one takes longer than running it.
_up = (
    select(ChatMessage.id, ChatMessage.parent_id)
    .where(ChatMessage.id == bindparam("leaf_id"))
    .cte("path", recursive=True)
)
_above = aliased(ChatMessage)
_path = _up.union_all(select(_above.id, _above.parent_id).where(_above.id == _up.c.parent_id))
_ON_PATH = ChatMessage.id.in_(select(_path.c.id))
PATH = select(ChatMessage).where(_ON_PATH).order_by(ChatMessage.seq)
SAID = select(ChatMessage.role, ChatMessage.content).where(_ON_PATH).order_by(ChatMessage.seq)


class Said(NamedTuple):
    """One message as the model is told it."""

    role: str
    content: str


def get(session: Session, conversation_id: int, message_id: int) -> ChatMessage:
    """One message of a conversation.

    Raises:
        NotFoundError: there is no such conversation, or no such message in it.
    """
    found = session.get(ChatMessage, message_id)
    if found is None or found.conversation_id != conversation_id:
        conversations.get(session, conversation_id)
        raise NotFoundError(f"there is no message {message_id} in conversation {conversation_id}")
    return found


def pair(session: Session, conversation_id: int, ids: tuple[int, int]) -> list[ChatMessage]:
    """Two messages of a conversation, in that order.

    Raises:
        NotFoundError: one of them is gone.
    """
    query = select(ChatMessage).where(
        ChatMessage.conversation_id == conversation_id, ChatMessage.id.in_(ids)
    )
    found = {message.id: message for message in session.scalars(query)}
    for each in ids:
        if each not in found:
            raise NotFoundError(f"there is no message {each} in conversation {conversation_id}")
    return [found[each] for each in ids]


def path(session: Session, leaf_id: int | None) -> Sequence[ChatMessage]:
    """The messages from the first one to `leaf_id`."""
    if leaf_id is None:
        return []
    return session.scalars(PATH, {"leaf_id": leaf_id}).all()


def said(session: Session, leaf_id: int) -> list[Said]:
    """Who said what from the first message to `leaf_id`.

    Of those before it, the ones without a text are left out: replies that failed at once.
    """
    *before, last = session.connection().execute(SAID, {"leaf_id": leaf_id}).all()
    return [*(Said(role, content) for role, content in before if content), Said(*last)]


def tree(session: Session, conversation_id: int) -> Sequence[ChatMessage]:
    """All messages of a conversation, in the order in which they were written."""
    query = (
        select(ChatMessage)
        .where(ChatMessage.conversation_id == conversation_id)
        .order_by(ChatMessage.seq)
    )
    return session.scalars(query).all()


def set_feedback(
    session: Session, conversation_id: int, message_id: int, values: dict[str, Any]
) -> ChatMessage:
    """Keep what somebody thinks of a reply."""
    found = get(session, conversation_id, message_id)
    session.execute(update(ChatMessage).where(ChatMessage.id == message_id).values(**values))
    session.refresh(found)
    return found
