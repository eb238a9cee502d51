"""OpenAI's protocol, as far as this server speaks it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from serve.models import ReplyConfig
from serve.schemas.common import Flag, Text
from serve.schemas.llm_config import MaxTokens, ModelName, Stop, Temperature, TopP

Part = Annotated[Text, StringConstraints(max_length=200_000)]


class TextPart(BaseModel):
    """A piece of a message."""

    type: Literal["text"]
    text: Part


class CompletionMessage(BaseModel):
    """One message of the prompt."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Part | list[TextPart]

    @property
    def text(self) -> str:
        """The content, whichever form it has."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """What a stream reports."""

    include_usage: Flag = False


class CompletionIn(BaseModel):
    """A request. Parameters that are not listed are ignored; what cannot be ignored is refused."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {
                    "model": "course-tutor",
                    "messages": [{"role": "user", "content": "What is drift?"}],
                }
            ]
        },
    )

    model: ModelName
    messages: Annotated[list[CompletionMessage], Field(min_length=1, max_length=1_000)]
    stream: Flag = False
    stream_options: StreamOptions | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    stop: Annotated[Text, StringConstraints(min_length=1, max_length=100)] | Stop | None = None
    n: Literal[1] | None = None
    tools: Annotated[list[Any], Field(max_length=0)] | None = None
    store: Flag = False

    def config(self) -> ReplyConfig:
        """How the reply is to be made."""
        return ReplyConfig(
            model_name=self.model,
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=[self.stop] if isinstance(self.stop, str) else self.stop,
        )


class Usage(BaseModel):
    """Tokens."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class AnswerMessage(BaseModel):
    """What the model says."""

    role: Literal["assistant"] = "assistant"
    content: str


class Choice(BaseModel):
    """The one answer."""

    index: Literal[0] = 0
    message: AnswerMessage
    finish_reason: str | None


class CompletionOut(BaseModel):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | None


class Model(BaseModel):
    """A model that can be asked for."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = ""


class ModelList(BaseModel):
    """All of them."""

    object: Literal["list"] = "list"
    data: list[Model]
