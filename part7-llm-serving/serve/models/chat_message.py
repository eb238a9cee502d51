"""A message: a node of its conversation's tree."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from serve.models.base import Base, Id, Moment, now


class Role(StrEnum):
    """Who speaks."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"


class Status(StrEnum):
    """Where a reply stands. All but `streaming` are final; a user's message is complete at once."""

    STREAMING = "streaming"
    COMPLETE = "complete"
    STOPPED = "stopped"  # somebody asked for it
    INTERRUPTED = "interrupted"  # the server went away
    FAILED = "failed"  # the model did


class ChatMessage(Base):
    """One message; what only replies have is empty in the others."""

    __tablename__ = "chat_messages"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    conversation_id: Mapped[int] = mapped_column(
        Id, ForeignKey("conversations.id", ondelete="CASCADE")
    )
    seq: Mapped[int] = mapped_column(Integer)
    parent_id: Mapped[int | None] = mapped_column(
        Id, ForeignKey("chat_messages.id", ondelete="CASCADE"), index=True
    )
    role: Mapped[str] = mapped_column(String(20))
    content: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(20), default=Status.COMPLETE)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)

    # What makes a retry of the same request harmless; of a user's message, or of another reply.
    idempotency_key: Mapped[str | None] = mapped_column(String(200))
    request_hash: Mapped[str | None] = mapped_column(String(64))

    # Of a reply.
    finished_at: Mapped[datetime | None] = mapped_column(Moment)
    finish_reason: Mapped[str | None] = mapped_column(String(50))
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    usage: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    # The exact configuration that made it: the row it came from may change or go.
    config: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    context: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    trace_id: Mapped[str | None] = mapped_column(String(64))
    thumb: Mapped[str | None] = mapped_column(String(10))
    comment: Mapped[str | None] = mapped_column(Text)
    # Which server writes it; as long as that one lives, nobody else declares it interrupted.
    owner: Mapped[str | None] = mapped_column(String(40))

    __table_args__ = (
        UniqueConstraint("conversation_id", "seq"),
        UniqueConstraint("conversation_id", "idempotency_key"),
        Index(
            "ix_chat_messages_streaming",
            "id",
            sqlite_where=text("status = 'streaming'"),
            postgresql_where=text("status = 'streaming'"),
        ),
        {"sqlite_autoincrement": True},
    )
