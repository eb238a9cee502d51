"""What was seen of a turn against what the rules say."""

from collections.abc import Iterator

from serve.models import Status

from tests.part7.faults.expectations import End, Expected, expected, text_of_tokens
from tests.part7.faults.place import Observed, Tried


def mismatches(tried: Tried) -> list[str]:
    """Everything at a place that is not as it must be; each says where."""
    place = f"{tried.place.engine}, {tried.place.server}, {tried.place.database}"
    found = list(tried.wrong)
    for observed in tried.observed:
        found += [f"{observed.turn.name}: {each}" for each in _of_turn(observed)]
    return [f"[{place}] {each}" for each in found]


def _of_turn(observed: Observed) -> Iterator[str]:
    rule = expected(observed.turn)
    yield from _of_client(observed, rule)
    yield from _of_rows(observed, rule)
    yield from _of_model_side(observed, rule)


def _of_client(observed: Observed, rule: Expected) -> Iterator[str]:
    turn, seen = observed.turn, observed.seen
    if turn.leaves:
        return
    if not turn.stream:
        if seen.http != rule.http:
            yield f"answered {seen.http}, and not {rule.http}"
        return
    if seen.http != 200 or seen.events[0].name != "turn":
        yield f"answered {seen.http} with {seen.events[:1]}"
    if seen.last_events != rule.events:
        yield f"ended with {seen.last_events}, and not {rule.events}"
    elif rule.events and seen.problem != rule.problem:
        yield f"said {seen.problem}, and not {rule.problem}"
    if "done" in seen.last_events:
        if seen.events[-1].data != observed.reply:
            yield f"the event done is {seen.events[-1].data}, and the row {observed.reply}"
        if seen.text != observed.reply["content"]:
            yield f"the deltas say {seen.text!r}, and the row {observed.reply['content']!r}"


def _of_rows(observed: Observed, rule: Expected) -> Iterator[str]:
    conversation, reply = observed.conversation, observed.reply
    messages = conversation["messages"]
    if [each["role"] for each in messages] != ["user", "assistant"]:
        yield f"the rows are {messages}"
        return
    if [each["seq"] for each in messages] != [1, 2] or conversation["message_count"] != 2:
        yield "the messages are not numbered 1 and 2"
    if messages[0]["content"] != observed.turn.name:
        yield f"the question is {messages[0]['content']!r}"
    if reply["parent_id"] != messages[0]["id"] or conversation["active_leaf_id"] != reply["id"]:
        yield "the reply does not follow its question"
    if not any(_ends_like(reply["status"], reply["error"], end) for end in rule.ends):
        yield f"the reply is {reply['status']} with {reply['error']}, and not {rule.ends}"
    if not any(_says(reply["content"], end) for end in rule.ends):
        yield f"the text is {reply['content']!r}, and not that of {rule.ends}"
    if reply["finished_at"] is None:
        yield "there is no time at which it ended"
    usage = reply["usage"] or {}
    # None of these models says how many tokens it were, or none is asked to the end.
    if usage.get("estimated") is not True or (usage["completion_tokens"] > 0) != bool(
        reply["content"]
    ):
        yield f"the usage is {usage}"


def _ends_like(status: str, error: dict[str, str] | None, end: End) -> bool:
    kind = end.problem.kind if end.problem else None
    return Status(status) is end.status and (error or {}).get("kind") == kind


def _says(content: str, end: End) -> bool:
    return content in {text_of_tokens(count) for count in range(end.least, end.most + 1)}


def _of_model_side(observed: Observed, rule: Expected) -> Iterator[str]:
    asked = observed.exchanges
    if len(asked) != rule.asked:
        yield f"the model server was asked {len(asked)} times, and not {rule.asked}"
    elif asked and asked[-1].outcome not in {end.model_side for end in rule.ends}:
        yield f"the model server's side was {asked[-1].outcome}, and not {rule.ends}"
