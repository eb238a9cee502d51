"""What one reply is made with."""

from dataclasses import asdict, dataclass
from typing import Any

from serve.models.llm_config import LLMConfig


@dataclass(frozen=True)
class ReplyConfig:
    """The configuration as it was at that moment, kept with the reply."""

    model_name: str
    system_prompt: str = ""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    llm_config_id: int | None = None
    name: str | None = None

    @classmethod
    def of(cls, row: LLMConfig) -> "ReplyConfig":
        """A copy of what the row says now."""
        return cls(
            model_name=row.model_name,
            system_prompt=row.system_prompt,
            temperature=row.temperature,
            top_p=row.top_p,
            max_tokens=row.max_tokens,
            stop=row.stop,
            llm_config_id=row.id,
            name=row.name,
        )

    def as_json(self) -> dict[str, Any]:
        """For the column."""
        return asdict(self)
