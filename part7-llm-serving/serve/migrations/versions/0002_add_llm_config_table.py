"""Add llm_configs, and which one a conversation uses."""

import sqlalchemy as sa
from alembic import op
from serve.models.base import Id, Moment

revision: str = "0002"
down_revision: str | None = "0001"

# A table that is made anew forgets otherwise that its numbers are never used twice.
NUMBERED = {"sqlite_autoincrement": True}


def upgrade() -> None:
    """Make the table and the column that points to it."""
    op.create_table(
        "llm_configs",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("model_name", sa.String(200), nullable=False),
        sa.Column("system_prompt", sa.Text, nullable=False),
        sa.Column("temperature", sa.Float),
        sa.Column("top_p", sa.Float),
        sa.Column("max_tokens", sa.Integer),
        sa.Column("stop", sa.JSON),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("updated_at", Moment, nullable=False),
        sa.UniqueConstraint("name", name="uq_llm_configs_name"),
    )
    with op.batch_alter_table("conversations", table_kwargs=NUMBERED) as table:
        table.add_column(sa.Column("llm_config_id", Id))
        table.create_foreign_key(
            "fk_conversations_llm_config_id",
            "llm_configs",
            ["llm_config_id"],
            ["id"],
            ondelete="SET NULL",
        )
    op.create_index("ix_conversations_llm_config_id", "conversations", ["llm_config_id"])


def downgrade() -> None:
    """Drop both."""
    op.drop_index("ix_conversations_llm_config_id", "conversations")
    with op.batch_alter_table("conversations", table_kwargs=NUMBERED) as table:
        table.drop_constraint("fk_conversations_llm_config_id", type_="foreignkey")
        table.drop_column("llm_config_id")
    op.drop_table("llm_configs")
