"""What must not be in the repository, and what must."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The patterns are written so that they do not find themselves.
REGISTRY = re.compile(
    r"index-url[= ]+[\"']?https?:|find-links[= ]+[\"']?https?:"
    r"|https?://[^\s\"'<>]+/simple\b|files\.python[h]osted\.org|https?://[^\s/]*artifactory"
    r"|https?://[^\s/:]*\.(?:internal|corp|lan)\b"
)
HOME = re.compile(
    r"(?<![\w.}-])(?:/(?:home|Users|work)\b/\w|/(?:root)\b/[\w.]|[A-Za-z]:\\(?:Users)\b\\\w)"
)
UNFINISHED = re.compile(r"\b(?:T[O]DO|F[I]XME|X[X]X)\b(?!\(#\d+\))")
HANGUL = re.compile("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]")
BINARY = {".png"}
MODEL_OR_DATA = {
    ".bin", ".ckpt", ".gguf", ".h5", ".joblib", ".npz", ".onnx", ".parquet", ".pkl", ".pt",
    ".safetensors", ".skops", ".whl", ".zip", ".gz",
}  # fmt: skip
MAX_BYTES = 500_000
MAX_LINES = 300


@cache
def files() -> tuple[Path, ...]:
    """What git keeps, and what it would keep if it were added now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip(f"this folder is no git clone: {listed.stderr.strip()}")
    names = sorted(set(listed.stdout.split("\0")) - {""})
    return tuple(ROOT / name for name in names if (ROOT / name).is_file())


def texts() -> list[tuple[str, str]]:
    """Name and content of every text file."""
    return [
        (str(file.relative_to(ROOT)), file.read_bytes().decode("utf-8"))
        for file in files()
        if file.suffix not in BINARY
    ]


def found(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]


def is_code(file: Path) -> bool:
    """Python of the course itself: neither archive nor tests."""
    return file.suffix == ".py" and file.relative_to(ROOT).parts[0] not in {"archive", "tests"}


def test_no_file_names_a_package_registry() -> None:
    assert found(REGISTRY) == []


def test_no_file_holds_a_path_of_somebodys_machine() -> None:
    assert found(HOME) == []


def test_nothing_unfinished_without_an_issue() -> None:
    assert found(UNFINISHED) == []


def test_files_fit_in_a_head() -> None:
    too_long = {
        str(file.relative_to(ROOT)): lines
        for file in files()
        if is_code(file) and (lines := len(file.read_text("utf-8").splitlines())) > MAX_LINES
    }

    assert too_long == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(file.relative_to(ROOT))
        for file in files()
        if is_code(file) and not ast.get_docstring(ast.parse(file.read_text("utf-8")))
    ]

    assert silent == []


def test_every_script_says_how_to_run_it() -> None:
    unsaid = []
    for file in files():
        text = file.read_text("utf-8") if is_code(file) else ""
        if 'if __name__ == "__main__":' in text and file.parent.name.startswith("part"):
            line = f"uv run python -m {file.parent.name}.{file.stem}"
            if line not in (ast.get_docstring(ast.parse(text)) or ""):
                unsaid.append(f"{file.relative_to(ROOT)} does not print `{line}`")

    assert unsaid == []


def test_every_lesson_is_there_in_both_languages() -> None:
    folders = [ROOT, ROOT / "archive", *sorted(ROOT.glob("part*/"))]
    wanted = [folder / name for folder in folders for name in ("README.md", "README.ko.md")]

    assert [str(file.relative_to(ROOT)) for file in wanted if not file.is_file()] == []


def test_code_is_in_english() -> None:
    korean = [
        name
        for name, text in texts()
        if HANGUL.search(text) and not name.endswith(".md") and not name.startswith("tests")
    ]

    assert korean == []


def test_text_files_end_their_lines_as_editorconfig_says() -> None:
    untidy = [
        f"{name}: {fault}"
        for name, text in texts()
        for fault, is_so in {
            "carriage returns": "\r" in text and not name.endswith(".ps1"),
            "no newline at the end": bool(text) and not text.endswith("\n"),
            "blanks at the end of a line": re.search(r"[ \t]+$", text, re.MULTILINE) is not None,
        }.items()
        if is_so
    ]

    assert untidy == []


def test_neither_models_nor_data_nor_large_files_are_kept() -> None:
    heavy = [
        str(file.relative_to(ROOT))
        for file in files()
        if file.suffix in MODEL_OR_DATA or file.stat().st_size > MAX_BYTES
    ]

    assert heavy == []


@pytest.mark.parametrize(
    ("pattern", "planted", "harmless"),
    [
        (REGISTRY, "--index-url " + "https://host/a", "-o requirements.txt"),
        (REGISTRY, "see https://host/pypi" + "/simple/", "a simple thing"),
        (REGISTRY, "http://mirror" + ".internal/x", "http://localhost:5001"),
        (HOME, "cd /ho" + "me/somebody/course", "the home folder"),
        (HOME, "/Us" + "ers/somebody", "GET /api/Users/1"),
        (HOME, "cd /wo" + "rk/course", "part-time/wo" + "rk/life"),
        (HOME, "C:\\Users" + "\\somebody", "C:\\course"),
        (HOME, "see /ro" + "ot/.bashrc", "${HOME}/ro" + "ot"),
        (UNFINISHED, "# TO" + "DO: later", "# TO" + "DO(#12): later"),
        (HANGUL, "\ud30c\ud2b8", "part"),
    ],
)
def test_these_patterns_find_what_they_are_for(
    pattern: re.Pattern[str], planted: str, harmless: str
) -> None:
    assert pattern.search(planted) is not None
    assert pattern.search(harmless) is None
