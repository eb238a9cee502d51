"""Nobody imports archive/, archive/ imports none of ours, and every file says what is wrong."""

import re
from pathlib import Path

import pytest

from tests.imports import imports_of, python_files

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = ROOT / "archive"
PARTS = sorted(part for part in ARCHIVE.iterdir() if part.is_dir() and part.name != "__pycache__")
FILES = [
    file
    for part in PARTS
    for file in sorted(part.iterdir())
    if file.suffix in {".py", ".yaml"} or file.name == "Dockerfile"  # not what the scripts leave
]
OURS = {"archive", "bench", "course", "src", "tests"}


def is_ours(name: str) -> bool:
    top = name.split(".", maxsplit=1)[0]
    return top in OURS or re.fullmatch(r"part\d\w*", top) is not None


def test_nobody_imports_the_archive() -> None:
    outside = [ROOT / "src", ROOT / "tests", ROOT / "bench", *ROOT.glob("part*/")]
    importers = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in python_files(*outside)
        for line, name in imports_of(file)
        # tests.archive is another folder, and no import of this one
        if name.split(".")[0] == "archive"
    ]

    assert importers == []


def test_the_archive_imports_nothing_of_ours() -> None:
    imported = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in python_files(ARCHIVE)
        for line, name in imports_of(file)
        if name.startswith(".") or is_ours(name)
    ]

    assert imported == []
    assert len(python_files(ARCHIVE)) >= 12


def test_these_checks_know_ours_when_they_see_it() -> None:
    assert all(is_ours(name) for name in ("part1", "part2.settings", "course.cli", "archive.part1"))
    assert not any(is_ours(name) for name in ("os", "pandas", "sklearn.svm", "party"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_file_opens_with_what_is_wrong_with_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    opening = text.split('"""')[1] if file.suffix == ".py" else text.split("\n\n")[0]
    opening = opening.replace("#", "")

    numbers = [int(n) for n in re.findall(r"^ *(\d+)\. ", opening, re.MULTILINE)]

    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 3


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_what_a_list_says_is_mended_in_is_there(file: Path) -> None:
    text = file.read_text(encoding="utf-8")

    named = set(re.findall(r"\bpart\d/[\w.]*\w", text))

    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("readme", ["README.md", "README.ko.md"])
def test_the_readme_lists_every_old_file_with_the_new_one(readme: str) -> None:
    text = (ARCHIVE / readme).read_text(encoding="utf-8")

    rows = dict(re.findall(r"^\| `([\w./-]+)` \| `([\w./-]+)` \| .", text, re.MULTILINE))

    listed = {str(file.relative_to(ARCHIVE).as_posix()) for file in FILES}
    assert set(rows) == {name for name in listed if not name.endswith("Dockerfile")}
    for new in rows.values():
        path = new if new.endswith(".yaml") else f"{new.replace('.', '/')}.py"
        assert (ROOT / path).is_file(), new
