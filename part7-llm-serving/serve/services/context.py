"""The context budget: what of a conversation fits into the model's window.

The system prompt always stays, and so does the question; the oldest turns go first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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


async def fit(history: Sequence[Said], config: ReplyConfig, window: int, llm: LlmClient) -> Context:
    """Keep the newest messages that fit beside the system prompt and the reply.

    Raises:
        UnusableError: not even the question fits.
    """
    system = [Said("system", config.system_prompt)] if config.system_prompt else []
    room = window - (config.max_tokens or min(ROOM_FOR_REPLY, window // 2))
    every = [*system, *history]
    at_most = sum(_upper(said) for said in every)
    if at_most <= room:  # nearly always: nobody need count
        estimate = sum(_estimate(said) for said in every)
        return Context([_message(said) for said in every], estimate, 0, "estimate")
    counter = _Counter(llm)
    fixed = sum([await counter.count(said) for said in system])
    kept: list[Said] = []
    used = fixed
    for said in reversed(history):
        count = await counter.count(said)
        if used + count > room:
            break
        kept.insert(0, said)
        used += count
    if not kept:
        raise UnusableError(
            f"the message has about {count:,} tokens, and there is room for "
            f"{max(room - fixed, 0):,}: the model's window has {window:,}, of which the system "
            "prompt and the reply take their share"
        )
    # A conversation that begins with an answer confuses; one that is nothing else is asked for.
    while len(kept) > 1 and kept[0].role == "assistant":
        used -= await counter.count(kept.pop(0))
    return Context(
        [_message(said) for said in (*system, *kept)],
        used,
        len(history) - len(kept),
        "tokenizer" if counter.exact else "estimate",
    )


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
    """More than any tokenizer makes of it: they fall back to bytes at worst, and seldom do."""
    return len(said.content.encode()) // 2 + PER_MESSAGE


def _message(said: Said) -> dict[str, str]:
    return {"role": said.role, "content": said.content}
