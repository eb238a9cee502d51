"""Parts share no code, so some files are copies of each other: these stay the same."""

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COPIES = {
    "command.py": ["part1", "part2", "part3", "part6"],
    "create_bucket.py": ["part3", "part6"],
    "settings.py": ["part1", "part2"],
    "database.py": ["part2", "part3", "part6"],
    "file_hashes.py": ["part3", "part6"],
    "iris.py": ["part2", "part3", "part6"],
    "limits.py": ["part5", "part6", "part7-llm-serving/serve/core"],
    "newest_rows.py": ["part3", "part6"],
    "problems.py": ["part5", "part6", "part7-llm-serving/serve/core"],
    "registry.py": ["part3", "part6"],
    "repeat.py": ["part2", "part3", "part6"],
    "schema.py": ["part2", "part3", "part6"],
    "seed_database.py": ["part2", "part3", "part6"],
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copied_file_differs_in_the_name_of_its_part_only(name: str) -> None:
    first, *others = COPIES[name]
    original = (ROOT / first / name).read_text(encoding="utf-8")
    for part in others:
        copy = (ROOT / part / name).read_text(encoding="utf-8")
        # What is imported: a part, or a package in a part whose name has a hyphen.
        package = part.partition("-llm-serving/")[2].replace("/", ".") or part
        assert copy == original.replace(first, package), f"{part}/{name} is not {first}/{name}"
