"""Conversations: kept, listed, searched."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete, select, tuple_
from sqlalchemy.orm import Session

from serve.core.errors import NotFoundError, UnusableError
from serve.cruds import llm_configs, search
from serve.models import ChatMessage, Conversation
from serve.models.base import now

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


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


class Place(NamedTuple):
    """Where a conversation stands in the list."""

    updated_at: datetime
    id: int

    def __str__(self) -> str:
        """As it is sent to clients, which hand it back unread."""
        return f"{(self.updated_at - EPOCH) // MICROSECOND}-{self.id}"

    @classmethod
    def of(cls, text: str) -> "Place":
        """The place that was sent as `text`."""
        moment, _, number = text.partition("-")
        return cls(EPOCH + int(moment) * MICROSECOND, int(number))


def page(
    session: Session, before: Place | None, limit: int, session_id: str | None, q: str | None
) -> Sequence[Conversation]:
    """Up to `limit` conversations that come after the one at `before`; the last used is the first.

    With `session_id` only those of it, with `q` only those with a message that holds every word.
    One that is used while somebody reads page after page goes to the top: who has not come to it by
    then misses it, and finds it on the first page. Twice it comes only where clocks disagree.
    """
    place = tuple_(Conversation.updated_at, Conversation.id)
    latest_first = (Conversation.updated_at.desc(), Conversation.id.desc())
    query = select(Conversation).order_by(*latest_first).limit(limit)
    if before is not None:
        query = query.where(place < before)
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
