"""Read a lesson: its headings, its code blocks, and what it says they print.

A block's fence says how it is run:

    ```bash             run by bash from the repository root; must succeed
    ```bash exit=1      must end with this exit status
    ```bash docker      run only where a Docker engine answers
    ```python           run by Python from the repository root
    ```text             the next block after one of these: what it printed
"""

import re
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\S*)[ ]?(.*)$")

# What differs from run to run is compared by its form, not by its value.
VOLATILE = re.compile(
    r"""
      \d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(\+\d\d(:?\d\d)?)?    # a timestamp
    | \d\d:\d\d:\d\d                                                # a clock
    | \b[0-9a-f]{64}\b | \b[0-9a-f]{32}\b | \b[0-9a-f]{12}\b        # a hash, a run id
    | (?<=localhost:)\d+ | (?<=127\.0\.0\.1:)\d+                     # a port
    | (?<=pid\ )\d+ | (?<=backend\ )\d+                              # a process id
    | \d[\d,]*(\.\d+)?(?=\ ?(rows/s|ms\b|s\b|MB\b|GB\b|x\b))         # a speed, a time, a size
    """,
    re.VERBOSE,
)


@dataclass(frozen=True)
class Block:
    """One fenced block: language, the words after it, text, and its first line's number."""

    language: str
    options: tuple[str, ...]
    text: str
    line: int
    expected: str | None = None

    @property
    def exit_status(self) -> int:
        """The exit status that the lesson announces."""
        return next((int(o.removeprefix("exit=")) for o in self.options if "exit=" in o), 0)

    @property
    def needs_docker(self) -> bool:
        """Whether the block is for a machine with a Docker engine."""
        return "docker" in self.options


def headings(path: Path) -> list[tuple[int, str]]:
    """Level and text of every heading, in order."""
    outside = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [(len(m[1]), m[2]) for m in re.finditer(r"^(#+) (.+)$", outside, re.MULTILINE)]


def blocks(path: Path) -> list[Block]:
    """Every fenced block, in order."""
    found: list[Block] = []
    opened: tuple[str, str, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fence = FENCE.match(line)
        if fence and opened is None:
            opened, lines = (fence[1], fence[2], number), []
        elif fence and opened is not None and not fence[1]:
            language, options, start = opened
            found.append(Block(language, tuple(options.split()), "\n".join(lines), start))
            opened = None
        else:
            lines.append(line)
    assert opened is None, f"{path}:{opened and opened[2]}: this block is never closed"
    return found


def runnable(path: Path) -> list[Block]:
    """The blocks that a learner runs, each with the text block that comes next."""
    every = blocks(path)
    result = []
    for block, following in zip(every, [*every[1:], None], strict=True):
        if block.language not in {"bash", "python"}:
            continue
        expected = following.text if following and following.language == "text" else None
        result.append(Block(block.language, block.options, block.text, block.line, expected))
    return result


def agrees(expected: str, printed: str) -> bool:
    """Whether `printed` holds the lines that a lesson shows, in their order.

    A line `...` stands for any lines, `...` within a line for any text; what VOLATILE names is
    compared by form; runs of white space are one space.
    """
    pattern = ""
    for line in _normal(expected.strip()).splitlines():
        if line == "...":
            pattern += r"(?:[^\n]*\n)*?"
        elif line:
            inside = re.escape(line).replace(re.escape("..."), r"[^\n]*?")
            pattern += rf"[^\n]*?{inside}[^\n]*\n(?:\n)*"
    return re.search(pattern, _normal(printed) + "\n") is not None


def _normal(text: str) -> str:
    """The text with one space between words, one dash for a rule, and forms for values."""
    lines = (" ".join(line.split()) for line in VOLATILE.sub("#", text).splitlines())
    return "\n".join(re.sub(r"[─━]{2,}", "─", line) for line in lines)
