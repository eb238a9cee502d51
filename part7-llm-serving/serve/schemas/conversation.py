"""Conversations."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from serve.schemas.common import NOT_BLANK, Id, Storable, Title, never_null
from serve.schemas.message import MessageOut

SessionId = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=NOT_BLANK),
    Storable,
]


class ConversationIn(BaseModel):
    """A new conversation; without a title it gets one of its first message."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"title": "Pipelines"}, {}]}
    )

    title: Title | None = None
    session_id: SessionId | None = None
    llm_config_id: Id | None = None


class ConversationChange(BaseModel):
    """What is to change; what is left out stays. `llm_config_id` null: the server's default."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra=never_null(
            "title", "active_leaf_id", example={"title": "Data pipelines"}
        ),
    )

    title: Title | None = None
    llm_config_id: Id | None = None
    active_leaf_id: Id | None = None

    @model_validator(mode="after")
    def _title_and_leaf_are_not_null(self) -> "ConversationChange":
        for field in ("title", "active_leaf_id"):
            if field in self.model_fields_set and getattr(self, field) is None:
                raise ValueError(f"{field} cannot be null: leave it out to keep it")
        return self


class ConversationOut(BaseModel):
    """A conversation without its messages."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    title: str | None
    session_id: str | None
    llm_config_id: int | None
    message_count: int
    active_leaf_id: int | None
    created_at: datetime
    updated_at: datetime


class ConversationWithMessages(ConversationOut):
    """A conversation and the messages from its first one to the active leaf, or all of them."""

    messages: list[MessageOut]


class ConversationPage(BaseModel):
    """Some conversations, the last used first, and where the next ones are."""

    conversations: list[ConversationOut]
    next: str | None
