"""A conversation for people to read."""

from serve.models import Role, Status
from serve.schemas.conversation import ConversationWithMessages

SPEAKERS = {Role.USER: "You", Role.ASSISTANT: "Assistant", Role.SYSTEM: "System"}


def as_markdown(conversation: ConversationWithMessages) -> str:
    """The messages one below the other, each under who speaks."""
    parts = [f"# {conversation.title or f'Conversation {conversation.id}'}"]
    for message in conversation.messages:
        ended = "" if message.status is Status.COMPLETE else f" ({message.status})"
        when = f"{message.created_at:%Y-%m-%d %H:%M:%S} UTC"
        parts.append(f"## {SPEAKERS[message.role]}{ended}, {when}")
        parts.append(message.content)
    return "\n\n".join(parts) + "\n"
