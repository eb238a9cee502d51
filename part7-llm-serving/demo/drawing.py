"""What the page shows of the server's answers: texts and values, no components."""

from html import escape
from typing import Any

from demo.branches import Fork
from demo.schemas import Config, Conversation, Health, Message

MARKS = {
    "stopped": "stopped",
    "interrupted": "interrupted: the server went away",
    "failed": "failed",
}


def chat_messages(path: list[Message]) -> list[dict[str, Any]]:
    """Messages for gr.Chatbot; each carries its id, so that an event can say which one it is."""
    return [
        {
            "role": message.role,
            # As a part: Gradio takes the indentation away from a plain text.
            "content": [{"type": "text", "text": text_of(message)}],
            "metadata": {"id": message.id},
        }
        for message in path
    ]


def text_of(message: Message) -> str:
    """The text, and how it ended if that was not the usual end."""
    if message.status == "streaming":
        return message.content or "…"
    if message.role == "user" or message.status == "complete":
        return message.content
    mark = MARKS[message.status]
    if message.status == "failed" and message.error:
        mark += f": {message.error.get('detail', '')}"
    return f"{message.content}\n\n*({mark})*" if message.content else f"*({mark})*"


def thumbs(path: list[Message]) -> list[str | None]:
    """For each reply what gr.Chatbot calls the thumb it has."""
    named = {"up": "Like", "down": "Dislike", None: None}
    return [named[message.thumb] for message in path if message.role == "assistant"]


def title_of(conversation: Conversation) -> str:
    """Its title, or what to call it before there is one."""
    return conversation.title or f"Conversation {conversation.id}"


def label_of(config: Config) -> str:
    """A configuration in the list."""
    return f"{config.name} ({config.model_name})"


def count_of(fork: Fork, name: str) -> str:
    """Which version is shown: `Reply 2/3`."""
    return f"{name} {fork.index + 1}/{len(fork.versions)}"


def status_line(health: Health) -> str:
    """How the server is, as HTML."""
    if health.status == "ok":
        return _line("ok", f"Ready: {', '.join(health.models) or 'no model named'}")
    return _line("degraded", f"Degraded: {'; '.join(health.reasons)}")


def away_line(why: str) -> str:
    """What to do when the server does not answer, as HTML."""
    return _line(
        "away",
        f"The chat server is away: {why}. Start it with python -m serve.main, or set "
        "CHAT_API_URL; the page goes on by itself.",
    )


def _line(kind: str, text: str) -> str:
    return f'<div class="{kind}"><span class="dot">●</span>{escape(text)}</div>'
