"""An answer token by token, at the pace of a model."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from tutor import errors
from tutor.completion import DONE, Completion, event

LOOK_SECONDS = 0.1  # how often a pause looks whether the server is to stop


async def stream(
    completion: Completion,
    *,
    per_second: float,
    with_usage: bool,
    stopping: Callable[[], bool],
    log_line: dict[str, Any],
) -> AsyncIterator[bytes]:
    """The events of an answer, `per_second` tokens each second, or without a pause if that is 0.

    When the client goes away the server cancels this in whatever pause it is, and `log_line` says
    how far it got. When the server is to stop, the answer ends with an error event.
    """
    log_line |= {"finish": "disconnected", "completion_tokens": 0}
    yield completion.chunk({"role": "assistant", "content": ""}, with_usage=with_usage)
    clock = asyncio.get_running_loop().time
    begun = clock()
    for number, piece in enumerate(completion.pieces):
        # Due by the number and not after the last one: pauses that are late do not add up.
        due = begun + number / per_second if per_second else begun
        await asyncio.sleep(0)  # without a pause nobody would notice that the client has gone
        while (left := due - clock()) > 0 and not stopping():
            await asyncio.sleep(min(left, LOOK_SECONDS))
        if stopping():
            log_line["finish"] = "stopped"
            yield event(errors.body(503, "the server is stopping; ask again when it is back"))
            return
        yield completion.chunk({"content": piece}, with_usage=with_usage)
        log_line["completion_tokens"] = number + 1
    yield completion.chunk({}, completion.finish_reason, with_usage=with_usage)
    if with_usage:
        yield completion.usage_chunk()
    yield DONE
    log_line["finish"] = completion.finish_reason
