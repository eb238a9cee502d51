"""The registry of running generations: start, follow, stop, and end each exactly once."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import structlog

from serve.core import metrics
from serve.core.config import Settings
from serve.core.errors import ChatError, DatabaseAwayError, ServerStoppingError
from serve.core.gate import Gate, Ticket
from serve.core.llm import LlmClient
from serve.core.llm_answer import Answer
from serve.core.llm_request import Asked
from serve.core.request_id import REQUEST_ID
from serve.core.tracing import Tracing
from serve.cruds import turns
from serve.cruds.turns import Begun
from serve.database import Database
from serve.models import Status
from serve.services.context import fit
from serve.services.generation import Generation
from serve.services.outcome import as_json, observe, usage_of

log = structlog.get_logger()

SAVE_SECONDS = 0.25
AGAIN_SECONDS = 0.5  # between attempts to write how a reply ended
# Waking up costs more than the token that one is woken for. So where many replies run at once, what
# comes within a pause is taken, and sent, together: two hundred are sent 25 times a second each.
FEW, PAUSE, LONGEST_PAUSE = 20, 0.0002, 0.05
STOPPING = "the server is stopping; send this again in a moment"
ELSEWHERE = "another server has ended this reply, or it was removed"
UNFORESEEN = "something went wrong in the server; its log says what"


@dataclass
class _Running:
    """A generation with two tasks: one asks the model and may be cancelled, one sees to the end."""

    generation: Generation
    producing: asyncio.Task[None]
    living: asyncio.Task[None]
    told: Status | None = None  # how to end, if somebody has said so
    saved: int = 0  # length of the text that the database has


class Generations:
    """All replies that this server generates now."""

    def __init__(
        self, settings: Settings, database: Database, llm: LlmClient, tracing: Tracing
    ) -> None:
        self._settings = settings
        self._database = database
        self._llm = llm
        self._tracing = tracing
        self.gate = Gate(settings.llm_max_running, settings.llm_max_queued)
        self._running: dict[int, _Running] = {}
        self.stopping = False

    @property
    def count(self) -> int:
        """How many are running or wait for their turn."""
        return len(self._running)

    def get(self, reply_id: int) -> Generation | None:
        """A reply that is running here."""
        running = self._running.get(reply_id)
        return running.generation if running else None

    def start(self, begun: Begun, ticket: Ticket, since: int) -> Generation:
        """Generate a reply whose turn is in the database and whose place is reserved.

        `since` is when the turn was asked for, in nanoseconds since 1970.
        """
        trace = self._tracing.begin(
            "turn",
            since,
            conversation_id=begun.conversation_id,
            message_id=begun.message_id,
            reply_id=begun.reply_id,
            request_id=REQUEST_ID.get(),
        )
        trace.took("write the turn", since)
        generation = Generation(begun, trace)
        name = f"reply-{begun.reply_id}"
        producing = asyncio.create_task(self._produce(generation, ticket), name=name)
        living = asyncio.create_task(self._live(generation, producing, ticket), name=name)
        self._running[begun.reply_id] = _Running(generation, producing, living)
        return generation

    def stop(self, reply_id: int, why: Status = Status.STOPPED) -> Generation | None:
        """Tell a reply to end; None if it does not run here."""
        running = self._running.get(reply_id)
        if running is None:
            return None
        if running.told is None:
            running.told = why
            running.producing.cancel()
        return running.generation

    async def stop_all_of(self, conversation_id: int) -> None:
        """End what runs in a conversation that is about to go."""
        for reply_id, running in list(self._running.items()):
            if running.generation.begun.conversation_id == conversation_id:
                self.stop(reply_id)
                await running.generation.wait()

    async def drain(self, seconds: float) -> None:
        """Give running replies a grace period, then end them."""
        self.stopping = True
        living = [running.living for running in self._running.values()]
        if seconds:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    if living:
                        await asyncio.wait(living)
                    await self._until_empty()
        for reply_id in list(self._running):
            self.stop(reply_id, Status.INTERRUPTED)
        if living:
            await asyncio.wait(living)

    async def _until_empty(self) -> None:
        """Until nothing is generated: neither replies nor answers that nobody keeps."""
        while not self.gate.is_empty:
            await asyncio.sleep(0.05)

    async def keep_saving(self) -> None:
        """Write the text of all running replies, in one transaction, four times a second."""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            await self.save_once()
            for running in self._running.values():
                running.generation.nudge()

    async def save_once(self) -> None:
        """Write what has come since the last time."""
        news = [
            running
            for running in self._running.values()
            if running.generation.length > running.saved
        ]
        if not news:
            return
        texts = {each.generation.begun.reply_id: each.generation.text for each in news}
        try:
            await self._database.write(lambda session: turns.save(session, texts))
        except DatabaseAwayError as exc:
            log.warning("the text so far is not saved", replies=len(texts), reason=str(exc))
            return
        except Exception:  # the end of each is written by itself, and says more
            log.exception("the text so far cannot be saved", replies=list(texts))
            return
        for running, text in zip(news, texts.values(), strict=True):
            running.saved = len(text)

    async def _produce(self, generation: Generation, ticket: Ticket) -> None:
        """Ask the model; raises what ends the answer before its end."""
        begun, trace = generation.begun, generation.trace
        since = time.time_ns()
        async with ticket:
            trace.took("wait for a place", since)
            since = time.time_ns()
            window = self._settings.llm_context_tokens
            generation.context = await fit(begun.history, begun.config, window, self._llm)
            trace.took("fit the context", since)
            asked = Asked(generation.context.messages, begun.config, REQUEST_ID.get())
            with trace.asking(asked, lambda: generation.text) as call:
                async with self._llm.open(asked, call) as answer:
                    generation.answer = answer
                    await self._take(answer, generation)

    async def _take(self, answer: Answer, generation: Generation) -> None:
        async for piece in answer:
            generation.add(piece.text, piece.chunks)
            if len(self._running) > FEW:
                await asyncio.sleep(min(PAUSE * len(self._running), LONGEST_PAUSE))

    async def _live(
        self, generation: Generation, producing: asyncio.Task[None], ticket: Ticket
    ) -> None:
        """See a reply to its end, whatever happens: exactly one final state, in the database."""
        await asyncio.wait({producing})
        ticket.give_back()  # if it was cancelled before it had begun
        reply_id = generation.begun.reply_id
        status, failure = self._outcome(reply_id, producing)
        since = time.time_ns()
        written = await self._write_end(generation, status, failure)
        del self._running[reply_id]
        if written is None:  # who follows it knows of the trouble, and it has no end to tell
            return
        status, failure, ours = written
        if ours:
            metrics.REPLIES.labels(status).inc()
            observe(generation)
        generation.end(status, failure)
        generation.trace.took("write the end", since)
        question = generation.begun.history[-1].content
        generation.trace.end(status, failure, question, generation.text)

    def _outcome(
        self, reply_id: int, producing: asyncio.Task[None]
    ) -> tuple[Status, ChatError | None]:
        if producing.cancelled():
            status = self._running[reply_id].told or Status.INTERRUPTED
            if status is Status.STOPPED:
                return status, None
            return status, ServerStoppingError("the server stopped while it answered")
        exc = producing.exception()
        if exc is None:
            return Status.COMPLETE, None
        if isinstance(exc, ChatError):
            return Status.FAILED, exc
        log.error("a reply failed for a reason nobody foresaw", reply=reply_id, exc_info=exc)
        return Status.FAILED, ChatError(UNFORESEEN)

    async def _write_end(
        self, generation: Generation, status: Status, failure: ChatError | None
    ) -> tuple[Status, ChatError | None, bool] | None:
        """Write the end until the database takes it; what it is then, and whether it is ours.

        None if the server stops and the database takes nothing.
        """
        reply_id, answer, context = generation.begun.reply_id, generation.answer, generation.context
        end = partial(
            turns.finish,
            reply_id=reply_id,
            status=status,
            text=generation.text,
            finish_reason=answer.finish_reason if answer else None,
            error=as_json(failure) if failure else None,
            usage=usage_of(generation),
            context=context.as_json() if context else None,
            trace_id=generation.trace.id,
        )
        bare = partial(
            turns.finish,
            reply_id=reply_id,
            status=Status.FAILED,
            text="",
            error=as_json(ChatError(UNFORESEEN)),
            trace_id=generation.trace.id,
        )
        while True:
            try:
                if not await self._database.write(end):
                    return Status.INTERRUPTED, ChatError(ELSEWHERE), False
                if end is bare:
                    return Status.FAILED, ChatError(UNFORESEEN), True
                return status, failure, True
            except DatabaseAwayError as exc:
                generation.cannot_be_kept(exc)
                if self.stopping:
                    log.error("a reply's end is not kept; the next start ends it", reply=reply_id)
                    return None
                log.warning("a reply's end waits for the database", reply=reply_id, why=str(exc))
                await asyncio.sleep(AGAIN_SECONDS)
            except Exception:
                # Nobody may wait for ever because of a value that the database does not take.
                log.exception("a reply's end cannot be written as it is", reply=reply_id)
                if end is bare:
                    generation.cannot_be_kept(ChatError(UNFORESEEN))
                    return None
                end = bare
