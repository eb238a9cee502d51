"""Files that are either the old one or the new one, never half of one."""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write beside `path`, then rename: a reader or a crash sees the old text or the new.

    A link stays a link, and a file keeps its permissions and the line ends of `text`.
    """
    place = path.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(place, name)
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
