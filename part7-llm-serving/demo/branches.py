"""Ways through a conversation's tree: the one that is shown, and where it could go elsewhere."""

from dataclasses import dataclass
from typing import Literal

from demo.schemas import Message, Tree


@dataclass(frozen=True)
class Fork:
    """Messages that answer the same one; `index` is the one that is shown."""

    versions: list[Message]
    index: int


def shown_path(tree: Tree) -> list[Message]:
    """The messages from the first one to the active leaf."""
    by_id = {message.id: message for message in tree.messages}
    path: list[Message] = []
    message_id = tree.active_leaf_id
    while message_id is not None and message_id in by_id:
        path.append(by_id[message_id])
        message_id = by_id[message_id].parent_id
    return path[::-1]


def last_fork(tree: Tree, role: Literal["user", "assistant"]) -> Fork | None:
    """The last message of `role` on the path that has other versions."""
    for message in reversed(shown_path(tree)):
        if message.role == role:
            versions = [
                each
                for each in tree.messages
                if each.parent_id == message.parent_id and each.role == role
            ]
            if len(versions) > 1:
                return Fork(versions, versions.index(message))
    return None


def newest_leaf(tree: Tree, message_id: int) -> int:
    """Where one gets from a message by always taking the newest answer."""
    leaf = message_id
    while answers := [each.id for each in tree.messages if each.parent_id == leaf]:
        leaf = max(answers)
    return leaf
