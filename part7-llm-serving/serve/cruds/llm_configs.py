"""Configurations of the model."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from serve.core.errors import ConflictError, NotFoundError
from serve.models import LLMConfig
from serve.models.base import now


def add(session: Session, values: dict[str, Any]) -> LLMConfig:
    """Add a configuration.

    Raises:
        ConflictError: the name is taken.
    """
    made = LLMConfig(**values)
    session.add(made)
    _flush(session, made.name)
    return made


def get(session: Session, config_id: int) -> LLMConfig:
    """One configuration.

    Raises:
        NotFoundError: there is none.
    """
    found = session.get(LLMConfig, config_id)
    if found is None:
        raise NotFoundError(f"there is no llm config {config_id}")
    return found


def page(session: Session, after: int, limit: int) -> Sequence[LLMConfig]:
    """Up to `limit` configurations with ids above `after`, in order."""
    query = select(LLMConfig).where(LLMConfig.id > after).order_by(LLMConfig.id).limit(limit)
    return session.scalars(query).all()


def change(session: Session, config_id: int, values: dict[str, Any]) -> LLMConfig:
    """Change what `values` names; replies that exist keep the configuration they were made with.

    Raises:
        NotFoundError: there is none.
        ConflictError: the new name is taken.
    """
    found = get(session, config_id)
    for name, value in values.items():
        setattr(found, name, value)
    found.updated_at = now()
    _flush(session, found.name)
    return found


def remove(session: Session, config_id: int) -> None:
    """Remove a configuration; conversations that used it go on with the default.

    Raises:
        NotFoundError: there is none.
    """
    gone = session.execute(delete(LLMConfig).where(LLMConfig.id == config_id))
    if gone.rowcount == 0:  # type: ignore[attr-defined]
        raise NotFoundError(f"there is no llm config {config_id}")


def _flush(session: Session, name: str) -> None:
    try:
        session.flush()
    except IntegrityError as exc:  # the table decides, so two requests cannot both win
        raise ConflictError(f"the name {name!r} is taken") from exc
