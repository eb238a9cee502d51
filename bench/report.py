"""What every measurement prints and keeps: versions, medians, a JSON file."""

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

FOLDER = Path("artifacts/bench")


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Python's, the machine's and the packages' versions."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    found["cores"] = str(os.cpu_count())
    return found | {package: version(package) for package in packages}


def save(name: str, document: dict[str, object]) -> None:
    """Write `document` to artifacts/bench/NAME.json and say so."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"{name}.json"
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    beside.replace(file)
    print(f"saved to {file}")
