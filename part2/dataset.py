"""Iris measurements from scikit-learn or a CSV file, checked, and split for validation."""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from sklearn.datasets import load_iris
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from part2.command import BadUsageError, WorkFailedError
from part2.iris import FEATURES, LABELS, MAX_CM

TRAIN_SIZE = 0.8
SEED = 2022
MIN_ROWS = 10  # with fewer, hardly a row is left to validate on

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """Checked measurements.

    `frame` holds the FEATURES (cm, float64) and target (0, 1, 2, int64); its index names each row
    in the source: an id, or a line of the file.
    """

    frame: pd.DataFrame
    source: str

    @property
    def measurements(self) -> pd.Series:
        """The same number for rows with the same four features (n,), another for each other."""
        return self.frame.groupby(list(FEATURES)).ngroup()


@dataclass(frozen=True)
class Split:
    """Features (n, 4) and labels (n,) to train on, and others to validate with."""

    train_x: pd.DataFrame
    valid_x: pd.DataFrame
    train_y: pd.Series
    valid_y: pd.Series

    @property
    def leaked_rows(self) -> int:
        """How many validation rows hold a measurement that the model was trained on."""
        train = pd.MultiIndex.from_frame(self.train_x)
        return int(pd.MultiIndex.from_frame(self.valid_x).isin(train).sum())


def load_dataset(csv: Path | None) -> Dataset:
    """Load the CSV file, or scikit-learn's 150 iris rows where there is none."""
    if csv is not None:
        return _read_csv(csv)
    x, y = load_iris(return_X_y=True, as_frame=True)
    frame = x.set_axis(FEATURES, axis="columns").assign(target=y).rename_axis("row")
    return Dataset(frame.astype({"target": "int64"}), "scikit-learn's iris")


def checked_dataset(
    frame: pd.DataFrame, *, source: str, remedy: str, more_rows: str = "add rows"
) -> Dataset:
    """Make a Dataset of raw columns.

    Raises:
        WorkFailedError: too few rows or species to train on, or rows with a value that is missing,
            out of range or an unknown label; the message names those rows.
    """
    numbers = frame[[*FEATURES, "target"]].apply(pd.to_numeric, errors="coerce")
    features, target = numbers[list(FEATURES)], numbers["target"]
    wrong = (features.isna() | (features <= 0) | (features > MAX_CM)).assign(
        target=~target.isin(LABELS)
    )
    if wrong.to_numpy().any():
        bad = [
            f"{frame.index.name} {row}: {column} is {_shown(frame[column].loc[row])}"
            for row, column in wrong.stack().loc[lambda cell: cell].index[:5]
        ]
        count = int(wrong.any(axis="columns").sum())
        rows = "1 row" if count == 1 else f"{count} rows"
        raise WorkFailedError(
            f"{source} has {rows} that cannot be trained on ({'; '.join(bad)}"
            f"{'; ...' if wrong.to_numpy().sum() > len(bad) else ''}); {remedy}"
        )
    if len(numbers) < MIN_ROWS:
        raise WorkFailedError(
            f"{source} holds {len(numbers)} rows and training needs at least {MIN_ROWS}; "
            f"{more_rows}"
        )
    if target.nunique() < 2:
        raise WorkFailedError(
            f"{source} holds one species only (target {int(target.iloc[0])}) and a classifier "
            f"needs two; {more_rows}"
        )
    return Dataset(
        numbers.astype({**dict.fromkeys(FEATURES, "float64"), "target": "int64"}), source
    )


def split_rows(dataset: Dataset) -> Split:
    """Split 80 : 20 row by row, as one does when every row is another flower."""
    frame = dataset.frame
    split = Split(
        *train_test_split(
            frame[list(FEATURES)], frame["target"], train_size=TRAIN_SIZE, random_state=SEED
        )
    )
    if split.leaked_rows:
        log.warning(
            "%d of %d validation rows hold a measurement that is trained on too, so the valid "
            "accuracy flatters; part2.db_train shows the split that prevents it",
            split.leaked_rows,
            len(split.valid_x),
        )
    return _trainable(split, dataset)


def split_measurements(dataset: Dataset) -> Split:
    """Split 80 : 20 measurement by measurement, all copies of one on the same side.

    The data generator draws with replacement. Split by rows, most validation rows would have a
    twin among the training rows, and the valid accuracy would tell how well the model remembers.
    """
    groups = dataset.measurements
    if groups.nunique() < MIN_ROWS:
        raise WorkFailedError(
            f"{dataset.source} holds {groups.nunique()} different measurements in "
            f"{len(groups)} rows and training needs at least {MIN_ROWS}; read more --rows"
        )
    splitter = GroupShuffleSplit(n_splits=1, train_size=TRAIN_SIZE, random_state=SEED)
    train, valid = next(splitter.split(dataset.frame, groups=groups))
    x, y = dataset.frame[list(FEATURES)], dataset.frame["target"]
    return _trainable(Split(x.iloc[train], x.iloc[valid], y.iloc[train], y.iloc[valid]), dataset)


def _trainable(split: Split, dataset: Dataset) -> Split:
    if split.train_y.nunique() < 2:
        raise WorkFailedError(
            f"{dataset.source}: only one species is left to train on after the split; add rows of "
            "the others"
        )
    return split


def _read_csv(path: Path) -> Dataset:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # lines longer than the header
            frame = pd.read_csv(path, index_col=False, skip_blank_lines=False)
    except OSError as exc:
        raise BadUsageError(f"--csv {path}: {exc.strerror or exc}") from exc
    except (ValueError, pd.errors.ParserWarning) as exc:  # not CSV, not text, nothing in it
        raise BadUsageError(f"--csv {path} is not a CSV file: {str(exc).strip()}") from exc
    missing = [name for name in (*FEATURES, "target") if name not in frame.columns]
    if missing:
        raise BadUsageError(
            f"--csv {path} has no column {', '.join(missing)}; its first line must name "
            f"{','.join((*FEATURES, 'target'))}"
        )
    frame.index = pd.RangeIndex(2, len(frame) + 2, name="line")  # line 1 is the header
    return checked_dataset(frame.dropna(how="all"), source=str(path), remedy="correct the file")


def _shown(value: object) -> str:
    return "missing" if pd.isna(value) else f"{value}"  # type: ignore[call-overload]
