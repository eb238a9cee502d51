"""Add the indices by which messages are searched: FTS5 trigrams, or pairs of letters in a GIN."""

from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"

# A reply comes in when it has ended: indexing it again with every save would cost more than it.
SQLITE = (
    "CREATE VIRTUAL TABLE chat_messages_search USING fts5"
    "(content, content='chat_messages', content_rowid='id', tokenize='trigram')",
    "INSERT INTO chat_messages_search(rowid, content)"
    " SELECT id, content FROM chat_messages WHERE status <> 'streaming'",
    "CREATE TRIGGER chat_messages_search_added AFTER INSERT ON chat_messages"
    " WHEN new.status <> 'streaming' BEGIN"
    "  INSERT INTO chat_messages_search(rowid, content) VALUES (new.id, new.content);"
    " END",
    "CREATE TRIGGER chat_messages_search_ended AFTER UPDATE OF status ON chat_messages"
    " WHEN old.status = 'streaming' AND new.status <> 'streaming' BEGIN"
    "  INSERT INTO chat_messages_search(rowid, content) VALUES (new.id, new.content);"
    " END",
    "CREATE TRIGGER chat_messages_search_gone AFTER DELETE ON chat_messages"
    " WHEN old.status <> 'streaming' BEGIN"
    "  INSERT INTO chat_messages_search(chat_messages_search, rowid, content)"
    "  VALUES ('delete', old.id, old.content);"
    " END",
)
# pg_trgm would do it, where somebody has installed it; this needs nobody.
POSTGRESQL = (
    "CREATE FUNCTION chat_messages_search_pairs(said text) RETURNS text[]"
    " LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$"
    "  SELECT coalesce(array_agg(DISTINCT pair), '{}') FROM ("
    "   SELECT letter || lead(letter) OVER (ORDER BY place) AS pair"
    "   FROM unnest(string_to_array(lower(said), NULL)) WITH ORDINALITY AS spelled(letter, place)"
    "  ) AS pairs WHERE pair IS NOT NULL"
    " $$",
    "CREATE INDEX chat_messages_search ON chat_messages"
    " USING gin (chat_messages_search_pairs(content)) WHERE status <> 'streaming'",
)


def upgrade() -> None:
    """Make the index, of what is there already, too."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in SQLITE if sqlite else POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    """Drop it."""
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP INDEX chat_messages_search")
        op.execute("DROP FUNCTION chat_messages_search_pairs")
        return
    for name in ("added", "ended", "gone"):
        op.execute(f"DROP TRIGGER chat_messages_search_{name}")
    op.execute("DROP TABLE chat_messages_search")
