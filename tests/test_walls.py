"""A part stands alone: it imports nothing from another part, from src/ or from archive/."""

from pathlib import Path

import pytest

from tests.imports import imports_of, python_files

ROOT = Path(__file__).resolve().parents[1]
PARTS = sorted(folder for folder in ROOT.glob("part*") if folder.is_dir())
PART_NAMES = {part.name for part in PARTS}
OURS = PART_NAMES | {package.name for package in (ROOT / "src").iterdir() if package.is_dir()}


def violations(folder: Path, forbidden: set[str]) -> list[str]:
    """Imports under `folder` that name something forbidden, or climb out of it with dots."""
    found = []
    for file in python_files(folder):
        depth = len(file.relative_to(folder).parts)
        for line, name in imports_of(file):
            dots = len(name) - len(name.lstrip("."))
            if name.split(".")[0] in forbidden or dots > depth:
                found.append(f"{file.relative_to(folder.parent)}:{line} imports {name}")
    return found


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_no_part_imports_another_part_or_src(part: Path) -> None:
    forbidden = (OURS - {part.name}) | {"src", "tests", "bench", "archive"}

    assert violations(part, forbidden) == []


def test_src_imports_no_part() -> None:
    """`course` drives parts from outside, by the commands that the lessons print."""
    assert violations(ROOT / "src", PART_NAMES | {"tests", "bench", "archive"}) == []


def test_there_is_something_to_check() -> None:
    assert {"part1", "part2", "part3"} <= PART_NAMES
    assert "course" in OURS
    assert all(python_files(part) for part in PARTS if part.name in {"part1", "part2", "part3"})


@pytest.mark.parametrize(
    "planted",
    [
        "import part2",
        "import os, part2.settings",
        "from part2.settings import Settings",
        "from part2 import settings as mine",
        "def late():\n    from part2 import settings",
        "if True:\n    import part2 as p",
        "import importlib\nimportlib.import_module('part2.settings')",
        "__import__('part2')",
        "from src.course import cli",
        "from course.config import Config",
        "from ..part2 import settings",
        "from .. import part2",
    ],
)
def test_the_walker_finds_a_planted_violation(tmp_path: Path, planted: str) -> None:
    part = tmp_path / "part1"
    part.mkdir()
    (part / "innocent.py").write_text("import os\nfrom part1.settings import Settings\n")
    assert violations(part, {"part2", "course", "src"}) == []

    (part / "guilty.py").write_text(planted + "\n")

    assert len(violations(part, {"part2", "course", "src"})) >= 1
    assert "guilty.py" in violations(part, {"part2", "course", "src"})[0]
