"""/api/v1/conversations/{conversation_id}/messages: turns."""

from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Request, Response, status
from sqlalchemy.orm import Session

from serve.core.mlflow import Feedback
from serve.core.problems import BODY, documented
from serve.core.streaming import EVENTS, EventStream, until_gone
from serve.cruds import messages
from serve.routers.dependency import ChatDep, Db, Running, StateDep
from serve.schemas.common import Id
from serve.schemas.message import FeedbackIn, MessageIn, MessageOut, RegenerateIn, TurnOut
from serve.services.chat import Turn
from serve.services.events import reply_events, turn_events

router = APIRouter(prefix="/conversations/{conversation_id}/messages", tags=["messages"])
ConversationId = Annotated[Id, Path()]
MessageId = Annotated[Id, Path()]
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The reply's events, or a reply that was there",
        "content": EVENTS
        | {"application/json": {"schema": {"$ref": "#/components/schemas/TurnOut"}}},
    },
    201: {"description": "The turn, with the whole reply"},
}
MODEL = documented(502, 503, 504, 507)
OnDisconnect = Literal["continue", "cancel"]
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$")
]


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=BODY | STREAM | MODEL | documented(404, 409),
    response_model=TurnOut,
)
async def send(
    conversation_id: ConversationId,
    message: MessageIn,
    request: Request,
    state: StateDep,
    idempotency_key: IdempotencyKey = None,
) -> object:
    """Post a user's message and get the reply, whole or as server-sent events.

    With an `Idempotency-Key`, a retry attaches to the reply that is running, or gets the one that
    has ended.
    """
    turn = await state.chat.send(conversation_id, message.content, idempotency_key)
    return await _answer(
        state, request, conversation_id, turn, message.on_disconnect, stream=message.stream
    )


@router.get("/{message_id}", responses=documented(404))
async def read(conversation_id: ConversationId, message_id: MessageId, db: Db) -> MessageOut:
    """Return one message."""
    return MessageOut.model_validate(
        await db.read(lambda s: messages.get(s, conversation_id, message_id))
    )


@router.get(
    "/{message_id}/stream",
    responses=documented(404) | {200: {"description": "Events", "content": EVENTS}},
)
async def follow(
    conversation_id: ConversationId,
    message_id: MessageId,
    db: Db,
    running: Running,
    last_event_id: Annotated[str | None, Header(description="What the last event had.")] = None,
) -> EventStream:
    """Follow a reply from where you were, or from its beginning; a finished one is sent whole."""
    message = await db.read(lambda s: messages.get(s, conversation_id, message_id))
    # Python turns no more than 4,300 digits into a number, and 18 are beyond any text's end.
    place = last_event_id or ""
    position = int(place[:18]) if place.isdecimal() else 0
    turn = Turn(message.parent_id or message_id, message_id, running.get(message_id))
    return EventStream(reply_events(db, conversation_id, turn, position))


@router.post("/{message_id}/stop", responses=documented(404, 409, 503, 507))
async def stop(
    conversation_id: ConversationId, message_id: MessageId, chat: ChatDep, db: Db
) -> MessageOut:
    """End a reply that is running; the text it has stays."""
    await chat.stop(conversation_id, message_id)
    return MessageOut.model_validate(
        await db.read(lambda s: messages.get(s, conversation_id, message_id))
    )


@router.post(
    "/{message_id}/regenerate",
    status_code=status.HTTP_201_CREATED,
    responses=BODY | STREAM | MODEL | documented(404, 409),
    response_model=TurnOut,
)
async def regenerate(
    conversation_id: ConversationId,
    message_id: MessageId,
    wanted: RegenerateIn,
    request: Request,
    state: StateDep,
    idempotency_key: IdempotencyKey = None,
) -> object:
    """Ask for another reply beside this one, which stays.

    An `Idempotency-Key` does what it does with a message that is posted.
    """
    turn = await state.chat.regenerate(conversation_id, message_id, idempotency_key)
    return await _answer(
        state, request, conversation_id, turn, wanted.on_disconnect, stream=wanted.stream
    )


@router.post(
    "/{message_id}/edit",
    status_code=status.HTTP_201_CREATED,
    responses=BODY | STREAM | MODEL | documented(404, 409),
    response_model=TurnOut,
)
async def edit(
    conversation_id: ConversationId,
    message_id: MessageId,
    message: MessageIn,
    request: Request,
    state: StateDep,
    idempotency_key: IdempotencyKey = None,
) -> object:
    """Say something else at the place of this message: a branch, and nothing is overwritten.

    An `Idempotency-Key` does what it does with a message that is posted.
    """
    turn = await state.chat.edit(conversation_id, message_id, message.content, idempotency_key)
    return await _answer(
        state, request, conversation_id, turn, message.on_disconnect, stream=message.stream
    )


@router.put("/{message_id}/feedback", responses=BODY | documented(404))
async def feedback(
    conversation_id: ConversationId, message_id: MessageId, given: FeedbackIn, state: StateDep
) -> MessageOut:
    """Keep a thumb and a comment with a reply, and with its trace."""
    values = given.model_dump()
    kept = await state.database.write(
        lambda s: MessageOut.model_validate(
            messages.set_feedback(s, conversation_id, message_id, values)
        )
    )
    if state.mlflow is not None:
        running = state.generations.get(message_id)
        trace_id = running.trace.id if running else kept.trace_id
        if trace_id is not None:
            given_back = Feedback(kept.thumb, kept.comment)
            attach = partial(state.mlflow.attach, trace_id, given_back)
            # What still streams has no trace yet.
            running.when_ended(attach) if running else attach()
    return kept


async def _answer(
    state: StateDep,
    request: Request,
    conversation_id: int,
    turn: Turn,
    on_disconnect: OnDisconnect | None,
    *,
    stream: bool,
) -> object:
    """The reply as events, or whole."""
    place = f"/api/v1/conversations/{conversation_id}/messages/{turn.reply_id}"
    policy = on_disconnect or state.settings.on_disconnect

    def leave() -> None:
        # Who retries with the same key follows the same reply; it ends with the last of them.
        alone = turn.generation is None or turn.generation.followers == 0
        if policy == "cancel" and alone:
            state.generations.stop(turn.reply_id)

    if stream:
        events = turn_events(state.database, conversation_id, turn)
        return EventStream(events, leave, headers={"Location": place})
    if turn.generation is not None:
        await until_gone(request, turn.generation.wait(), leave)
        if turn.generation.failure is not None:
            raise turn.generation.failure
    whole = await state.database.read(lambda s: _turn(s, conversation_id, turn))
    headers = {"Location": place}
    if turn.repeated:
        headers["Idempotency-Replayed"] = "true"
    return Response(
        whole.model_dump_json(),
        200 if turn.repeated else 201,
        headers,
        media_type="application/json",
    )


def _turn(session: Session, conversation_id: int, turn: Turn) -> TurnOut:
    ids = (turn.message_id, turn.reply_id)
    message, reply = messages.pair(session, conversation_id, ids)
    return TurnOut(
        message=MessageOut.model_validate(message), reply=MessageOut.model_validate(reply)
    )
