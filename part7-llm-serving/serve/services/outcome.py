"""What is known of a reply at its end."""

from serve.core import metrics
from serve.core.errors import ChatError, ModelError
from serve.core.tokens import estimate
from serve.services.generation import Generation


def observe(generation: Generation) -> None:
    """Count its tokens and its times."""
    if generation.first_at is None or generation.last_at is None:
        return
    metrics.FIRST_TOKEN_SECONDS.observe(generation.first_at - generation.begun_at)
    if generation.chunks > 1:
        span = generation.last_at - generation.first_at
        metrics.TOKEN_SECONDS.observe(span / (generation.chunks - 1))
    usage = usage_of(generation)
    metrics.TOKENS.labels("prompt").inc(usage["prompt_tokens"])
    metrics.TOKENS.labels("completion").inc(usage["completion_tokens"])


def as_json(failure: ChatError) -> dict[str, str]:
    """A failure as it is kept with a reply."""
    kind = failure.kind if isinstance(failure, ModelError) else "server"
    return {"kind": kind, "detail": str(failure)}


def usage_of(generation: Generation) -> dict[str, int | bool]:
    """What the model server counted, or an estimate that says that it is one."""
    answer, context = generation.answer, generation.context
    if answer is not None and answer.usage is not None:
        known = ("prompt_tokens", "completion_tokens", "total_tokens")
        return {name: int(answer.usage.get(name) or 0) for name in known} | {"estimated": False}
    prompt = context.tokens if context is not None else 0
    done = max(generation.chunks, estimate(generation.text)) if generation.length else 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": done,
        "total_tokens": prompt + done,
        "estimated": True,
    }
