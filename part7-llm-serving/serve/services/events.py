"""A reply as a stream of events, from any position in its text.

`turn` names the two messages; each `delta` brings text, and its id is how many characters there are
with it, which is what `Last-Event-ID` brings back; `done` has the reply as it is kept.
"""

import asyncio
import time
from collections.abc import AsyncGenerator

from serve.core.errors import ChatError, ModelError
from serve.core.sse import COMMENT, event
from serve.cruds import messages
from serve.database import Database
from serve.models import ChatMessage, Status
from serve.schemas.message import MessageOut
from serve.services.chat import Turn
from serve.services.generation import COMMENT_SECONDS

LOOK_SECONDS = 0.25  # at a reply that another server writes


async def turn_events(
    database: Database, conversation_id: int, turn: Turn
) -> AsyncGenerator[bytes]:
    """All events of a turn."""
    ids = {"message_id": turn.message_id, "reply_id": turn.reply_id, "repeated": turn.repeated}
    yield event("turn", ids)
    async for each in reply_events(database, conversation_id, turn, 0):
        yield each


async def reply_events(
    database: Database, conversation_id: int, turn: Turn, position: int
) -> AsyncGenerator[bytes]:
    """The events of a reply after `position`."""
    if turn.generation is not None:
        async for text, end in turn.generation.follow(position):
            position = end
            yield event("delta", {"text": text}, position) if text else COMMENT
        if turn.generation.status is None and turn.generation.trouble is not None:
            yield error_event(turn.generation.trouble)
            return
    said_at = time.perf_counter()
    while True:
        try:
            reply = await read_reply(database, conversation_id, turn.reply_id)
        except ChatError as exc:
            yield error_event(exc)
            return
        if len(reply.content) > position:
            text, position = reply.content[position:], len(reply.content)
            yield event("delta", {"text": text}, position)
            said_at = time.perf_counter()
        if reply.status != Status.STREAMING:
            break
        if time.perf_counter() - said_at + LOOK_SECONDS > COMMENT_SECONDS:
            yield COMMENT  # the next look would be too late
            said_at = time.perf_counter()
        await asyncio.sleep(LOOK_SECONDS)
    if turn.generation is not None and turn.generation.failure is not None:
        yield error_event(turn.generation.failure)
    yield event("done", MessageOut.model_validate(reply).model_dump(mode="json"))


async def read_reply(database: Database, conversation_id: int, reply_id: int) -> ChatMessage:
    """The reply as it is kept."""
    return await database.read(lambda session: messages.get(session, conversation_id, reply_id))


def error_event(exc: ChatError) -> bytes:
    """What went wrong, as a problem document would say it."""
    kind = exc.kind if isinstance(exc, ModelError) else "server"
    return event("error", {"status": exc.status, "kind": kind, "detail": str(exc)})
