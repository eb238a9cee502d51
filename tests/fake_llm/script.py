"""What the fake model server does with a request."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Script(BaseModel):
    """One behaviour; what is left out is that of a healthy server. Tokens are words here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first_token: float = Field(default=0.0, ge=0, description="Seconds before the first token.")
    rate: float = Field(default=0.0, ge=0, description="Tokens per second; 0 is all at once.")
    tokens: int = Field(default=16, ge=0, description="Tokens of an answer, max_tokens permitting.")
    status: int = Field(default=200, ge=200, le=599, description="Refuse with this HTTP status.")
    retry_after: Annotated[int, Field(ge=0)] | str | None = Field(
        default=None, description="Seconds, or a date; sent with a refusal."
    )
    refusals: int | None = Field(
        default=None, ge=0, description="Refuse so many requests and serve the next; else all."
    )
    cut_after: int | None = Field(
        default=None, ge=0, description="Close the connection after so many tokens."
    )
    malformed_after: int | None = Field(
        default=None, ge=0, description="After so many tokens send a chunk that is no JSON."
    )
    hang_after: int | None = Field(
        default=None, ge=0, description="After so many tokens send nothing more, and stay."
    )
    gates: dict[int, str] = Field(
        default={}, description="After so many tokens wait for PUT /gates/NAME; 0: say nothing yet."
    )
    usage: bool = Field(default=True, description="Report how many tokens it were.")
    tokenizer: bool = Field(default=True, description="Have the endpoint /tokenize.")
