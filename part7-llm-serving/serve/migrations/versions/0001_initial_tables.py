"""Initial tables: conversations and their messages, one after the other."""

import sqlalchemy as sa
from alembic import op
from serve.models.base import Id, Moment, now

revision: str = "0001"
down_revision: str | None = None


def upgrade() -> None:
    """Make the two tables."""
    op.create_table(
        "conversations",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("title", sa.String(200)),
        sa.Column("created_at", Moment, nullable=False, default=now),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "chat_messages",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column(
            "conversation_id",
            Id,
            sa.ForeignKey(
                "conversations.id",
                ondelete="CASCADE",
                name="fk_chat_messages_conversation_id",
            ),
            nullable=False,
        ),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("created_at", Moment, nullable=False, default=now),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("chat_messages")
    op.drop_table("conversations")
