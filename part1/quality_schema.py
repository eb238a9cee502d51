"""What good rows of iris_data are, as a pandera schema, and what a table's rows are instead."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from part1.schema import FEATURES, LABELS, MAX_CM

DTYPES = {
    "id": "Int64",
    "timestamp": "datetime64[us, UTC]",
    **dict.fromkeys(FEATURES, "Float64"),
    "target": "Int64",
}
# Clocks of two machines may differ, and --bulk spaces its rows a microsecond apart.
CLOCK_SKEW = timedelta(minutes=1)
SHOWN_IDS = 10


@dataclass(frozen=True)
class Expectations:
    """What is asked of the rows; `now` is the database's clock."""

    now: datetime
    max_age: timedelta
    max_duplicate_rate: float


@dataclass(frozen=True)
class Finding:
    """One line of the report; `ids` are the first offenders of `offenders`.

    `ok` is None for a line that only informs, and for a check that could not be made.
    """

    check: str
    expected: str
    found: str
    ok: bool | None
    offenders: int = 0
    ids: list[int | None] = field(default_factory=list)


def schema(rows: pd.DataFrame, expected: Expectations) -> pa.DataFrameSchema:
    """The schema for `rows`: newest rows of iris_data, one column each, ascending by id.

    A column of another type is checked for its type only.
    """
    cm = pa.Check.in_range(0, MAX_CM, include_min=False, error="range")
    checks = {
        "id": [
            pa.Check(lambda ids: ~ids.duplicated(), error="unique", ignore_na=False),
            pa.Check(_no_gap_before, error="no gap", ignore_na=False),
        ],
        "timestamp": [
            pa.Check.less_than_or_equal_to(expected.now + CLOCK_SKEW, error="not in the future"),
            pa.Check(
                lambda times: _only_last(times, times.max() >= expected.now - expected.max_age),
                error="fresh",
                ignore_na=False,
            ),
        ],
        **{name: [cm] for name in FEATURES},
        "target": [pa.Check.isin(LABELS, error="known label")],
    }
    right_type = {name for name in DTYPES if str(rows[name].dtype) == DTYPES[name]}
    return pa.DataFrameSchema(
        {
            name: pa.Column(dtype, checks[name] if name in right_type else [], nullable=False)
            for name, dtype in DTYPES.items()
        },
        checks=pa.Check(
            lambda frame: ~copies(frame) | (copies(frame).mean() <= expected.max_duplicate_rate),
            error="no copies",
            ignore_na=False,
        ),
    )


def copies(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows equal an earlier one in everything but the id."""
    return rows.duplicated([name for name in DTYPES if name != "id"])


def check(rows: pd.DataFrame, expected: Expectations) -> list[Finding]:
    """Validate `rows` (at least one) and say for every expectation what was found."""
    failed: dict[tuple[str | None, str], list[int]] = {}
    try:
        schema(rows, expected).validate(rows, lazy=True)
    except SchemaErrors as exc:
        cases = exc.failure_cases
        for column, name, index in zip(
            cases["column"], cases["check"], cases["index"], strict=True
        ):
            kind = "type" if name.startswith("dtype(") else name
            of_frame = kind == "no copies"
            failed.setdefault((None if of_frame else column, kind), []).append(index)
    return list(_findings(rows, expected, failed))


def _findings(
    rows: pd.DataFrame, expected: Expectations, failed: dict[tuple[str | None, str], list[int]]
) -> Iterator[Finding]:
    def finding(
        check: str, column: str | None, kind: str, wanted: str, found: Callable[[], str]
    ) -> Finding:
        if (column, "type") in failed:
            return Finding(check, wanted, "not checked: wrong type", None)
        wrong = sorted(set(failed.get((column, kind), [])))
        return Finding(check, wanted, found(), not wrong, len(wrong), _ids(rows["id"].loc[wrong]))

    ids, times, target = rows["id"], rows["timestamp"], rows["target"]
    copied = copies(rows)
    repeated = rows.duplicated([*FEATURES, "target"]).mean()
    age = f"newest row at most {_duration(expected.max_age)} old"
    rate = f"at most {expected.max_duplicate_rate:.2%}"
    yield _types(rows, failed)
    yield _nulls(rows)
    for name in FEATURES:
        yield finding(name, name, "range", f"> 0 and <= {MAX_CM:g} cm", partial(_span, rows[name]))
    yield finding("target", "target", "known label", "0, 1 or 2", lambda: _labels(target))
    yield finding(
        "id unique", "id", "unique", "every id once", lambda: f"{ids.duplicated().sum():,} repeated"
    )
    yield finding("id gaps", "id", "no gap", "none (exactly once)", lambda: _missing(ids))
    yield finding(
        "duplicate rows", None, "no copies", rate, lambda: f"{copied.mean():.2%}: {copied.sum():,}"
    )
    yield Finding("repeated measurements", "any: drawn with replacement", f"{repeated:.2%}", None)
    yield finding(
        "timestamp", "timestamp", "not in the future", "not in the future", lambda: _newest(times)
    )
    yield finding("freshness", "timestamp", "fresh", age, lambda: _age(times, expected.now))


def _types(rows: pd.DataFrame, failed: dict[tuple[str | None, str], list[int]]) -> Finding:
    wrong = [column for column, kind in failed if kind == "type"]
    found = ", ".join(f"{name} is {rows[name].dtype}" for name in wrong) or "as expected"
    return Finding("column types", "numbers and timestamps", found, not wrong, len(wrong))


def _nulls(rows: pd.DataFrame) -> Finding:
    nulls = rows[list(DTYPES)].isna()
    counts = nulls.sum()
    found = ", ".join(f"{name} {counts[name]:,}" for name in DTYPES if counts[name]) or "none"
    wrong = rows["id"][nulls.any(axis="columns")]
    return Finding("nulls", "none", found, wrong.empty, len(wrong), _ids(wrong))


def _ids(ids: "pd.Series[int]") -> list[int | None]:
    return [None if pd.isna(i) else i for i in ids.head(SHOWN_IDS).tolist()]


def _no_gap_before(ids: "pd.Series[int]") -> "pd.Series[bool]":
    """False at the first row after a gap."""
    steps = ids.diff()
    return steps.isna() | (steps <= 1)


def _only_last(times: "pd.Series[pd.Timestamp]", good: bool) -> "pd.Series[bool]":
    """False at the newest row, unless `good`: one row stands for the whole table's age."""
    return pd.Series([True] * (len(times) - 1) + [bool(good)], index=times.index)


def _missing(ids: "pd.Series[int]") -> str:
    """The ids between the smallest and the largest that no row has, as ranges."""
    here = ids.dropna().sort_values().astype("int64")
    steps = here.diff()
    ends = here[steps > 1]
    if ends.empty:
        return "none"
    starts = here.shift()[steps > 1].astype("int64")
    ranges = [(s + 1, e - 1) for s, e in zip(starts, ends, strict=True)]
    shown = ", ".join(f"{s}" if s == e else f"{s} to {e}" for s, e in ranges[:SHOWN_IDS])
    more = f" and {len(ranges) - SHOWN_IDS} more gaps" if len(ranges) > SHOWN_IDS else ""
    return f"{sum(e - s + 1 for s, e in ranges):,} missing: {shown}{more}"


def _span(values: "pd.Series[float]") -> str:
    return "no number" if values.isna().all() else f"{values.min():g} to {values.max():g}"


def _labels(values: "pd.Series[int]") -> str:
    return ", ".join(str(label) for label in sorted(values.dropna().unique())[:SHOWN_IDS])


def _newest(times: "pd.Series[pd.Timestamp]") -> str:
    return "no timestamp" if times.isna().all() else f"up to {times.max():%Y-%m-%d %H:%M:%S} UTC"


def _age(times: "pd.Series[pd.Timestamp]", now: datetime) -> str:
    return "no timestamp" if times.isna().all() else f"{_duration(now - times.max())} old"


def _duration(span: timedelta) -> str:
    seconds = span.total_seconds()
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
