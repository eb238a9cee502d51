"""The split does not leak, and the snapshot names exactly these rows."""

from collections.abc import Sequence

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from part3.command import WorkFailedError
from part3.dataset import from_csv, sha256, split, to_csv
from part3.iris import FEATURES
from part3.newest_rows import COLUMNS

centimetres = st.floats(min_value=0.001, max_value=30, allow_nan=False)
measurements = st.lists(
    st.tuples(centimetres, centimetres, centimetres, centimetres),
    min_size=12,
    max_size=30,
    unique=True,
)


def drawn_with_replacement(
    distinct: Sequence[tuple[float, ...]], draws: Sequence[int]
) -> pd.DataFrame:
    """A table as the generator fills it: a label for each measurement, each drawn several times."""
    rows = [(*distinct[i % len(distinct)], i % len(distinct) % 3) for i in draws]
    frame = pd.DataFrame(rows, columns=[*FEATURES, "target"])
    frame.insert(0, "id", range(1, len(frame) + 1))
    return frame[list(COLUMNS)]


frames = st.builds(
    drawn_with_replacement,
    measurements,
    st.permutations(list(range(150))),
)


def seen(frame: pd.DataFrame) -> set[tuple[float, ...]]:
    return set(frame[list(FEATURES)].itertuples(index=False, name=None))


@settings(deadline=None)  # the first example pays for the imports
@given(frames)
def test_no_measurement_stands_on_both_sides_of_the_split(frame: pd.DataFrame) -> None:
    try:
        data = split(frame, train_size=0.8, random_state=2022)
    except WorkFailedError:
        return  # a label of a few measurements only may end up on one side: refused, not leaked
    assert not seen(data.train) & seen(data.valid)
    assert len(data.train) + len(data.valid) == len(frame)
    assert len(data.valid) > 0


def test_a_plain_split_of_such_rows_would_leak() -> None:
    from sklearn.model_selection import train_test_split

    distinct = [(float(i + 1), 1.0, 1.0, 1.0) for i in range(20)]
    frame = drawn_with_replacement(distinct, list(range(200)))
    train, valid = train_test_split(frame, train_size=0.8, random_state=2022)
    assert seen(train) & seen(valid)
    data = split(frame, train_size=0.8, random_state=2022)
    assert not seen(data.train) & seen(data.valid)


@settings(deadline=None)  # the first example pays for the imports
@given(frames)
def test_a_snapshot_gives_back_every_bit_and_the_same_split(frame: pd.DataFrame) -> None:
    again = from_csv(to_csv(frame))
    pd.testing.assert_frame_equal(again, frame, check_exact=True)
    assert sha256(to_csv(again)) == sha256(to_csv(frame))


@settings(deadline=None)  # the first example pays for the imports
@given(frames)
def test_the_hash_does_not_depend_on_the_order_in_which_rows_were_read(
    frame: pd.DataFrame,
) -> None:
    shuffled = frame.sample(frac=1, random_state=1)
    assert sha256(to_csv(shuffled)) == sha256(to_csv(frame))
    changed = frame.assign(petal_width=frame["petal_width"] + 1)
    assert sha256(to_csv(changed)) != sha256(to_csv(frame))


def test_too_few_measurements_are_refused() -> None:
    frame = drawn_with_replacement([(1.0, 1.0, 1.0, float(i + 1)) for i in range(3)], [0, 1, 2] * 9)
    with pytest.raises(WorkFailedError, match="3 distinct measurements are too few"):
        split(frame, train_size=0.8, random_state=2022)
