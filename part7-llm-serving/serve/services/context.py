"""The context budget: what of a conversation fits into the model's window.

The system prompt always stays, and so do the system messages that a kept exchange begins with, and
the question; the oldest turns go first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from serve.core.errors import UnusableError
from serve.core.llm import LlmClient
from serve.core.tokens import estimate
from serve.cruds.messages import Said
from serve.models import ReplyConfig

ROOM_FOR_REPLY = 512  # tokens, where the configuration does not say how long a reply may be
PER_MESSAGE = 6  # tokens that a chat template puts around each, about


@dataclass(frozen=True)
class Context:
    """The messages for the model, and what is said in the reply about them."""

    messages: list[dict[str, str]]
    tokens: int
    left_out: int
    counted_by: str

    def as_json(self) -> dict[str, Any]:
        """For the reply's column."""
        return {
            "tokens": self.tokens,
            "messages": len(self.messages),
            "left_out": self.left_out,
            "counted_by": self.counted_by,
        }


def surely_fits(history: Sequence[Said], config: ReplyConfig, window: int) -> bool:
    """Whether the question fits beside what stays; False if somebody has to count for that."""
    fixed, spoken = _parts(history, config)
    return sum(_upper(said) for said in (*fixed, spoken[-1])) <= _room(config, window)


async def check_fits(
    history: Sequence[Said], config: ReplyConfig, window: int, llm: LlmClient
) -> None:
    """Count whether the question fits beside what stays.

    Raises:
        UnusableError: it does not.
    """
    fixed, spoken = _parts(history, config)
    await _count_least(fixed, spoken[-1], _room(config, window), window, _Counter(llm))


async def fit(history: Sequence[Said], config: ReplyConfig, window: int, llm: LlmClient) -> Context:
    """Keep the newest messages that fit beside what stays and the reply.

    Raises:
        UnusableError: not even the question fits.
    """
    room = _room(config, window)
    fixed, spoken = _parts(history, config)
    every = [*fixed, *spoken]
    at_most = sum(_upper(said) for said in every)
    if at_most <= room:  # nearly always: nobody need count
        estimate = sum(_estimate(said) for said in every)
        return Context([_message(said) for said in every], estimate, 0, "estimate")
    counter = _Counter(llm)
    used = await _count_least(fixed, spoken[-1], room, window, counter)
    kept = [spoken[-1]]
    for said in reversed(spoken[:-1]):
        count = await counter.count(said)
        if used + count > room:
            break
        kept.insert(0, said)
        used += count
    # A conversation that begins with an answer confuses; one that is nothing else is asked for.
    while len(kept) > 1 and kept[0].role == "assistant":
        used -= await counter.count(kept.pop(0))
    return Context(
        [_message(said) for said in (*fixed, *kept)],
        used,
        len(spoken) - len(kept),
        "tokenizer" if counter.exact else "estimate",
    )


def _room(config: ReplyConfig, window: int) -> int:
    """For all that is said to the model; the rest of the window is the reply's."""
    return window - (config.max_tokens or min(ROOM_FOR_REPLY, window // 2))


def _parts(history: Sequence[Said], config: ReplyConfig) -> tuple[list[Said], list[Said]]:
    """What always stays, and what was said, of which the last is the question."""
    prompt = [Said("system", config.system_prompt)] if config.system_prompt else []
    given = list(takewhile(lambda said: said.role == "system", history[:-1]))
    return [*prompt, *given], list(history[len(given) :])


async def _count_least(
    fixed: Sequence[Said], question: Said, room: int, window: int, counter: "_Counter"
) -> int:
    """The tokens of what must not be left out.

    Raises:
        UnusableError: they are too many.
    """
    used = sum([await counter.count(said) for said in fixed])
    if used >= room:
        raise UnusableError(
            f"no message fits: of the model's window of {window:,} tokens the reply may take "
            f"{window - room:,}, and what is always said to the model takes {used:,}; lower "
            "max_tokens, or shorten the system prompt"
        )
    count = await counter.count(question)
    if used + count > room:
        raise UnusableError(
            f"the message has about {count:,} tokens, and there is room for "
            f"{max(room - used, 0):,}: the model's window has {window:,}, of which the system "
            "prompt and the reply take their share"
        )
    return used + count


class _Counter:
    """Counts by the server's tokenizer until that fails once, then by estimate."""

    def __init__(self, llm: LlmClient) -> None:
        self._llm = llm
        self.exact = True

    async def count(self, said: Said) -> int:
        if self.exact:
            tokens = await self._llm.count_tokens(said.content)
            if tokens is not None:
                return tokens + PER_MESSAGE
            self.exact = False
        return _estimate(said)


def _estimate(said: Said) -> int:
    return estimate(said.content) + PER_MESSAGE


def _upper(said: Said) -> int:
    """More than any tokenizer makes of it: at worst each byte is a token, as of long numbers."""
    return len(said.content.encode()) + PER_MESSAGE


def _message(said: Said) -> dict[str, str]:
    return {"role": said.role, "content": said.content}
