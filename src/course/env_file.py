"""The block of `.env` that belongs to `course`: where the scripts find servers that had to move.

Everything outside the block is the learner's and is kept; only a newline at its end may be added.
"""

import io
from collections.abc import Mapping
from pathlib import Path

from course.files import write_atomically

_FIRST = "# >>> course (written by `course up`, removed by `course down`)"
_LAST = "# <<< course"
# What a block can hold: where its end is missing, nothing else is taken for a part of it.
BLOCK_VARIABLES = frozenset(
    {
        *("POSTGRES_PORT", "S3_PORT", "S3_ENDPOINT_URL", "MLFLOW_PORT", "MLFLOW_TRACKING_URI"),
        *("TUTOR_PORT", "LLM_BASE_URL", "CHAT_PORT", "CHAT_API_URL"),
    }
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
        if had_block and not outside.strip() and not path.is_symlink():
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

    Bytes that are not UTF-8 (a comment in an older Korean encoding) come through unchanged. So do
    lines that somebody has put into the block, and whatever follows a block that lost its end.
    """
    if not path.exists():
        return "", False
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        lines = file.read().splitlines(keepends=True)
    outside: list[str] = []
    inside = ends = False
    for number, line in enumerate(lines):
        mark = line.strip()
        if mark in {_FIRST, _LAST}:
            inside = mark == _FIRST
            ends = _next_mark(lines[number + 1 :]) == _LAST
        elif inside and line.partition("=")[0] in BLOCK_VARIABLES:
            continue
        else:
            inside = inside and ends
            outside.append(line)
    return "".join(outside), any(line.strip() == _FIRST for line in lines)


def _next_mark(lines: list[str]) -> str | None:
    return next((mark for line in lines if (mark := line.strip()) in {_FIRST, _LAST}), None)
