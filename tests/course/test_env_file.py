"""The block of `.env` that `course` owns."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course.env_file import own_lines, write_block

LINES = st.lists(st.from_regex(r"[A-Z]{1,8}=[a-z0-9]{0,8}", fullmatch=True), max_size=5)


@given(mine=LINES, final_newline=st.booleans())
def test_what_the_learner_wrote_survives_any_number_of_blocks(
    mine: list[str], final_newline: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ".env"
        text = "\n".join(mine) + ("\n" if final_newline and mine else "")
        if text:
            path.write_text(text)
        write_block(path, {"POSTGRES_PORT": "5433"})
        write_block(path, {"POSTGRES_PORT": "5434", "S3_PORT": "9002"})
        assert path.read_text().count("# >>> course") == 1
        assert "POSTGRES_PORT=5434\nS3_PORT=9002" in path.read_text()
        assert "POSTGRES_PORT" not in own_lines(path)
        write_block(path, {})
        remaining = path.read_text() if path.exists() else ""
        assert remaining.rstrip("\n") == text.rstrip("\n")


def test_a_file_that_only_held_the_block_disappears(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    write_block(path, {"S3_PORT": "9002"})
    write_block(path, {})
    assert not path.exists()


def test_a_file_without_a_block_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# mine, without a newline at the end\nA=1")
    before = path.stat()
    write_block(path, {})
    assert path.read_text() == "# mine, without a newline at the end\nA=1"
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_without_an_end_only_lines_that_course_writes_are_taken_away(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    write_block(path, {"POSTGRES_PORT": "5433", "MLFLOW_PORT": "5002"})
    text = path.read_text()
    path.write_text("A=1\n" + text[: text.index("# <<<")] + "MY_TOKEN=precious\nOTHER=1\n")
    assert own_lines(path) == {"A": "1", "MY_TOKEN": "precious", "OTHER": "1"}
    write_block(path, {})
    assert path.read_text() == "A=1\nMY_TOKEN=precious\nOTHER=1\n"


def test_line_ends_foreign_bytes_and_permissions_are_kept(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    mine = "# 내 설정\r\nA=1\r\n".encode("cp949")
    path.write_bytes(mine)
    path.chmod(0o640)
    write_block(path, {"S3_PORT": "9002"})
    assert path.read_bytes().startswith(mine)
    assert b"\r\nS3_PORT=9002\r\n" in path.read_bytes()
    write_block(path, {})
    assert path.read_bytes() == mine
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.name == "nt", reason="a link takes an administrator on Windows")
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    kept = tmp_path / "kept.env"
    kept.write_text("A=1\n")
    path = tmp_path / ".env"
    path.symlink_to(kept)
    write_block(path, {"S3_PORT": "9002"})
    assert path.is_symlink()
    assert "S3_PORT=9002" in kept.read_text()


def test_nothing_of_the_learners_is_lost_with_a_block_that_somebody_has_edited(
    tmp_path: Path,
) -> None:
    path = tmp_path / ".env"
    write_block(path, {"S3_PORT": "9002"})
    first, port, last = path.read_text().splitlines(keepends=True)
    path.write_text(f"A=1\n{first}{port}MY=precious\n{first}{port}B=2\n{last}\n\nC=3\n")
    write_block(path, {})
    assert path.read_text() == "A=1\nMY=precious\nB=2\n\n\nC=3\n"


@pytest.mark.skipif(os.name == "nt", reason="a link takes an administrator on Windows")
def test_a_linked_file_that_only_held_the_block_is_emptied(tmp_path: Path) -> None:
    kept = tmp_path / "kept.env"
    write_block(kept, {"S3_PORT": "9002"})
    path = tmp_path / ".env"
    path.symlink_to(kept)
    write_block(path, {})
    assert path.is_symlink()
    assert kept.read_text() == ""
