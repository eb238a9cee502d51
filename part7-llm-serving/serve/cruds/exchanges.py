"""An exchange over OpenAI's protocol, kept as a conversation."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from serve.cruds.messages import Said
from serve.cruds.turns import Begun
from serve.models import ChatMessage, Conversation, ReplyConfig, Role, Status


def begin(
    session: Session, said: Sequence[Said], title: str | None, config: ReplyConfig, owner: str
) -> Begun:
    """Make a conversation of what was said, with a reply that is `streaming` from now on."""
    conversation = Conversation(title=title, message_count=len(said) + 1)
    session.add(conversation)
    session.flush()
    parent: int | None = None
    for seq, each in enumerate(said, start=1):
        message = ChatMessage(
            conversation_id=conversation.id,
            seq=seq,
            parent_id=parent,
            role=each.role,
            content=each.content,
        )
        session.add(message)
        session.flush()
        parent = message.id
    reply = ChatMessage(
        conversation_id=conversation.id,
        seq=len(said) + 1,
        parent_id=parent,
        role=Role.ASSISTANT,
        content="",
        status=Status.STREAMING,
        config=config.as_json(),
        owner=owner,
    )
    session.add(reply)
    session.flush()
    conversation.active_leaf_id = reply.id
    session.flush()
    return Begun(conversation.id, parent or 0, reply.id, config, said)
