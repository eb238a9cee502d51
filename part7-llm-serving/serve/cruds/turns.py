"""The writes of a turn: begin it, keep its text while it streams, end it once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from serve.core.errors import ConflictError, NotFoundError
from serve.cruds import messages, repeats
from serve.cruds.repeats import Once
from serve.models import ChatMessage, Conversation, LLMConfig, ReplyConfig, Role, Status
from serve.models.base import now

_C, _M = Conversation.__table__.c, ChatMessage.__table__.c

# Built once: building a statement takes longer than running it.
_COUNT_UP = (
    update(Conversation.__table__)  # type: ignore[arg-type]
    .where(_C.id == bindparam("conversation_id"))
    .values(
        message_count=_C.message_count + bindparam("added"),
        updated_at=bindparam("moment"),
        title=func.coalesce(_C.title, bindparam("title_if_none")),
    )
    .returning(_C.message_count, _C.active_leaf_id, _C.llm_config_id)
)
_RUNNING = (
    select(_M.id)
    .where(_M.conversation_id == bindparam("conversation_id"), _M.status == Status.STREAMING)
    .limit(1)
)
_INSERT = insert(ChatMessage.__table__).returning(_M.id)  # type: ignore[arg-type]
_SET_LEAF = (
    update(Conversation.__table__)  # type: ignore[arg-type]
    .where(_C.id == bindparam("conversation_id"))
    .values(active_leaf_id=bindparam("leaf"))
)
_SAVE = (
    update(ChatMessage.__table__)  # type: ignore[arg-type]
    .where(_M.id == bindparam("message_id"), _M.status == Status.STREAMING)
    .values(content=bindparam("text"))
)
_FINISH = (
    update(ChatMessage.__table__)  # type: ignore[arg-type]
    .where(_M.id == bindparam("message_id"), _M.status == Status.STREAMING)
    .values(
        content=bindparam("text"),
        status=bindparam("outcome"),
        finished_at=bindparam("moment"),
        finish_reason=bindparam("reason"),
        error=bindparam("problem"),
        usage=bindparam("counted"),
        context=bindparam("included"),
        trace_id=bindparam("trace"),
    )
)


@dataclass(frozen=True)
class Question:
    """What a user says, and the title that it gives to a conversation without one."""

    content: str
    title: str | None
    once: Once | None = None


@dataclass(frozen=True)
class Begun:
    """A turn that is in the database: ids, configuration, and what has been said before."""

    conversation_id: int
    message_id: int
    reply_id: int
    config: ReplyConfig
    history: Sequence[messages.Said]


def begin(
    session: Session,
    conversation_id: int,
    question: Question,
    owner: str,
    default: ReplyConfig,
    *,
    parent_id: int | None = None,
    at_leaf: bool = True,
) -> Begun:
    """Add a user's message and its reply, which is `streaming` from now on.

    The message follows the active leaf, or `parent_id` (None: it is a first one) unless `at_leaf`.

    Raises:
        NotFoundError: there is no such conversation.
        ConflictError: a reply is running in it.
        RepeatedError: the idempotency key is known.
        UnusableError: the key is known, but of another request.
    """
    count, leaf, config_id = _count_up(session, conversation_id, 2, question.title)
    if question.once is not None:
        repeats.check(session, conversation_id, question.once)
    _check_running(session, conversation_id)
    connection = session.connection()
    moment = now()
    message_id: int = connection.execute(
        _INSERT,
        _row(
            conversation_id,
            count - 1,
            leaf if at_leaf else parent_id,
            Role.USER,
            question.content,
            moment,
            once=question.once,
        ),
    ).scalar_one()
    config = _config(session, config_id, default)
    return _begin_reply(session, conversation_id, count, message_id, config, owner)


def begin_again(
    session: Session,
    conversation_id: int,
    message_id: int,
    owner: str,
    default: ReplyConfig,
    *,
    once: Once | None = None,
) -> Begun:
    """Add another reply to a user's message.

    Raises:
        NotFoundError, ConflictError, RepeatedError, UnusableError: as `begin`.
    """
    count, _, config_id = _count_up(session, conversation_id, 1, None)
    if once is not None:
        repeats.check(session, conversation_id, once)
    _check_running(session, conversation_id)
    config = _config(session, config_id, default)
    return _begin_reply(session, conversation_id, count, message_id, config, owner, once)


def save(session: Session, texts: Mapping[int, str]) -> None:
    """Keep what has come so far of replies that stream."""
    rows = [{"message_id": each, "text": text} for each, text in texts.items()]
    session.connection().execute(_SAVE, rows)


def finish(
    session: Session,
    reply_id: int,
    status: Status,
    text: str,
    *,
    finish_reason: str | None = None,
    error: dict[str, Any] | None = None,
    usage: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    trace_id: str | None = None,
) -> bool:
    """End a reply that streams; False if it has ended already, or is gone."""
    ended = session.connection().execute(
        _FINISH,
        {
            "message_id": reply_id,
            "text": text,
            "outcome": status,
            "moment": now(),
            "reason": finish_reason,
            "problem": error,
            "counted": usage,
            "included": context,
            "trace": trace_id,
        },
    )
    return ended.rowcount == 1


def _count_up(
    session: Session, conversation_id: int, added: int, title: str | None
) -> tuple[int, int | None, int | None]:
    row = (
        session.connection()
        .execute(
            _COUNT_UP,
            {
                "conversation_id": conversation_id,
                "added": added,
                "moment": now(),
                "title_if_none": title,
            },
        )
        .one_or_none()
    )
    if row is None:
        raise NotFoundError(f"there is no conversation {conversation_id}")
    return row.message_count, row.active_leaf_id, row.llm_config_id


def _check_running(session: Session, conversation_id: int) -> None:
    running = (
        session.connection()
        .execute(_RUNNING, {"conversation_id": conversation_id})
        .scalar_one_or_none()
    )
    if running is not None:
        raise ConflictError(
            f"reply {running} is still running in conversation {conversation_id}: wait for its "
            "end, or stop it first"
        )


def _begin_reply(
    session: Session,
    conversation_id: int,
    seq: int,
    message_id: int,
    config: ReplyConfig,
    owner: str,
    once: Once | None = None,
) -> Begun:
    connection = session.connection()
    row = _row(conversation_id, seq, message_id, Role.ASSISTANT, "", now(), owner=owner, once=once)
    row |= {"status": Status.STREAMING, "config": config.as_json()}
    reply_id: int = connection.execute(_INSERT, row).scalar_one()
    connection.execute(_SET_LEAF, {"conversation_id": conversation_id, "leaf": reply_id})
    history = messages.said(session, message_id)
    return Begun(conversation_id, message_id, reply_id, config, history)


def _config(session: Session, config_id: int | None, default: ReplyConfig) -> ReplyConfig:
    row = None if config_id is None else session.get(LLMConfig, config_id)
    return default if row is None else ReplyConfig.of(row)


def _row(
    conversation_id: int,
    seq: int,
    parent_id: int | None,
    role: Role,
    content: str,
    moment: object,
    *,
    once: Once | None = None,
    owner: str | None = None,
) -> dict[str, Any]:
    return {
        "conversation_id": conversation_id,
        "seq": seq,
        "parent_id": parent_id,
        "role": role,
        "content": content,
        "status": Status.COMPLETE,
        "created_at": moment,
        "idempotency_key": once.key if once else None,
        "request_hash": once.request_hash if once else None,
        "owner": owner,
        "config": None,
    }
