"""Training data: split without leakage, and a snapshot whose hash names exactly these rows."""

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from part3.command import WorkFailedError
from part3.iris import FEATURES, LABEL_NAMES, LABELS
from part3.newest_rows import COLUMNS, newest_rows
from part3.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

TRAIN_SIZE = 0.8
RANDOM_STATE = 2022

FILL = "fill it with `uv run python -m part1.data_generator --count 1000 --bulk`"


@dataclass(frozen=True)
class Split:
    """Two frames with the columns of the snapshot; no measurement occurs in both."""

    train: "pd.DataFrame"
    valid: "pd.DataFrame"


def read_frame(settings: Settings, rows: int) -> "pd.DataFrame":
    """Read the newest `rows` rows, ordered by id: columns id, four features in cm, target.

    Raises:
        WorkFailedError: the rows cannot be read, or do not suffice to train and validate on.
    """
    import pandas as pd  # a third of a second that --help need not wait for

    found = newest_rows(settings, rows)
    frame = pd.DataFrame.from_records(found, columns=list(COLUMNS))
    if len(labels := sorted(frame["target"].unique())) < len(LABELS):
        named = ", ".join(LABEL_NAMES[label] for label in labels) or "none"
        raise WorkFailedError(
            f"the newest {len(frame)} rows of iris_data hold {len(labels)} of {len(LABELS)} labels "
            f"({named}), too few to train on; {FILL}"
        )
    return frame


def split(frame: "pd.DataFrame", *, train_size: float, random_state: int) -> Split:
    """Split `frame` so that all copies of a measurement stay on one side.

    The generator draws with replacement: a plain split would put copies of most training rows
    into validation, and the accuracy would measure memory.

    Raises:
        WorkFailedError: one side would lack a label to train on or any row to validate with.
    """
    from sklearn.model_selection import GroupShuffleSplit

    groups = frame.groupby(list(FEATURES)).ngroup()  # numbered by value, whatever the row order
    if groups.nunique() < 2 * len(LABELS):
        raise WorkFailedError(
            f"{len(frame)} rows with {groups.nunique()} distinct measurements are too few "
            f"to train and validate on; {FILL}"
        )
    splitter = GroupShuffleSplit(n_splits=1, train_size=train_size, random_state=random_state)
    train, valid = next(splitter.split(frame, groups=groups))
    parts = Split(frame.iloc[train], frame.iloc[valid])
    if parts.train["target"].nunique() < len(LABELS):
        raise WorkFailedError(
            f"{len(frame)} rows are too few: the training side of the split lacks a label; {FILL}"
        )
    return parts


def to_csv(frame: "pd.DataFrame") -> bytes:
    """Write the canonical snapshot: the same rows give the same bytes on every machine."""
    # Shortest round-trip floats are Python's default; only the line end depends on the platform.
    return frame.sort_values("id").to_csv(index=False, lineterminator="\n").encode()


def from_csv(snapshot: bytes) -> "pd.DataFrame":
    """Read back what `to_csv` wrote, to the last bit."""
    import pandas as pd

    return pd.read_csv(io.BytesIO(snapshot))


def sha256(snapshot: bytes) -> str:
    """Return the snapshot's SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(snapshot).hexdigest()
