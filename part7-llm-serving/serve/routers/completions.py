"""/v1: OpenAI's protocol, so that any client of it can be pointed here."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from serve.core.problems import BODY, documented
from serve.core.streaming import EVENTS, EventStream, until_gone
from serve.cruds import exchanges
from serve.routers.dependency import Llm, StateDep
from serve.schemas.completion import CompletionIn, CompletionOut, Model, ModelList
from serve.services.chat import title_of
from serve.services.completions import (
    Shape,
    kept_events,
    passing_events,
    said_in,
)
from serve.services.generation import Generation
from serve.services.passing import open_passing

router = APIRouter(prefix="/v1", tags=["openai"], responses=documented(401, 502, 503, 504))


@router.get("/models")
async def models(llm: Llm) -> ModelList:
    """List what the model server calls its models."""
    return ModelList(data=[Model(id=name) for name in await llm.models()])


@router.post(
    "/chat/completions",
    responses=BODY | documented(507) | {200: {"description": "The answer", "content": EVENTS}},
    response_model=CompletionOut,
)
async def complete(asked: CompletionIn, request: Request, state: StateDep) -> object:
    """Answer a list of messages, whole or as events; `store` keeps it as a conversation."""
    counted = bool(asked.stream_options and asked.stream_options.include_usage)
    if asked.store:
        return await _kept(asked, request, state, include_usage=counted)
    shape = Shape(asked.model)
    async with AsyncExitStack() as stack:
        opening = open_passing(
            said_in(asked), asked.config(), state.llm, state.generations, state.tracing
        )
        passing = await until_gone(request, stack.enter_async_context(opening))
        if asked.stream:
            events = passing_events(passing, shape, include_usage=counted)
            return EventStream(events, closing=stack.pop_all().aclose)
        text = await until_gone(request, passing.text())
        return shape.whole(text, passing.answer.finish_reason, passing.answer.usage)


async def _kept(
    asked: CompletionIn, request: Request, state: StateDep, *, include_usage: bool
) -> object:
    said = said_in(asked)
    title = title_of(next((each.content for each in said if each.role == "user"), ""))
    begin = partial(exchanges.begin, said=said, title=title, config=asked.config())
    generation = await state.chat.start_exchange(begin)
    shape = Shape(asked.model, str(generation.begun.reply_id))
    headers = {"X-Conversation-ID": str(generation.begun.conversation_id)}
    if asked.stream:
        events = kept_events(generation, shape, include_usage=include_usage)
        return EventStream(events, _leaving(state, generation), headers=headers)
    await until_gone(request, generation.wait(), _leaving(state, generation))
    if generation.failure is not None:
        raise generation.failure
    answer = generation.answer
    whole = shape.whole(
        generation.text,
        answer.finish_reason if answer else None,
        answer.usage if answer else None,
    )
    return JSONResponse(whole.model_dump(), headers=headers)


def _leaving(state: StateDep, generation: Generation) -> Callable[[], None]:
    def leave() -> None:
        if state.settings.on_disconnect == "cancel":
            state.generations.stop(generation.begun.reply_id)

    return leave
