"""Types that several schemas share."""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

LARGEST_ID = 2**63 - 1
Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]


def _storable(text: str) -> str:
    # PostgreSQL cannot store NUL in a text, and half a surrogate pair is no character.
    if "\0" in text:
        raise ValueError("must not hold the character NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    return text


Storable = AfterValidator(_storable)
Text = Annotated[str, Storable]
# The constraints come first: after the validator, they would count the blanks that are stripped.
Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), Storable
]
Title = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), Storable
]
Content = Annotated[Text, StringConstraints(min_length=1, max_length=200_000)]
