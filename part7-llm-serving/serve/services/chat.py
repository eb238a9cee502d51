"""A chat turn: from a request to a reply that is running, or to the one that it already made."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256

from sqlalchemy.orm import Session

from serve.core.config import Settings
from serve.core.errors import BusyError, ConflictError, ServerStoppingError, UnusableError
from serve.core.gate import Ticket
from serve.core.llm import LlmClient
from serve.cruds import conversations, messages, repeats, turns
from serve.cruds.repeats import Once, RepeatedError
from serve.cruds.turns import Begun, Question
from serve.database import Database
from serve.models import ReplyConfig, Role
from serve.services.context import check_fits, surely_fits
from serve.services.generation import Generation
from serve.services.generations import STOPPING, Generations

TITLE_LENGTH = 60

Check = Callable[[Session], None]


@dataclass(frozen=True)
class Turn:
    """A question and its reply; `generation` is None if the reply has ended, or runs elsewhere."""

    message_id: int
    reply_id: int
    generation: Generation | None
    repeated: bool = False


class MustCountError(Exception):
    """Nobody can say without counting whether the question fits; its turn is not written."""

    def __init__(self, begun: Begun) -> None:
        super().__init__(begun.conversation_id)
        self.begun = begun


class Chat:
    """Begins turns and ends them early."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        llm: LlmClient,
        generations: Generations,
        owner: str,
    ) -> None:
        self._default = ReplyConfig(model_name=settings.llm_model)
        self._window = settings.llm_context_tokens
        self._database = database
        self._llm = llm
        self._generations = generations
        self._owner = owner
        self._beginning: set[asyncio.Task[Turn]] = set()

    async def send(
        self, conversation_id: int, content: str, idempotency_key: str | None = None
    ) -> Turn:
        """Post a user's message after the active leaf, and start its reply.

        Raises:
            NotFoundError, ConflictError, UnusableError: see `turns.begin`.
            UnusableError: the question does not fit into the model's window.
            BusyError: too many replies are running and waiting.
        """
        once = _once(idempotency_key, content)
        begin = partial(
            turns.begin,
            conversation_id=conversation_id,
            question=Question(content, title_of(content), once),
            owner=self._owner,
            default=self._default,
        )
        return await self._start(begin, _check(conversation_id, once))

    async def edit(
        self,
        conversation_id: int,
        message_id: int,
        content: str,
        idempotency_key: str | None = None,
    ) -> Turn:
        """Say something else at the same place: a branch beside the old message.

        Raises:
            UnusableError: it is no user's message; otherwise as `send`.
        """
        edited = await self._database.read(
            lambda session: messages.get(session, conversation_id, message_id)
        )
        if edited.role != Role.USER:
            raise UnusableError(f"message {message_id} is not a user's; only those can be edited")
        once = _once(idempotency_key, "edit", str(message_id), content)
        begin = partial(
            turns.begin,
            conversation_id=conversation_id,
            question=Question(content, title_of(content), once),
            owner=self._owner,
            default=self._default,
            parent_id=edited.parent_id,
            at_leaf=False,
        )
        return await self._start(begin, _check(conversation_id, once))

    async def regenerate(
        self, conversation_id: int, reply_id: int, idempotency_key: str | None = None
    ) -> Turn:
        """Start another reply beside an old one, which stays.

        Raises:
            UnusableError: it is no reply; otherwise as `send`.
        """
        reply = await self._database.read(
            lambda session: messages.get(session, conversation_id, reply_id)
        )
        if reply.role != Role.ASSISTANT or reply.parent_id is None:
            raise UnusableError(f"message {reply_id} is not a reply; only those can be regenerated")
        once = _once(idempotency_key, "regenerate", str(reply_id))
        begin = partial(
            turns.begin_again,
            conversation_id=conversation_id,
            message_id=reply.parent_id,
            owner=self._owner,
            default=self._default,
            once=once,
        )
        return await self._start(begin, _check(conversation_id, once))

    async def start_exchange(self, begin: Callable[..., Begun]) -> Generation:
        """Keep an exchange of OpenAI's protocol as a conversation, and start its reply.

        Raises:
            UnusableError: its last message does not fit into the model's window.
            BusyError: too many replies are running and waiting.
        """
        turn = await self._start(partial(begin, owner=self._owner))
        assert turn.generation is not None  # nothing recognises it as a repetition
        return turn.generation

    async def stop(self, conversation_id: int, reply_id: int) -> None:
        """End a reply that is running; its text so far stays.

        Raises:
            ConflictError: it is not running here.
        """
        reply = await self._database.read(
            lambda session: messages.get(session, conversation_id, reply_id)
        )
        generation = self._generations.stop(reply_id)
        if generation is None:
            raise ConflictError(f"message {reply_id} is {reply.status}: there is nothing to stop")
        await generation.wait()

    async def remove(self, conversation_id: int) -> None:
        """Remove a conversation and end what runs in it.

        Raises:
            NotFoundError: there is none.
        """
        await self._generations.stop_all_of(conversation_id)
        await self._database.write(lambda session: conversations.remove(session, conversation_id))

    async def finish_beginning(self) -> None:
        """Wait for turns that are being written at this moment."""
        if self._beginning:
            await asyncio.wait(self._beginning)

    async def _start(self, begin: Callable[[Session], Begun], check: Check | None = None) -> Turn:
        """Write the turn, and start its reply; also if the client goes away in between."""
        beginning = asyncio.create_task(self._begin(begin, check))
        self._beginning.add(beginning)
        beginning.add_done_callback(self._beginning.discard)
        return await asyncio.shield(beginning)

    async def _begin(self, begin: Callable[[Session], Begun], check: Check | None) -> Turn:
        if self._generations.stopping:
            raise ServerStoppingError(STOPPING)
        since = time.time_ns()
        try:
            ticket = await self._reserve(check)
            try:
                begun = await self._write(begin)
            except BaseException:
                ticket.give_back()
                raise
        except RepeatedError as exc:
            running = self._generations.get(exc.reply_id)
            return Turn(exc.message_id, exc.reply_id, running, repeated=True)
        generation = self._generations.start(begun, ticket, since)
        return Turn(begun.message_id, begun.reply_id, generation)

    async def _reserve(self, check: Check | None) -> Ticket:
        """Claim a place.

        Raises:
            RepeatedError: there is none, and none is needed.
            BusyError: there is none.
        """
        try:
            return self._generations.gate.reserve()
        except BusyError:
            if check is not None:
                await self._database.read(check)
            raise

    async def _write(self, begin: Callable[[Session], Begun]) -> Begun:
        """Write a turn whose question fits into the model's window.

        Nearly every one is so short that this is certain, and costs no visit to the database. For
        the others the transaction is taken back, so that none is open while the tokenizer is asked.
        If the configuration changes in between, the last word is that of `fit`.
        """

        def write_what_surely_fits(session: Session) -> Begun:
            begun = begin(session)
            if not surely_fits(begun.history, begun.config, self._window):
                raise MustCountError(begun)
            return begun

        try:
            return await self._database.write(write_what_surely_fits)
        except MustCountError as exc:
            unwritten = exc.begun
        await check_fits(unwritten.history, unwritten.config, self._window, self._llm)
        return await self._database.write(begin)


def title_of(content: str) -> str | None:
    """A title made of what was said first; None if that was nothing but blanks."""
    line = " ".join(content.split())
    if len(line) > TITLE_LENGTH:
        line = line[: TITLE_LENGTH - 1].rstrip() + "…"
    return line or None


def _check(conversation_id: int, once: Once | None) -> Check | None:
    """What tells a request that was made before, without writing."""
    if once is None:
        return None
    return partial(repeats.check, conversation_id=conversation_id, once=once)


def _once(key: str | None, *request: str) -> Once | None:
    # NUL is in no message, so that no text makes one kind of request look like another.
    return Once(key, sha256("\0".join(request).encode()).hexdigest()) if key else None
