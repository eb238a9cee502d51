"""Text to pieces and back: what the tutor counts, and what it streams one by one.

No model's tokenizer, but of the same kind: a word with the blank before it, up to three Hangul
syllables, punctuation. The pieces put together are the text again, to the character.
"""

import re
from zlib import crc32

MAX_MODEL_LEN = 8192  # tokens of a prompt and its answer, as a real server would have a limit

PIECE = re.compile(
    r" ?[\uac00-\ud7a3]{1,3}"
    r"| ?[^\W\d_\uac00-\ud7a3]{1,16}"  # bounded, or a megabyte of one letter would be one token
    r"| ?\d{1,3}"
    r"| ?[^\w\s]{1,3}"
    r"|\n{1,4}"
    r"|[^\S\n]{1,16}(?=\S)|[^\S\n]{1,16}"
    r"|.",
    re.DOTALL,
)


def pieces_of(text: str) -> list[str]:
    """The tokens of a text; `"".join` of them is the text."""
    return PIECE.findall(text)


def count(text: str) -> int:
    """How many tokens a text has."""
    return sum(1 for _ in PIECE.finditer(text))


def token_id(piece: str) -> int:
    """A number for a token, the same one in every process; two tokens may share it."""
    return crc32(piece.encode())
