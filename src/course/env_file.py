"""The block of `.env` that belongs to `course`: the ports of services that could not have theirs.

Everything outside the block is the learner's and is never touched.
"""

import io
from collections.abc import Mapping
from pathlib import Path

from course.files import write_atomically

_FIRST = "# >>> course (written by `course up`, removed by `course down`)"
_LAST = "# <<< course"


def own_lines(path: Path) -> dict[str, str]:
    """The learner's settings in `.env`, without the block of `course`."""
    outside, _ = _split(path)
    if not outside.strip():
        return {}
    from dotenv import dotenv_values  # most learners have no .env

    parsed = dotenv_values(stream=io.StringIO(outside), interpolate=False)
    return {name: value for name, value in parsed.items() if value is not None}


def write_block(path: Path, values: Mapping[str, str]) -> None:
    """Replace the block by one with `values`; without values remove it, and an empty file too."""
    outside, had_block = _split(path)
    if not values:
        if had_block and not outside.strip():
            path.unlink()
        elif had_block:
            write_atomically(path, outside)
        return
    if outside and not outside.endswith("\n"):
        outside += "\n"
    lines = [_FIRST, *(f"{name}={value}" for name, value in values.items()), _LAST]
    write_atomically(path, outside + "\n".join(lines) + "\n")


def _split(path: Path) -> tuple[str, bool]:
    """The text outside the block, and whether there is a block."""
    if not path.exists():
        return "", False
    text = path.read_text(encoding="utf-8")
    before, first, rest = text.partition(_FIRST)
    if not first:
        return text, False
    _, _, after = rest.partition(_LAST)
    return before + after.lstrip("\n"), True
