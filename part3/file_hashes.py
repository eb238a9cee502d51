"""The files of a folder, named by what they hold."""

import hashlib
from pathlib import Path

# MLflow writes it beside a model that it downloads by version; nobody has uploaded it.
NOT_UPLOADED = {"registered_model_meta"}


def file_hashes(folder: Path) -> dict[str, str]:
    """Return path inside `folder` (with slashes) to SHA-256 for every uploaded file, sorted."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*")}
    return {
        name: hashlib.sha256(file.read_bytes()).hexdigest()
        for name, file in sorted(files.items())
        if file.is_file() and name not in NOT_UPLOADED
    }


def digest(hashes: dict[str, str]) -> str:
    """Return one SHA-256 for all of them: that of the listing which `sha256sum` prints."""
    listing = "".join(f"{value}  {name}\n" for name, value in sorted(hashes.items()))
    return hashlib.sha256(listing.encode()).hexdigest()
