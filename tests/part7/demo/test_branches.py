"""Ways through a conversation's tree."""

from demo.branches import last_fork, newest_leaf, shown_path
from demo.drawing import chat_messages, thumbs
from demo.schemas import Message, Tree

# 1 ─ 2 ─ 5 ─ 6        1 is asked, 2 and 3 answer it, 4 says otherwise what 1 says;
#   └ 3                5 goes on after 2, and 6 answers
# 4 ─ 7
PARENTS = {1: None, 2: 1, 3: 1, 4: None, 5: 2, 6: 5, 7: 4}
ASKED = {1, 4, 5}


def tree(leaf: int | None) -> Tree:
    messages = [
        Message(
            id=number,
            parent_id=parent,
            role="user" if number in ASKED else "assistant",
            content=f"text {number}",
            status="complete",
        )
        for number, parent in PARENTS.items()
    ]
    return Tree(
        id=1, title=None, llm_config_id=None, active_leaf_id=leaf, messages=messages if leaf else []
    )


def test_the_path_goes_from_the_first_message_to_the_leaf() -> None:
    assert [each.id for each in shown_path(tree(6))] == [1, 2, 5, 6]
    assert [each.id for each in shown_path(tree(7))] == [4, 7]
    assert shown_path(tree(None)) == []


def test_the_last_fork_is_where_a_message_has_other_versions() -> None:
    fork = last_fork(tree(6), "assistant")
    assert fork is not None
    assert ([each.id for each in fork.versions], fork.index) == ([2, 3], 0)
    fork = last_fork(tree(7), "user")
    assert fork is not None
    assert ([each.id for each in fork.versions], fork.index) == ([1, 4], 1)
    assert last_fork(tree(7), "assistant") is None


def test_going_to_a_version_goes_to_its_newest_end() -> None:
    assert newest_leaf(tree(7), 1) == 3
    assert newest_leaf(tree(7), 2) == 6
    assert newest_leaf(tree(7), 7) == 7


def test_what_is_shown_says_how_a_reply_ended() -> None:
    path = shown_path(tree(7))
    failed = path[1].model_copy(
        update={"status": "failed", "error": {"detail": "no model"}, "thumb": "down"}
    )
    stopped = path[1].model_copy(update={"status": "stopped", "content": "    indented"})
    empty = path[1].model_copy(update={"status": "streaming", "content": ""})

    shown = [each["content"][0]["text"] for each in chat_messages([failed, stopped, empty])]

    assert shown == ["text 7\n\n*(failed: no model)*", "    indented\n\n*(stopped)*", "…"]
    assert thumbs([path[0], failed, stopped]) == ["Dislike", None]
