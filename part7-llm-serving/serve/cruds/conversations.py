"""Conversations: kept, listed, searched."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from serve.core.errors import NotFoundError, UnusableError
from serve.cruds import llm_configs, search
from serve.models import ChatMessage, Conversation
from serve.models.base import now


def add(
    session: Session, title: str | None, session_id: str | None, llm_config_id: int | None
) -> Conversation:
    """Begin a conversation.

    Raises:
        UnusableError: there is no such configuration.
    """
    _check_config(session, llm_config_id)
    made = Conversation(title=title, session_id=session_id, llm_config_id=llm_config_id)
    session.add(made)
    session.flush()
    return made


def get(session: Session, conversation_id: int) -> Conversation:
    """One conversation.

    Raises:
        NotFoundError: there is none.
    """
    found = session.get(Conversation, conversation_id)
    if found is None:
        raise NotFoundError(f"there is no conversation {conversation_id}")
    return found


def page(
    session: Session, before: int | None, limit: int, session_id: str | None, q: str | None
) -> Sequence[Conversation]:
    """Up to `limit` conversations with ids below `before`, newest first.

    With `session_id` only those of it, with `q` only those with a message that holds every word.
    """
    query = select(Conversation).order_by(Conversation.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Conversation.id < before)
    if session_id is not None:
        query = query.where(Conversation.session_id == session_id)
    if words := (q or "").split():
        query = query.where(Conversation.id.in_(search.conversations_with(session, words)))
    return session.scalars(query).all()


def change(session: Session, conversation_id: int, values: dict[str, Any]) -> Conversation:
    """Change title, configuration or active leaf.

    Raises:
        NotFoundError: there is no such conversation.
        UnusableError: there is no such configuration, or no such message in it.
    """
    found = get(session, conversation_id)
    if "llm_config_id" in values:
        _check_config(session, values["llm_config_id"])
    if "active_leaf_id" in values:
        leaf = session.get(ChatMessage, values["active_leaf_id"])
        if leaf is None or leaf.conversation_id != conversation_id:
            raise UnusableError(f"there is no message {values['active_leaf_id']} in it")
    for name, value in values.items():
        setattr(found, name, value)
    found.updated_at = now()
    session.flush()
    return found


def remove(session: Session, conversation_id: int) -> None:
    """Remove a conversation with all its messages.

    Raises:
        NotFoundError: there is none.
    """
    gone = session.execute(delete(Conversation).where(Conversation.id == conversation_id))
    if gone.rowcount == 0:  # type: ignore[attr-defined]
        raise NotFoundError(f"there is no conversation {conversation_id}")


def _check_config(session: Session, config_id: int | None) -> None:
    if config_id is None:
        return
    try:
        llm_configs.get(session, config_id)
    except NotFoundError as exc:
        raise UnusableError(str(exc)) from None
