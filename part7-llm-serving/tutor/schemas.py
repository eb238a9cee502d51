"""What a client may send. Parameters of a real model, such as `temperature`, are ignored."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StrictBool, model_validator

from tutor.answer import Message

MODEL = "course-tutor"
TokenLimit = Annotated[int, Field(strict=True, ge=1)]


def _unicode(text: str) -> str:
    """Refuse half a character, which JSON can hold as an escape and no answer could give back."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text holds half a surrogate pair, which is no character") from None
    return text


Text = Annotated[str, AfterValidator(_unicode)]
NonEmpty = Annotated[Text, Field(min_length=1)]


def _joined(content: Any) -> Any:
    """The text of a message, which may come as a list of parts."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text":
            raise ValueError("a part must be of type text: this server reads nothing else")
        if not isinstance(part.get("text"), str):
            raise ValueError("a part of type text must have its text as a string")
        texts.append(part["text"])
    return "\n".join(texts)


def _listed(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


def _one(n: Any) -> Any:
    if n is not None and (n != 1 or isinstance(n, bool)):
        raise ValueError("this server gives one answer, so n must be 1")
    return n


class ChatMessage(BaseModel):
    """One message."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[Text, BeforeValidator(_joined)]


class StreamOptions(BaseModel):
    """What a stream holds besides the answer."""

    include_usage: StrictBool | None = False


class ChatRequest(BaseModel):
    """A request for an answer, as OpenAI's API has it."""

    model: NonEmpty
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: StrictBool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None  # the newer name wins
    stop: Annotated[
        list[NonEmpty] | None,
        Field(max_length=4),
        BeforeValidator(_listed),
    ] = None
    n: Annotated[int | None, BeforeValidator(_one)] = 1

    @model_validator(mode="after")
    def _is_a_question(self) -> Self:
        if not any(message.role == "user" for message in self.messages):
            raise ValueError("messages must hold one with the role user: it is the question")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is only allowed together with stream: true")
        return self

    @property
    def conversation(self) -> list[Message]:
        """The messages, as the tutor takes them."""
        return [Message(message.role, message.content) for message in self.messages]

    @property
    def token_limit(self) -> int | None:
        """The most tokens that the answer may have."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with what it took."""
        return bool(self.stream_options and self.stream_options.include_usage)


class TokenizeRequest(BaseModel):
    """A text to be counted: `content` as llama.cpp calls it, or `prompt` as vLLM does."""

    content: Text | None = None
    prompt: Text | None = None

    @model_validator(mode="after")
    def _has_one_text(self) -> Self:
        if (self.content is None) == (self.prompt is None):
            raise ValueError("give the text as content or as prompt")
        return self

    @property
    def text(self) -> str:
        """What is to be counted."""
        return self.content if self.content is not None else self.prompt or ""
