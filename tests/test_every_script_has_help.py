"""`--help` of every script: it works without servers, and nothing of its texts is lost."""

import re

import pytest

from tests.conftest import ROOT, RunModule

SCRIPTS = sorted(
    f"{path.parent.name}.{path.stem}"
    for path in ROOT.glob("part*/*.py")
    if re.search(r"^    run\(", path.read_text(encoding="utf-8"), re.MULTILINE)
)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_explains_its_options(run_module: RunModule, script: str) -> None:
    done = run_module(script, "--help", check=True)

    assert "--debug" in done.stdout
    assert done.stderr == ""
    # Rich takes words in square brackets for markup and leaves them out.
    assert re.findall(r"\w+ \.(?!\.)", done.stdout) == []
