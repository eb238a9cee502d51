"""Make the messages a tree of replies that have a state, so that nothing is overwritten or lost."""

import sqlalchemy as sa
from alembic import op
from serve.models.base import Id, Moment

revision: str = "0003"
down_revision: str | None = "0002"

# A table that is made anew forgets otherwise that its numbers are never used twice.
NUMBERED = {"sqlite_autoincrement": True}

CONVERSATION = ("session_id", "message_count", "active_leaf_id", "updated_at")
MESSAGE = (
    "seq", "parent_id", "status", "idempotency_key", "request_hash", "finished_at",
    "finish_reason", "error", "usage", "config", "context", "trace_id", "owner",
)  # fmt: skip


def upgrade() -> None:
    """Add the columns, and make a chain of the messages that are there."""
    with op.batch_alter_table("conversations", table_kwargs=NUMBERED) as table:
        table.add_column(sa.Column("session_id", sa.String(100)))
        table.add_column(sa.Column("message_count", sa.Integer))
        table.add_column(sa.Column("active_leaf_id", Id))
        table.add_column(sa.Column("updated_at", Moment))
    with op.batch_alter_table("chat_messages", table_kwargs=NUMBERED) as table:
        table.add_column(sa.Column("seq", sa.Integer))
        table.add_column(sa.Column("parent_id", Id))
        table.add_column(sa.Column("status", sa.String(20)))
        table.add_column(sa.Column("idempotency_key", sa.String(200)))
        table.add_column(sa.Column("request_hash", sa.String(64)))
        table.add_column(sa.Column("finished_at", Moment))
        table.add_column(sa.Column("finish_reason", sa.String(50)))
        for name in ("error", "usage", "config", "context"):
            table.add_column(sa.Column(name, sa.JSON))
        table.add_column(sa.Column("trace_id", sa.String(64)))
        table.add_column(sa.Column("owner", sa.String(40)))
    op.execute(
        "UPDATE chat_messages SET status = 'complete',"
        " seq = (SELECT count(*) FROM chat_messages AS other"
        "        WHERE other.conversation_id = chat_messages.conversation_id"
        "        AND other.id <= chat_messages.id),"
        " parent_id = (SELECT max(other.id) FROM chat_messages AS other"
        "              WHERE other.conversation_id = chat_messages.conversation_id"
        "              AND other.id < chat_messages.id)"
    )
    op.execute(
        "UPDATE conversations SET updated_at = created_at,"
        " message_count = (SELECT count(*) FROM chat_messages"
        "                  WHERE conversation_id = conversations.id),"
        " active_leaf_id = (SELECT max(id) FROM chat_messages"
        "                   WHERE conversation_id = conversations.id)"
    )
    with op.batch_alter_table("conversations", table_kwargs=NUMBERED) as table:
        table.alter_column("message_count", existing_type=sa.Integer, nullable=False)
        table.alter_column("updated_at", existing_type=Moment, nullable=False)
    with op.batch_alter_table("chat_messages", table_kwargs=NUMBERED) as table:
        table.alter_column("seq", existing_type=sa.Integer, nullable=False)
        table.alter_column("status", existing_type=sa.String(20), nullable=False)
        table.create_foreign_key(
            "fk_chat_messages_parent_id",
            "chat_messages",
            ["parent_id"],
            ["id"],
            ondelete="CASCADE",
        )
        table.create_unique_constraint(
            "uq_chat_messages_conversation_id_seq", ["conversation_id", "seq"]
        )
        table.create_unique_constraint(
            "uq_chat_messages_conversation_id_idempotency_key",
            ["conversation_id", "idempotency_key"],
        )
    op.create_index("ix_conversations_session_id", "conversations", ["session_id"])
    op.create_index("ix_chat_messages_parent_id", "chat_messages", ["parent_id"])
    streaming = sa.text("status = 'streaming'")
    op.create_index(
        "ix_chat_messages_streaming",
        "chat_messages",
        ["id"],
        sqlite_where=streaming,
        postgresql_where=streaming,
    )


def downgrade() -> None:
    """Back to a list: what is not on the way to the active leaf is lost, as it was before."""
    op.execute(
        "DELETE FROM chat_messages WHERE id NOT IN ("
        " WITH RECURSIVE path(id, parent_id) AS ("
        "  SELECT m.id, m.parent_id FROM chat_messages AS m"
        "  JOIN conversations AS c ON c.active_leaf_id = m.id"
        "  UNION ALL SELECT m.id, m.parent_id FROM chat_messages AS m"
        "  JOIN path ON m.id = path.parent_id)"
        " SELECT id FROM path)"
    )
    op.drop_index("ix_chat_messages_streaming", "chat_messages")
    op.drop_index("ix_chat_messages_parent_id", "chat_messages")
    op.drop_index("ix_conversations_session_id", "conversations")
    with op.batch_alter_table("chat_messages", table_kwargs=NUMBERED) as table:
        table.drop_constraint("uq_chat_messages_conversation_id_idempotency_key", type_="unique")
        table.drop_constraint("uq_chat_messages_conversation_id_seq", type_="unique")
        table.drop_constraint("fk_chat_messages_parent_id", type_="foreignkey")
        for name in MESSAGE:
            table.drop_column(name)
    with op.batch_alter_table("conversations", table_kwargs=NUMBERED) as table:
        for name in CONVERSATION:
            table.drop_column(name)
