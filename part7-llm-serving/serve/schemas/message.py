"""Messages and turns."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints

from serve.models import Role, Status
from serve.schemas.common import Content, Flag, Text


class MessageIn(BaseModel):
    """What a user says."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"content": "What is a champion?", "stream": True}]},
    )

    content: Content
    stream: Flag = False
    on_disconnect: Literal["continue", "cancel"] | None = None


class RegenerateIn(BaseModel):
    """How another reply is to come."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"stream": True}]})

    stream: Flag = False
    on_disconnect: Literal["continue", "cancel"] | None = None


class FeedbackIn(BaseModel):
    """What somebody thinks of a reply; null takes it back."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"thumb": "up", "comment": "to the point"}]}
    )

    thumb: Literal["up", "down"] | None
    comment: Annotated[Text, StringConstraints(max_length=2_000)] | None = None


class MessageOut(BaseModel):
    """A message; what only replies have is null in the others."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    conversation_id: int
    seq: int
    parent_id: int | None
    role: Role
    content: str
    status: Status
    created_at: datetime
    finished_at: datetime | None
    finish_reason: str | None
    error: dict[str, Any] | None
    usage: dict[str, Any] | None
    config: dict[str, Any] | None
    context: dict[str, Any] | None
    trace_id: str | None
    thumb: Literal["up", "down"] | None
    comment: str | None


class TurnOut(BaseModel):
    """A user's message and its reply."""

    message: MessageOut
    reply: MessageOut
