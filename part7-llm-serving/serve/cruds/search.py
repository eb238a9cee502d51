"""Search in messages: parts of words, in any case, in any script, with an index.

Words do not help: Korean joins particles to its nouns. So SQLite indexes trigrams in a table of
FTS5, and PostgreSQL pairs of letters in a GIN index. A migration makes them, and the database
keeps them up to date; a reply comes in when it has ended.
"""

from collections.abc import Sequence

from sqlalchemy import Select, column, func, select, table
from sqlalchemy.orm import Session

from serve.models import ChatMessage, Status

FTS = table("chat_messages_search", column("rowid"), column("content"))


def conversations_with(session: Session, words: Sequence[str]) -> Select[int]:
    """The ids of conversations with a message that holds all `words`.

    One query for all of them: with one for each, PostgreSQL planned a hundred for ten seconds.
    """
    chosen = select(ChatMessage.conversation_id).where(ChatMessage.status != Status.STREAMING)
    content = ChatMessage.content
    if session.get_bind().dialect.name != "sqlite":
        pairs = func.chat_messages_search_pairs
        chosen = chosen.where(*(pairs(content).op("@>")(pairs(w)) for w in words if len(w) > 1))
        return chosen.where(*(content.ilike(_pattern(word), escape="\\") for word in words))
    # FTS5 knows nothing below three letters, and many Korean words have two syllables.
    chosen = chosen.where(*(content.like(_pattern(w), escape="\\") for w in words if len(w) < 3))
    if quoted := ['"' + word.replace('"', '""') + '"' for word in words if len(word) >= 3]:
        rows = select(FTS.c.rowid).where(FTS.c.content.op("MATCH")(" AND ".join(quoted)))
        chosen = chosen.where(ChatMessage.id.in_(rows))
    return chosen


def _pattern(word: str) -> str:
    for character in "\\%_":
        word = word.replace(character, f"\\{character}")
    return f"%{word}%"
