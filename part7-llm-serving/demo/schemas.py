"""What the chat server answers, as far as the page needs it."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """A message of a conversation's tree."""

    id: int
    parent_id: int | None
    role: Literal["user", "assistant", "system"]
    content: str
    status: Literal["streaming", "complete", "stopped", "interrupted", "failed"]
    error: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None
    trace_id: str | None = None
    thumb: Literal["up", "down"] | None = None


class Conversation(BaseModel):
    """A conversation without its messages."""

    id: int
    title: str | None
    llm_config_id: int | None
    active_leaf_id: int | None


class Tree(Conversation):
    """A conversation with every branch."""

    messages: list[Message]


class Config(BaseModel):
    """How the model is asked."""

    model_config = ConfigDict(protected_namespaces=())

    id: int
    name: str
    model_name: str
    system_prompt: str
    temperature: float | None
    max_tokens: int | None


class Health(BaseModel):
    """How the server is, and what is the matter."""

    status: Literal["ok", "degraded"]
    reasons: list[str] = []
    models: list[str] = []


class ConversationPage(BaseModel):
    """Some conversations, the last used first; `next` is the path of the following ones."""

    conversations: list[Conversation]
    next: str | None


class ConfigPage(BaseModel):
    """Some configurations; `next` is the path of the following ones."""

    llm_configs: list[Config]
    next: str | None
