"""Configurations of the model."""

from datetime import datetime
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from serve.schemas.common import NOT_BLANK, Name, Storable, Text, never_null

ModelName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=NOT_BLANK),
    Storable,
]
SystemPrompt = Annotated[Text, StringConstraints(max_length=50_000)]
Temperature = Annotated[float, Field(strict=True, ge=0, le=2)]
TopP = Annotated[float, Field(strict=True, gt=0, le=1)]
MaxTokens = Annotated[int, Field(ge=1, le=1_000_000)]
Stop = Annotated[
    list[Annotated[Text, StringConstraints(min_length=1, max_length=100)]],
    Field(min_length=1, max_length=4),
]

EXAMPLE: dict[str, JsonValue] = {
    "name": "short-answers",
    "model_name": "course-tutor",
    "system_prompt": "Answer in one paragraph.",
    "temperature": 0.2,
    "max_tokens": 200,
}


class LLMConfigIn(BaseModel):
    """A new configuration; what is left out is left to the model server."""

    model_config = ConfigDict(
        extra="forbid", protected_namespaces=(), json_schema_extra={"examples": [EXAMPLE]}
    )

    name: Name
    model_name: ModelName
    system_prompt: SystemPrompt = ""
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: MaxTokens | None = None
    stop: Stop | None = None


class LLMConfigChange(BaseModel):
    """What is to change; what is left out stays."""

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        json_schema_extra=never_null(
            "name", "model_name", "system_prompt", example={"temperature": 0.7}
        ),
    )

    name: Name | None = None
    model_name: ModelName | None = None
    system_prompt: SystemPrompt | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: MaxTokens | None = None
    stop: Stop | None = None

    @model_validator(mode="after")
    def _names_stay_names(self) -> "LLMConfigChange":
        for field in ("name", "model_name", "system_prompt"):
            if field in self.model_fields_set and getattr(self, field) is None:
                raise ValueError(f"{field} cannot be null: leave it out to keep it")
        return self


class LLMConfigOut(BaseModel):
    """A configuration."""

    model_config = ConfigDict(from_attributes=True, protected_namespaces=())

    id: int
    name: str
    model_name: str
    system_prompt: str
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    stop: list[str] | None
    created_at: datetime
    updated_at: datetime


class LLMConfigPage(BaseModel):
    """Some configurations, and where the next ones are."""

    llm_configs: list[LLMConfigOut]
    next: str | None
