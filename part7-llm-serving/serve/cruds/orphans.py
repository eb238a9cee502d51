"""Replies that nobody writes any more, and what must hold of all messages."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, aliased

from serve.core.tokens import estimate
from serve.models import ChatMessage, Status
from serve.models.base import now

GONE = "the server went away while it answered"


@dataclass(frozen=True)
class Orphan:
    """A reply that nobody writes any more, and what it was to answer."""

    reply_id: int
    conversation_id: int
    message_id: int
    question: str
    content: str
    created_at: datetime


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
    session: Session,
    owners: Collection[str | None],
    reply_ids: Collection[int] = (),
    trace_id_of: Callable[[Orphan], str | None] = lambda _: None,
) -> list[Orphan]:
    """End, with the text they have, the replies whose writers are gone."""
    asked = aliased(ChatMessage)
    query = (
        select(ChatMessage, asked)
        .outerjoin(asked, asked.id == ChatMessage.parent_id)
        .where(ChatMessage.status == Status.STREAMING)
    )
    ended = []
    for reply, message in session.execute(query).all():
        if reply.owner not in owners and reply.id not in reply_ids:
            continue
        orphan = Orphan(
            reply.id,
            reply.conversation_id,
            message.id if message else 0,
            message.content if message else "",
            reply.content,
            reply.created_at,
        )
        tokens = estimate(orphan.content)
        done = session.execute(
            update(ChatMessage)
            .where(ChatMessage.id == orphan.reply_id, ChatMessage.status == Status.STREAMING)
            .values(
                status=Status.INTERRUPTED,
                finished_at=now(),
                trace_id=trace_id_of(orphan),
                error={"kind": "server", "detail": GONE},
                usage={
                    "prompt_tokens": 0,  # what it was asked went with the server
                    "completion_tokens": tokens,
                    "total_tokens": tokens,
                    "estimated": True,
                },
            )
        )
        if done.rowcount:  # type: ignore[attr-defined]
            ended.append(orphan)
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
