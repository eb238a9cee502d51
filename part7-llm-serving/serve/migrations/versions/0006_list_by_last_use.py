"""Add the index by which conversations are listed: the one that was used last comes first."""

from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"


def upgrade() -> None:
    """Make it."""
    op.create_index("ix_conversations_updated_at_id", "conversations", ["updated_at", "id"])


def downgrade() -> None:
    """Drop it."""
    op.drop_index("ix_conversations_updated_at_id", "conversations")
