"""What a Python file imports, read from its syntax tree without running it."""

import ast
from collections.abc import Iterator
from pathlib import Path

IMPORTING_CALLS = {"import_module", "__import__"}


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of everything that `path` imports, also inside functions.

    A relative import is yielded with its dots; import_module("name") counts when the name is
    written out.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=module, level=level, names=names):
                base = "." * level + (module or "")
                yield node.lineno, base
                # `from . import x` and `from package import x` may name modules, too
                joint = "" if base.endswith(".") else "."
                yield from ((node.lineno, f"{base}{joint}{alias.name}") for alias in names)
            case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
                called = getattr(function, "attr", None) or getattr(function, "id", None)
                if called in IMPORTING_CALLS:
                    yield node.lineno, name


def python_files(*folders: Path) -> list[Path]:
    """Every Python file under the folders."""
    return sorted(file for folder in folders for file in folder.rglob("*.py"))
