"""The lessons, split into passages: a paragraph with its code, a list item, a row of a table."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

Language = Literal["en", "ko"]
FILES: dict[Language, str] = {"en": "README.md", "ko": "README.ko.md"}

IMAGE = re.compile(r"\[?!\[[^\]]*\]\([^)]*\)(?:\]\([^)]*\))?")
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:)[^)]*\)")  # to another file: no use in a chat
LINK_ALONE = re.compile(r"\[[^\]]*\]\([^)]*\)")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
LIST_ITEM = re.compile(r"(?:[-*]|\d+\.) ")
RULER = re.compile(r"\|[\s:|-]+\|?")  # the line below a table's head
CELL_BORDER = re.compile(r"(?<!\\)\|")
WHOLE_LIST = 700  # characters up to which a list stays with the sentence before it


class NoLessonsError(Exception):
    """The folder holds no lesson."""


@dataclass(frozen=True)
class Passage:
    """A few sentences of a lesson, and where they stand there."""

    source: str  # path of the file below the lessons' folder, with slashes
    title: str  # of the lesson
    heading: str  # of the section
    blocks: tuple[str, ...]  # prose, each paragraph on one line, and fenced code
    language: Language
    is_row: bool = False  # of a table

    @cached_property
    def words(self) -> str:
        """The text without marks, to search in."""
        return re.sub(r"```\w*|[`*]", " ", "\n".join(self.blocks))


@dataclass
class _Block:
    kind: Literal["heading", "prose", "code", "item", "row"]
    text: str


def read_lessons(folder: Path) -> list[Passage]:
    """The passages of `README.md`, `part*/README.md` and their Korean versions below `folder`.

    Raises:
        NoLessonsError: there is no such file, or none of them holds a paragraph.
        OSError: one cannot be read.
        UnicodeDecodeError: one is not in UTF-8.
    """
    found: list[Passage] = []
    for language, name in FILES.items():
        for file in (folder / name, *sorted(folder.glob(f"part*/{name}"))):
            if file.is_file():
                source = file.relative_to(folder).as_posix()
                found += split(file.read_text(encoding="utf-8"), source, language)
    if not found:
        raise NoLessonsError("no README.md and no part*/README.md with a paragraph in it")
    return found


def split(markdown: str, source: str, language: Language) -> list[Passage]:
    """The passages of one lesson, in its order."""
    title = heading = ""
    passages: list[Passage] = []
    together: list[_Block] = []

    def close() -> None:
        if together:
            texts = tuple(block.text for block in together)
            is_row = together[0].kind == "row"
            passages.append(Passage(source, title, heading, texts, language, is_row))
            together.clear()

    for block in _with_short_lists(list(_blocks(COMMENT.sub("", markdown)))):
        if block.kind == "heading":
            close()
            level, _, text = block.text.partition(" ")
            title, heading = (text, text) if level == "#" else (title, text)
        elif block.kind == "code":
            together.append(block)
        else:
            close()
            together.append(block)
    close()
    return passages


def _with_short_lists(blocks: list[_Block]) -> Iterator[_Block]:
    """Put a short list into the paragraph that announces it with a colon."""
    place = 0
    while place < len(blocks):
        block = blocks[place]
        place += 1
        items: list[str] = []
        while place + len(items) < len(blocks) and blocks[place + len(items)].kind == "item":
            items.append(blocks[place + len(items)].text)
        if block.kind == "prose" and 0 < sum(map(len, items)) <= WHOLE_LIST:
            place += len(items)
            block = _Block("prose", "\n".join([block.text, *items]))
        yield block


def _blocks(markdown: str) -> Iterator[_Block]:
    lines = iter(markdown.splitlines())
    prose: list[str] = []
    head: list[str] = []  # of the table we are in

    def paragraph() -> Iterator[_Block]:
        text = LINK.sub(r"\1", IMAGE.sub("", " ".join(prose))).strip()
        if text and not LINK_ALONE.fullmatch(" ".join(prose).strip()):
            yield _Block("item" if LIST_ITEM.match(text) else "prose", text)
        prose.clear()

    for line in lines:
        bare = line.strip()
        if not bare.startswith("|"):
            head = []
        if bare.startswith("```"):
            yield from paragraph()
            yield _Block("code", _fence(bare, lines))
        elif re.match(r"#{1,6} ", line):
            yield from paragraph()
            yield _Block("heading", line.rstrip("# "))
        elif bare.startswith("|"):
            yield from paragraph()
            if not head:
                head = _cells(bare)
            elif not RULER.fullmatch(bare):
                yield _Block("row", _row(head, _cells(bare)))
        elif not bare:
            yield from paragraph()
        else:
            if LIST_ITEM.match(line):
                yield from paragraph()
            prose.append(bare)
    yield from paragraph()


def _fence(opening: str, lines: Iterator[str]) -> str:
    """A code block up to its end, without what our tests read beside its language."""
    language = opening.strip("`").split(" ")[0]
    code = []
    for line in lines:
        if line.strip() == "```":
            break
        code.append(line)
    return "\n".join([f"```{language}", *code, "```"])


def _cells(line: str) -> list[str]:
    plain = LINK.sub(r"\1", IMAGE.sub("", line.strip().strip("|")))
    return [cell.strip().replace("\\|", "|") for cell in CELL_BORDER.split(plain)]


def _row(head: list[str], cells: list[str]) -> str:
    """A row as a line: what it is about, then each column with its name."""
    first, *others = cells
    said = [
        f"{name}: {cell}" if name else cell
        for name, cell in zip(head[1:], others, strict=False)
        if cell not in {"", "-", "\N{EN DASH}"}
    ]
    return f"{first} \N{EN DASH} {'; '.join(said)}" if said else first
