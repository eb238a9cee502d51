"""No measurement stands on both sides of the split, however often it was drawn."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from part2.command import WorkFailedError
from part2.dataset import (
    SEED,
    TRAIN_SIZE,
    Dataset,
    Split,
    load_dataset,
    split_measurements,
    split_rows,
)
from part2.iris import FEATURES


def drawn_with_replacement(rows: int, seed: int) -> Dataset:
    """What the data generator makes of iris."""
    iris = load_dataset(None).frame
    chosen = np.random.default_rng(seed).integers(len(iris), size=rows)
    frame = iris.iloc[chosen].set_axis(pd.RangeIndex(1, rows + 1, name="id"))
    return Dataset(frame, "a test")


def twins(split: Split) -> set[tuple[float, ...]]:
    """Measurements on both sides, found without the code under test."""
    train, valid = (set(map(tuple, x.to_numpy())) for x in (split.train_x, split.valid_x))
    return train & valid


# Few different values, so that equal measurements are frequent.
CENTIMETRES = st.sampled_from([0.1, 0.2, 0.30000000000000004, 0.3, 29.9])
ROWS = st.lists(
    st.tuples(CENTIMETRES, CENTIMETRES, CENTIMETRES, CENTIMETRES, st.sampled_from([0, 1, 2])),
    min_size=10,
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(rows=ROWS)
def test_no_measurement_is_on_both_sides(rows: list[tuple[float, ...]]) -> None:
    frame = pd.DataFrame(rows, columns=[*FEATURES, "target"]).astype({"target": "int64"})
    dataset = Dataset(frame, "a test")
    try:
        split = split_measurements(dataset)
    except WorkFailedError:  # too few measurements or species: refused, not split wrongly
        assume(False)

    assert twins(split) == set()
    assert split.leaked_rows == 0
    assert sorted([*split.train_x.index, *split.valid_x.index]) == list(frame.index)
    assert split.train_y.nunique() >= 2
    assert len(split.valid_x) > 0


@pytest.mark.parametrize("seed", range(5))
def test_a_split_by_rows_would_leak_on_the_generators_rows(seed: int) -> None:
    dataset = drawn_with_replacement(1000, seed)
    x, y = dataset.frame[list(FEATURES)], dataset.frame["target"]

    naive = Split(*train_test_split(x, y, train_size=TRAIN_SIZE, random_state=SEED))

    assert naive.leaked_rows > 150  # of 200: most validation rows have been seen
    assert len(twins(naive)) > 50
    assert twins(split_measurements(dataset)) == set()


def test_a_split_by_rows_says_how_many_rows_leak(caplog: pytest.LogCaptureFixture) -> None:
    split = split_rows(drawn_with_replacement(100, 1))

    assert f"{split.leaked_rows} of 20 validation rows" in caplog.text


def test_iris_itself_does_not_leak() -> None:
    assert twins(split_rows(load_dataset(None))) == set()


def test_about_four_of_five_measurements_are_trained_on() -> None:
    split = split_measurements(drawn_with_replacement(1000, 7))

    train, valid = (len(x.drop_duplicates()) for x in (split.train_x, split.valid_x))

    assert train / (train + valid) == pytest.approx(TRAIN_SIZE, abs=0.01)


def test_the_same_rows_are_split_the_same_way() -> None:
    first, second = (split_measurements(drawn_with_replacement(500, 3)) for _ in range(2))

    pd.testing.assert_frame_equal(first.train_x, second.train_x)
    pd.testing.assert_frame_equal(first.valid_x, second.valid_x)
