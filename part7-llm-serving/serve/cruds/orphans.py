"""Replies that nobody writes any more, and what must hold of all messages."""

from collections.abc import Collection, Sequence

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from serve.core.tokens import estimate
from serve.models import ChatMessage, Status
from serve.models.base import now


def owners_of_streaming(session: Session) -> Sequence[str | None]:
    """Who writes the replies that stream now."""
    query = select(ChatMessage.owner).where(ChatMessage.status == Status.STREAMING).distinct()
    return session.scalars(query).all()


def streaming_of(session: Session, owner: str) -> set[int]:
    """The replies that `owner` writes, as far as the database knows."""
    query = select(ChatMessage.id).where(
        ChatMessage.status == Status.STREAMING, ChatMessage.owner == owner
    )
    return set(session.scalars(query))


def interrupt(
    session: Session, owners: Collection[str | None], reply_ids: Collection[int] = ()
) -> int:
    """End, with the text they have, the replies whose writers are gone; how many they were."""
    query = select(ChatMessage.id, ChatMessage.owner, ChatMessage.content).where(
        ChatMessage.status == Status.STREAMING
    )
    ended = 0
    for reply_id, owner, content in session.execute(query).all():
        if owner not in owners and reply_id not in reply_ids:
            continue
        tokens = estimate(content)
        done = session.execute(
            update(ChatMessage)
            .where(ChatMessage.id == reply_id, ChatMessage.status == Status.STREAMING)
            .values(
                status=Status.INTERRUPTED,
                finished_at=now(),
                error={"kind": "server", "detail": "the server went away while it answered"},
                usage={
                    "prompt_tokens": 0,  # what it was asked went with the server
                    "completion_tokens": tokens,
                    "total_tokens": tokens,
                    "estimated": True,
                },
            )
        )
        ended += done.rowcount  # type: ignore[attr-defined]
    return ended


def count(session: Session, owners: Collection[str | None]) -> int:
    """How many replies of these owners are `streaming`."""
    query = select(ChatMessage.owner).where(ChatMessage.status == Status.STREAMING)
    return sum(owner in owners for owner in session.scalars(query))


def conversations_with_gaps(session: Session) -> int:
    """How many conversations have messages that are not numbered from 1 without a gap."""
    numbered = (
        select(func.count().label("there"), func.max(ChatMessage.seq).label("last"))
        .group_by(ChatMessage.conversation_id)
        .subquery()
    )
    gaps = select(func.count()).select_from(numbered).where(numbered.c.there != numbered.c.last)
    return session.scalar(gaps) or 0
