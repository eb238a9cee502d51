"""requirements.lock and every part's requirements.txt are what pyproject.toml resolves to."""

import difflib
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXPORT = ("export", "--no-emit-project", "--no-header", "--quiet")
PARTS = sorted(
    group
    for group in tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    if re.fullmatch(r"part\d+", group)
)
# What each exported file is made of, as options of `uv export`.
FILES = {"requirements.lock": ()} | {
    f"{folder.name}/requirements.txt": ("--only-group", group)
    for group in PARTS
    for folder in sorted(ROOT.glob(f"{group}*/"))
}
FILES["part7-llm-serving/demo/requirements.txt"] = ("--only-group", "part7-demo")
FILES["part7-llm-serving/tracking/requirements.txt"] = ("--only-group", "part7-tracking")
ADDRESS = re.compile(r"https?:|file:|--(extra-)?index-url|--find-links|^-[if]\b", re.MULTILINE)


def uv() -> str:
    """The uv that runs us, or the one on the PATH."""
    found = os.environ.get("UV") or shutil.which("uv")
    if found is None:
        pytest.skip("no uv on the PATH to export with")
    return found


def export(*options: str) -> str:
    """What `uv export` writes: from uv.lock if that is there and fits, else resolved afresh."""
    done = subprocess.run(
        [uv(), *EXPORT, *options],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, f"uv {' '.join((*EXPORT, *options))}:\n{done.stderr}"
    return done.stdout


def requirements(text: str) -> list[str]:
    """The requirements of an exported file, each with its hashes on one line, no comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return "\n".join(lines).replace("\\\n", "").splitlines()


@pytest.mark.parametrize("name", FILES)
def test_exported_requirements_are_current(name: str) -> None:
    fresh = export(*FILES[name])
    kept = (ROOT / name).read_text(encoding="utf-8") if (ROOT / name).exists() else ""

    changes = list(difflib.unified_diff(kept.splitlines(), fresh.splitlines(), name, "fresh"))

    command = " ".join(("uv", *EXPORT, *FILES[name], "-o", name))
    few = "\n".join(changes[:20])
    assert not changes, f"{name} is stale; write it again with\n    {command}\n{few}"


@pytest.mark.parametrize("name", FILES)
def test_every_requirement_is_pinned_to_a_version_and_hashes(name: str) -> None:
    listed = requirements((ROOT / name).read_text(encoding="utf-8"))

    loose = [
        line
        for line in listed
        if not re.match(r"[\w.-]+==[\w.!+-]+ ", line) or "--hash=sha256:" not in line
    ]

    assert loose == []
    assert len(listed) > 10


@pytest.mark.parametrize("name", FILES)
def test_no_exported_file_holds_an_address(name: str) -> None:
    assert ADDRESS.search((ROOT / name).read_text(encoding="utf-8")) is None


def test_every_part_that_has_a_group_has_a_folder() -> None:
    assert [group for group in PARTS if not list(ROOT.glob(f"{group}*/"))] == []
    assert {"part1", "part2", "part3"} <= set(PARTS)


@pytest.mark.parametrize(
    "line",
    [
        "--index-url somewhere",
        "--extra-index-url somewhere",
        "--find-links folder",
        "-i somewhere",
        "-f folder",
        "six @ https://host/six.whl",
        "six @ file:///tmp/six.whl",
    ],
)
def test_an_address_is_found_when_there_is_one(line: str) -> None:
    assert ADDRESS.search(f"aiohttp==3.14.5 \\\n    --hash=sha256:00\n{line}\n") is not None
