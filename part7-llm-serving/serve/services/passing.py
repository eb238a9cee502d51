"""An answer that nobody keeps: it passes through, and is traced like any other."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager

from serve.core.errors import ChatError, ServerStoppingError
from serve.core.llm import LlmClient
from serve.core.llm_answer import Answer
from serve.core.llm_request import Asked
from serve.core.request_id import REQUEST_ID
from serve.core.streaming import ClientGoneError
from serve.core.tracing import Tracing
from serve.cruds.messages import Said
from serve.models import ReplyConfig, Status
from serve.services.generations import STOPPING, Generations


class Passing:
    """An answer that is open since its first token."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.outcome = Status.STOPPED  # unless it comes to its end, or to that of the model
        self.failure: ChatError | None = None
        self._pieces: list[str] = []

    @property
    def so_far(self) -> str:
        """What has come."""
        return "".join(self._pieces)

    async def pieces(self) -> AsyncGenerator[str]:
        """Its text.

        Raises:
            ChatError: it broke off.
        """
        try:
            async for piece in self.answer:
                self._pieces.append(piece.text)
                yield piece.text
        except ChatError as exc:
            self.outcome, self.failure = Status.FAILED, exc
            raise
        self.outcome = Status.COMPLETE

    async def text(self) -> str:
        """All of it."""
        return "".join([piece async for piece in self.pieces()])


@asynccontextmanager
async def open_passing(
    said: Sequence[Said],
    config: ReplyConfig,
    llm: LlmClient,
    generations: Generations,
    tracing: Tracing,
) -> AsyncIterator[Passing]:
    """Ask the model; the answer is there, with its first token, until the end of the block.

    Raises:
        BusyError: too many replies are running and waiting.
        ModelError: no model server gave an answer.
        ServerStoppingError: the server is about to go.
    """
    if generations.stopping:
        raise ServerStoppingError(STOPPING)
    messages = [{"role": each.role, "content": each.content} for each in said]
    asked = Asked(messages, config, REQUEST_ID.get())
    ticket = generations.gate.reserve()
    trace = tracing.begin("completion", request_id=asked.request_id)
    passing: Passing | None = None
    failure: ChatError | None = None
    outcome = Status.STOPPED
    told = False  # by the block, which has dealt with it
    try:
        async with ticket:
            with trace.asking(asked, lambda: passing.so_far if passing else "") as call:
                async with llm.open(asked, call) as answer:
                    passing = Passing(answer)
                    yield passing
                    told = True
                    if passing.failure is not None:
                        raise passing.failure
    except ChatError as exc:
        failure, outcome = exc, Status.FAILED
        if not told:
            raise
    except ClientGoneError:
        raise
    except Exception:
        outcome = Status.FAILED
        raise
    else:
        outcome = passing.outcome
    finally:
        text = passing.so_far if passing else ""
        trace.end(outcome, failure, said[-1].content, text)
