"""The block of `.env` that belongs to `course`: where the scripts find servers that had to move.

Everything outside the block is the learner's and is kept byte for byte.
"""

import io
import re
from collections.abc import Mapping
from pathlib import Path

from course.files import write_atomically

_FIRST = "# >>> course (written by `course up`, removed by `course down`)"
_LAST = "# <<< course"
# What a block can hold: where its end is missing, nothing else is taken for a part of it.
BLOCK_VARIABLES = frozenset(
    {"POSTGRES_PORT", "S3_PORT", "S3_ENDPOINT_URL", "MLFLOW_PORT", "MLFLOW_TRACKING_URI"}
)


def own_lines(path: Path) -> dict[str, str]:
    """The learner's settings in `.env`, without the block of `course`."""
    outside, _ = _split(path)
    if not outside.strip():
        return {}
    from dotenv import dotenv_values  # most learners have no .env

    parsed = dotenv_values(stream=io.StringIO(outside), interpolate=False)
    return {name: value for name, value in parsed.items() if value is not None}


def is_utf8(path: Path) -> bool:
    """Whether the parts' scripts can read the file."""
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    except FileNotFoundError:
        pass
    return True


def write_block(path: Path, values: Mapping[str, str]) -> None:
    """Replace the block by one with `values`; without values remove it, and an empty file too."""
    outside, had_block = _split(path)
    if not values:
        if had_block and not outside.strip():
            path.unlink()
        elif had_block:
            write_atomically(path, outside)
        return
    end = "\r\n" if "\r\n" in outside else "\n"
    if outside and not outside.endswith("\n"):
        outside += end
    lines = [_FIRST, *(f"{name}={value}" for name, value in values.items()), _LAST]
    write_atomically(path, outside + "".join(line + end for line in lines))


def _split(path: Path) -> tuple[str, bool]:
    """The text outside the block, and whether there is a block.

    Bytes that are not UTF-8 (a comment in an older Korean encoding) come through unchanged.
    """
    if not path.exists():
        return "", False
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        text = file.read()
    before, first, rest = text.partition(_FIRST)
    if not first:
        return text, False
    inside, last, after = rest.partition(_LAST)
    if not last:
        ours = "|".join(sorted(BLOCK_VARIABLES))
        block = re.match(rf"\s*(?:(?:{ours})=.*\s*)*", inside)
        after = inside[block.end() :] if block else inside
    return before + after.lstrip("\r\n"), True
