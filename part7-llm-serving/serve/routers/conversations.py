"""/api/v1/conversations."""

from typing import Annotated, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Path, Query, Response, status
from fastapi.responses import PlainTextResponse
from sqlalchemy.orm import Session

from serve.core.problems import BODY, documented
from serve.cruds import conversations, messages
from serve.cruds.conversations import Place
from serve.routers.dependency import ChatDep, Db
from serve.schemas.common import Id, Text
from serve.schemas.conversation import (
    ConversationChange,
    ConversationIn,
    ConversationOut,
    ConversationPage,
    ConversationWithMessages,
)
from serve.schemas.message import MessageOut
from serve.services.export import as_markdown

router = APIRouter(prefix="/conversations", tags=["conversations"])
KnownId = Annotated[Id, Path()]
# Its numbers are such that a moment can be made of the one, and a database can hold the other.
PLACE = r"^[0-9]{1,17}-[0-9]{1,16}$"


@router.post("", status_code=status.HTTP_201_CREATED, responses=BODY)
async def create(conversation: ConversationIn, db: Db, response: Response) -> ConversationOut:
    """Begin a conversation."""
    values = conversation.model_dump()
    made = await db.write(lambda s: ConversationOut.model_validate(conversations.add(s, **values)))
    response.headers["Location"] = f"/api/v1/conversations/{made.id}"
    return made


@router.get("")
async def page(
    db: Db,
    before: Annotated[
        str | None,
        Query(pattern=PLACE, description="A place in the list; `next` of each page has the next."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    session_id: Annotated[Text | None, Query(max_length=100)] = None,
    q: Annotated[
        Text | None,
        Query(max_length=200, description="Words that one message holds, all of them."),
    ] = None,
) -> ConversationPage:
    """List conversations, the last used first."""
    place = Place.of(before) if before else None
    found = await db.read(lambda s: conversations.page(s, place, limit + 1, session_id, q))
    shown = [ConversationOut.model_validate(each) for each in found[:limit]]
    more = None
    if len(found) > limit:
        last = Place(shown[-1].updated_at, shown[-1].id)
        asked = {"before": last, "limit": limit, "session_id": session_id, "q": q}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        more = f"/api/v1/conversations?{query}"
    return ConversationPage(conversations=shown, next=more)


@router.get("/{conversation_id}", responses=documented(404))
async def read(
    conversation_id: KnownId,
    db: Db,
    show: Annotated[
        Literal["path", "tree"], Query(description="To the active leaf, or every branch.")
    ] = "path",
) -> ConversationWithMessages:
    """Return a conversation with its messages."""
    return await db.read(lambda s: _with_messages(s, conversation_id, whole_tree=show == "tree"))


@router.patch("/{conversation_id}", responses=BODY | documented(404))
async def change(
    conversation_id: KnownId, conversation: ConversationChange, db: Db
) -> ConversationOut:
    """Rename it, give it another configuration, or go to another branch."""
    values = conversation.model_dump(exclude_unset=True)
    return await db.write(
        lambda s: ConversationOut.model_validate(conversations.change(s, conversation_id, values))
    )


@router.delete(
    "/{conversation_id}", status_code=status.HTTP_204_NO_CONTENT, responses=documented(404)
)
async def delete(conversation_id: KnownId, chat: ChatDep) -> None:
    """Remove it with all its messages; a reply that is running is stopped."""
    await chat.remove(conversation_id)


@router.get(
    "/{conversation_id}/export",
    responses=documented(404)
    | {
        200: {
            "description": "The conversation",
            "content": {"text/markdown": {"schema": {"type": "string"}}},
        }
    },
    response_model=ConversationWithMessages,
)
async def export(
    conversation_id: KnownId, db: Db, form: Annotated[Literal["json", "markdown"], Query()] = "json"
) -> Response:
    """Return all of it as a file: JSON with every branch, or the active path as Markdown."""
    whole = form == "json"
    found = await db.read(lambda s: _with_messages(s, conversation_id, whole_tree=whole))
    ending = "json" if whole else "md"
    headers = {
        "Content-Disposition": f'attachment; filename="conversation-{conversation_id}.{ending}"'
    }
    if whole:
        text = found.model_dump_json(indent=2)
        return Response(text, media_type="application/json", headers=headers)
    return PlainTextResponse(as_markdown(found), media_type="text/markdown", headers=headers)


def _with_messages(
    session: Session, conversation_id: int, *, whole_tree: bool
) -> ConversationWithMessages:
    found = conversations.get(session, conversation_id)
    listed = (
        messages.tree(session, conversation_id)
        if whole_tree
        else messages.path(session, found.active_leaf_id)
    )
    return ConversationWithMessages(
        **ConversationOut.model_validate(found).model_dump(),
        messages=[MessageOut.model_validate(each) for each in listed],
    )
