"""Search in messages: parts of words, in any case, in any script, with an index.

Words do not help: Korean joins particles to its nouns. So SQLite indexes trigrams in a table of
FTS5, and PostgreSQL pairs of letters in a GIN index. A migration makes them, and the database
keeps them up to date; a reply comes in when it has ended.
"""

from sqlalchemy import Select, column, func, select, table
from sqlalchemy.orm import Session

from serve.models import ChatMessage, Status

FTS = table("chat_messages_search", column("rowid"), column("content"))


def conversations_with(session: Session, word: str) -> Select[int]:
    """The ids of conversations with a message that holds `word`."""
    pattern = f"%{_escaped(word)}%"
    chosen = select(ChatMessage.conversation_id).where(ChatMessage.status != Status.STREAMING)
    if session.get_bind().dialect.name != "sqlite":
        pairs = func.chat_messages_search_pairs
        return chosen.where(
            pairs(ChatMessage.content).op("@>")(pairs(word)),
            ChatMessage.content.ilike(pattern, escape="\\"),
        )
    if len(word) < 3:  # FTS5 knows nothing shorter, and many Korean words have two syllables
        return chosen.where(ChatMessage.content.like(pattern, escape="\\"))
    quoted = '"' + word.replace('"', '""') + '"'
    rows = select(FTS.c.rowid).where(FTS.c.content.op("MATCH")(quoted))
    return chosen.where(ChatMessage.id.in_(rows))


def _escaped(word: str) -> str:
    for character in "\\%_":
        word = word.replace(character, f"\\{character}")
    return word
