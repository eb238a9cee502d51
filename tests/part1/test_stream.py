"""The stream of rows: a function of seed and position alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_iris

from part1.draw import BLOCK, IrisStream, read_iris

# Around the ends of blocks, where an error by one would be.
positions = st.one_of(
    st.integers(1, 4 * BLOCK),
    st.builds(lambda k, d: k * BLOCK + d, st.integers(1, 4), st.integers(-2, 3)),
)
seeds = st.integers(0, 2**32)


def test_the_flowers_are_scikit_learns() -> None:
    features, labels = read_iris()
    iris = load_iris()
    np.testing.assert_array_equal(features, iris.data)
    np.testing.assert_array_equal(labels, iris.target)


@given(seed=seeds, cuts=st.lists(positions, min_size=2, max_size=6, unique=True))
def test_any_slicing_gives_the_same_rows(seed: int, cuts: list[int]) -> None:
    first, *rest = sorted(cuts)
    whole = IrisStream(seed).flowers(first, rest[-1] - first)
    stream = IrisStream(seed)
    pieces = []
    for end in rest:
        pieces.append(stream.flowers(first, end - first))
        first = end
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@given(seed=seeds, first=positions)
def test_a_row_does_not_depend_on_what_was_asked_before(seed: int, first: int) -> None:
    used = IrisStream(seed)
    used.flowers(3 * BLOCK, 10)
    assert used.flowers(first, 1) == IrisStream(seed).flowers(first, 1)


@given(seed=seeds, other=seeds)
def test_different_seeds_give_different_streams(seed: int, other: int) -> None:
    same = np.array_equal(IrisStream(seed).flowers(1, 200), IrisStream(other).flowers(1, 200))
    assert same == (seed == other)


def test_all_flowers_come_equally_often() -> None:
    counts = np.bincount(IrisStream(2022).flowers(1, 150_000), minlength=150)
    assert len(counts) == 150
    assert 800 < counts.min() < counts.max() < 1200  # 1000 expected, standard deviation 32


def test_far_away_rows_are_as_cheap_as_the_first() -> None:
    assert len(IrisStream(2022).flowers(10**15, 5)) == 5
