"""Whoever imports a library names it: one that another library brings along may go with it."""

import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.imports import imports_of, python_files

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# A part may have more than one image, and then a group for each: part7 and part7-demo.
GROUPS = {"src": PYPROJECT["project"]["dependencies"]} | {
    folder.name: [
        requirement
        for group, requirements in PYPROJECT["dependency-groups"].items()
        if group.partition("-")[0] == match.group()
        for requirement in requirements
    ]
    for folder in sorted(ROOT.glob("part*/"))
    if (match := re.match(r"part\d+", folder.name))
}
# Packages: a part's folder itself or, where its name has a hyphen, those that it holds.
OURS = {
    folder.name
    for folder in (*ROOT.glob("part*/"), *(ROOT / "src").glob("*/"), *ROOT.glob("part*-*/*/"))
}


def undeclared(folder: Path, requirements: Iterable[str]) -> dict[str, str]:
    """Third-party modules that files of `folder` import, each with a file, but nobody requires."""
    declared = {_normal(re.split(r"[\[<>=!~; ]", each)[0]) for each in requirements}
    distributions = packages_distributions()
    missing = {}
    for file in python_files(folder):
        for _, name in imports_of(file):
            module = name.split(".")[0]
            if not module or module in sys.stdlib_module_names | OURS:
                continue
            if not declared & {_normal(each) for each in distributions.get(module, [module])}:
                missing[module] = file.name
    return missing


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("folder", GROUPS)
def test_what_a_folder_imports_is_a_requirement_of_its_own(folder: str) -> None:
    assert undeclared(ROOT / folder, GROUPS[folder]) == {}


def test_an_import_that_nobody_requires_is_found(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("import os, numpy\nfrom sklearn import svm\n")

    assert undeclared(tmp_path, ["pandas>=3"]) == {"numpy": "script.py", "sklearn": "script.py"}
    assert undeclared(tmp_path, ["NumPy>=2", "scikit-learn[extra]>=1.9,<2"]) == {}
