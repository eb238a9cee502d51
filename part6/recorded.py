"""What is compared: the rows a model was trained with, and what it was asked of late."""

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection, column, func, inspect, select, table

from part6.command import WorkFailedError
from part6.drift import CLASS, COLUMNS, Floats
from part6.iris import FEATURES
from part6.manifest import REFERENCE, Manifest, check_files

MIN_REFERENCE = 50  # below, every comparison is within what chance does
LOOK_BACK = 100_000  # among so many of the newest predictions those of other versions are counted

iris_prediction = table(
    "iris_prediction",
    *(column(n) for n in ("id", "timestamp", *FEATURES, CLASS, "model_version", "latency_ms")),
)


@dataclass(frozen=True)
class Recent:
    """The newest predictions of one version, oldest first; n of them."""

    rows: Floats  # (n, 5) in the order of COLUMNS
    latency_ms: Floats  # (n,)
    timestamps: list[datetime]  # UTC
    left_out: dict[int, int]  # other version to its number of predictions in the same stretch


def read_reference(model_dir: Path, manifest: Manifest) -> Floats:
    """Read the training rows (m, 5) with what the model itself says of them.

    Raises:
        WorkFailedError: the file is missing, changed, or too short to compare anything with.
    """
    file = check_files(model_dir, manifest) / REFERENCE
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = np.array(
                [[float(row[name]) for name in COLUMNS] for row in csv.DictReader(lines)]
            )
    except FileNotFoundError as exc:
        raise WorkFailedError(f"{file} is missing; {manifest.again}") from exc
    except (OSError, KeyError, TypeError, ValueError) as exc:
        raise WorkFailedError(f"{file} holds no training rows ({exc!r}); {manifest.again}") from exc
    if len(rows) < MIN_REFERENCE or not np.isfinite(rows).all():
        raise WorkFailedError(
            f"{file} holds {len(rows)} rows; a comparison needs {MIN_REFERENCE} without gaps: "
            "train the model on more rows"
        )
    return rows


def read_recent(connection: Connection, version: int, count: int) -> Recent:
    """Read the newest `count` predictions of `version`.

    Raises:
        WorkFailedError: nothing has been recorded yet.
    """
    if not inspect(connection).has_table(iris_prediction.name):
        raise WorkFailedError(
            f"database {connection.engine.url.database!r} has no table iris_prediction yet: the "
            "model API makes it with its first prediction; start it, then send it some with "
            "`uv run python -m part6.send_requests`"
        )
    wanted = iris_prediction.c
    found = connection.execute(
        select(iris_prediction)
        .where(wanted.model_version == version)
        .order_by(wanted.id.desc())
        .limit(count)
    ).all()[::-1]
    # While there are too few, count the others back to the first: they may be why.
    newest = connection.scalar(select(func.max(wanted.id))) or 0
    oldest = max(found[0].id if len(found) == count else 0, newest - LOOK_BACK + 1)
    others = connection.execute(
        select(wanted.model_version, func.count().label("rows"))
        .where(wanted.id >= oldest, wanted.model_version != version)
        .group_by(wanted.model_version)
        .order_by(wanted.model_version)
    )
    values: list[Any] = [[row._mapping[name] for name in COLUMNS] for row in found]
    return Recent(
        np.array(values, dtype=np.float64).reshape(-1, len(COLUMNS)),
        np.array([row.latency_ms for row in found], dtype=np.float64),
        [row.timestamp.astimezone(UTC) for row in found],
        {row.model_version: row.rows for row in others},
    )
