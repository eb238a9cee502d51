"""What a request may say about a user, and what an answer says."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# Something to see, and no control characters: PostgreSQL cannot store NUL, and a terminal obeys
# the others. Blanks around it are cut off.
Text = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=50,
        pattern=r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$",
    ),
]
UserId = Annotated[int, Field(ge=1, le=2**63 - 1, description="The user's number.", examples=[1])]


class UserIn(BaseModel):
    """A user as a client sends it; a field that we do not know is a mistake, not a wish."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "ada", "nickname": "countess"}]},
    )

    name: Text
    nickname: Text


class UserOut(BaseModel):
    """A user as the API answers it."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={"examples": [{"id": 1, "name": "ada", "nickname": "countess"}]},
    )

    id: int
    name: str
    nickname: str


class Page(BaseModel):
    """Some users in the order of their numbers, and where the next ones begin."""

    users: list[UserOut]
    next: str | None = Field(
        description="Path of the next page; null on the last.",
        examples=["/users?after=20&limit=20"],
    )
