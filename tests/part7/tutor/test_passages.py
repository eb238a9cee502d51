"""How a lesson is split."""

from pathlib import Path

import pytest
from tutor.answer import Tutor
from tutor.passages import NoLessonsError, Passage, read_lessons, split

LESSON = """# Part 9: Widgets

[한국어](README.ko.md)

[![build](badge.svg)](https://example.org)

## Turn one

Read [the other lesson](../part1/README.md) first,
or [the manual](https://example.org/manual). Then turn:

```bash exit=1
# not a heading
turn left
```

```text
| turned |
```

Three things happened:

- it turned
- it
  stopped
- it turned back

<!-- a note
to ourselves -->

### Names

| name | default | meaning |
|---|:--:|---|
| `WIDGET` | `a \\| b` | which one |
| `SPEED` | - | |
"""


def texts(markdown: str) -> list[tuple[str, str]]:
    return [(each.heading, "\n".join(each.blocks)) for each in split(markdown, "a.md", "en")]


def test_code_stays_with_the_sentence_before_it_and_rows_and_items_are_read() -> None:
    assert texts(LESSON) == [
        (
            "Turn one",
            "Read the other lesson first, or [the manual](https://example.org/manual). Then turn:\n"
            "```bash\n# not a heading\nturn left\n```\n```text\n| turned |\n```",
        ),
        ("Turn one", "Three things happened:\n- it turned\n- it stopped\n- it turned back"),
        ("Names", "`WIDGET` \N{EN DASH} default: `a | b`; meaning: which one"),
        ("Names", "`SPEED`"),
    ]


def test_the_items_of_a_long_list_are_passages_of_their_own() -> None:
    items = [f"- {letter * 400}" for letter in "abc"]

    assert [text for _, text in texts("## H\n\nList:\n\n" + "\n".join(items))] == ["List:", *items]


def test_a_passage_knows_its_lesson() -> None:
    passage = split("# Title\n\n## Heading\n\nText.\n", "part1/README.md", "en")[0]

    assert passage == Passage("part1/README.md", "Title", "Heading", ("Text.",), "en")


def test_only_the_readme_files_of_the_course_and_its_parts_are_read(tmp_path: Path) -> None:
    for name in (
        "README.md",
        "README.ko.md",
        "part1/README.md",
        "part7-llm/README.ko.md",
        "part1/NOTES.md",
        "part1/deep/README.md",
        "archive/README.md",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"# T\n\nText of {name}.\n", encoding="utf-8")

    found = {passage.source: passage.language for passage in read_lessons(tmp_path)}

    assert found == {
        "README.md": "en",
        "README.ko.md": "ko",
        "part1/README.md": "en",
        "part7-llm/README.ko.md": "ko",
    }


@pytest.mark.parametrize("content", [None, "", "# Only a title\n"])
def test_a_folder_without_a_paragraph_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "README.md").write_text(content, encoding="utf-8")

    with pytest.raises(NoLessonsError):
        read_lessons(tmp_path)


def test_the_real_lessons_hold_neither_tables_nor_links_between_files(tutor: Tutor) -> None:
    prose = [
        block
        for passage in tutor.passages
        for block in passage.blocks
        if not block.startswith("```")
    ]

    assert len(prose) > 500
    assert [block for block in prose if block.startswith("|") or "](../" in block] == []
    assert [block for block in prose if "](README" in block or "![" in block] == []
