"""What holds of the settings of every part."""

from importlib import import_module
from pathlib import Path

import pytest


@pytest.mark.parametrize("part", ["part1", "part2", "part3", "part5"])
def test_an_env_file_in_another_encoding_is_named(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_bytes("# 내 설정\n".encode("cp949"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=r"\.env in this folder is not in UTF-8"):
        import_module(f"{part}.settings").load_settings()
