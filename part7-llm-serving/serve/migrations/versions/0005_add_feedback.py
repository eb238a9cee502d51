"""Add what people think of a reply."""

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"


def upgrade() -> None:
    """Add the columns. Without batch mode, which would take the triggers of search away."""
    op.add_column("chat_messages", sa.Column("thumb", sa.String(10)))
    op.add_column("chat_messages", sa.Column("comment", sa.Text))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("chat_messages", "comment")
    op.drop_column("chat_messages", "thumb")
