"""A conversation."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from serve.models.base import Base, Id, Moment, now


class Conversation(Base):
    """A tree of messages, of which the path to the active leaf is what people see."""

    __tablename__ = "conversations"

    id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=True)
    title: Mapped[str | None] = mapped_column(String(200))  # None until the first message
    session_id: Mapped[str | None] = mapped_column(String(100), index=True)
    llm_config_id: Mapped[int | None] = mapped_column(
        Id, ForeignKey("llm_configs.id", ondelete="SET NULL"), index=True
    )
    # How many messages there are, and so the last `seq`. Whoever adds one counts up first: that
    # row is locked until the commit, so that two writers never take the same number.
    message_count: Mapped[int] = mapped_column(Integer, default=0)
    # No foreign key: the two tables would need each other to be filled.
    active_leaf_id: Mapped[int | None] = mapped_column(Id)
    created_at: Mapped[datetime] = mapped_column(Moment, default=now)
    updated_at: Mapped[datetime] = mapped_column(Moment, default=now)

    __table_args__ = (
        # By which they are listed, from its end: the last used one first.
        Index("ix_conversations_updated_at_id", "updated_at", "id"),
        {"sqlite_autoincrement": True},  # a number is never used twice
    )
