"""Types that several schemas share."""

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field, JsonValue, StringConstraints

LARGEST_ID = 2**53 - 1  # what a browser, and an OpenAPI document, can tell from the next number
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


def never_null(*fields: str, example: JsonValue) -> Callable[[dict[str, JsonValue]], None]:
    """Say in a JSON schema that `fields` may be left out, but not be null."""

    def change(schema: dict[str, JsonValue]) -> None:
        properties = schema["properties"]
        assert isinstance(properties, dict)
        for name in fields:
            field = properties[name]
            assert isinstance(field, dict)
            forms = field.pop("anyOf")
            assert isinstance(forms, list)
            [form] = [each for each in forms if each != {"type": "null"}]
            assert isinstance(form, dict)
            field |= form
        schema["examples"] = [example]

    return change


Storable = AfterValidator(_storable)
Flag = Annotated[bool, Field(strict=True)]  # 0 and "no" are no booleans in JSON
NOT_BLANK = r"\S"
Text = Annotated[str, Storable]
# The constraints come first: after the validator, they would count the blanks that are stripped.
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=NOT_BLANK),
    Storable,
]
Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=NOT_BLANK),
    Storable,
]
# The blanks around it stay: in code and in verse they mean something.
Content = Annotated[Text, StringConstraints(min_length=1, max_length=200_000, pattern=NOT_BLANK)]
