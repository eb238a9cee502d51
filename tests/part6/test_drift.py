"""The statistics of drift: what they say of no drift, of drift, and of small samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from part6.drift import (
    COLUMNS,
    ColumnDrift,
    Limits,
    chance_psi,
    class_test,
    compare,
    cut_points,
    psi,
)
from tests.part6.model_folders import flowers

CUTS = np.array([1.5, 2.5])
LIMITS = Limits()


def traffic(seed: int, rows: int, longer: float = 0.0) -> NDArray[np.float64]:
    """Rows (n, 5) of a stream: measurements, petals and sepals longer by so many cm, and class."""
    x, y = flowers(seed, 1, rows)
    return np.column_stack([x + np.array([longer, 0, longer, 0]), y])


def drifting(columns: list[ColumnDrift], windows: int = LIMITS.windows) -> set[str]:
    return {each.column for each in columns if each.in_a_row >= windows}


def test_psi_is_the_sum_that_the_book_gives() -> None:
    # 20, 60, 20 % and 40, 40, 20 %; half a row on top of 1000 each hardly shows.
    reference = np.repeat([1.0, 2.0, 3.0], [2000, 6000, 2000])
    values = np.repeat([1.0, 2.0, 3.0], [4000, 4000, 2000])
    by_hand = 0.2 * np.log(0.4 / 0.2) - 0.2 * np.log(0.4 / 0.6)

    assert psi(reference, values, CUTS) == pytest.approx(by_hand, rel=0.01)
    assert psi(reference, reference, CUTS) == 0


def test_psi_stays_finite_when_a_bin_is_empty() -> None:
    assert 1 < psi(np.full(300, 1.0), np.full(300, 3.0), CUTS) < 20


@settings(max_examples=30, deadline=None)
@given(
    tenths=st.lists(st.integers(1, 80), min_size=1, max_size=60),
    shift=st.integers(0, 20),
)
def test_values_that_are_equal_on_the_ruler_share_a_bin_whatever_their_last_digits(
    tenths: list[int], shift: int
) -> None:
    reference = np.array(tenths) / 10
    cuts = cut_points(reference)
    exact = (np.array(tenths) + shift) / 10
    added = reference + shift / 10  # 1.4 + 0.3 is 1.7000000000000002

    assert len(cuts) <= max(9, 2)
    assert np.array_equal(np.searchsorted(cuts, added), np.searchsorted(cuts, exact))
    assert psi(reference, reference, cuts) == 0


def test_bins_of_a_measured_column_hold_about_the_same_share() -> None:
    reference = traffic(2022, 1000)[:, 0]
    bins = np.bincount(np.searchsorted(cut_points(reference), reference))

    assert len(bins) == 10
    assert bins.min() > 50
    assert bins.max() < 150


def test_a_column_that_was_always_the_same_drifts_when_it_is_another() -> None:
    reference = traffic(2022, 1000)
    reference[:, 1] = 3.0
    rows = traffic(7, 900)
    rows[:, 1] = 3.0

    assert drifting(compare(reference, rows, LIMITS)) == set()
    rows[:, 1] = 3.1
    assert drifting(compare(reference, rows, LIMITS)) == {"sepal_width"}


def test_psi_without_drift_is_what_chance_makes_it() -> None:
    generator = np.random.default_rng(1)
    sizes = []
    for _ in range(300):
        reference = generator.normal(size=1000)
        sizes.append(psi(reference, generator.normal(size=300), cut_points(reference)))

    assert np.mean(sizes) == pytest.approx(chance_psi(1000, 300), rel=0.1)


def test_there_is_no_false_alarm_in_100_runs_without_drift() -> None:
    alarms = windows = 0
    for run in range(100):
        columns = compare(traffic(2 * run, 1000), traffic(2 * run + 1, 900), LIMITS)
        alarms += bool(drifting(columns))
        windows += sum(any(each.windows[i].drifts for each in columns) for i in range(3))

    assert alarms == 0
    assert windows == 0  # of 300, so the share of single windows is below 1 % as well


@pytest.mark.parametrize("longer", [0.3, -0.3, 1.0])
def test_longer_or_shorter_flowers_are_always_found(longer: float) -> None:
    for run in range(5):
        columns = compare(traffic(2 * run, 1000), traffic(2 * run + 1, 900, longer), LIMITS)
        assert "petal_length" in drifting(columns) <= {"petal_length", "sepal_length"}


def test_a_window_that_drifts_alone_is_no_drift() -> None:
    reference, calm, odd = traffic(1, 1000), traffic(2, 300), traffic(3, 300, 1.0)

    def in_a_row(*parts: NDArray[np.float64]) -> int:
        return compare(reference, np.vstack(parts), LIMITS)[0].in_a_row

    assert in_a_row(calm, odd, calm) == 0
    assert in_a_row(odd, calm, odd) == 1
    assert in_a_row(calm, odd, odd) == 2
    assert in_a_row(odd, odd, odd) == 3


def test_a_change_of_the_answers_alone_is_found() -> None:
    rows = traffic(2, 900)
    rows[:, 4] = np.where(rows[:, 4] == 2, 1, rows[:, 4])

    assert drifting(compare(traffic(1, 1000), rows, LIMITS)) == {"iris_class"}


def test_a_difference_too_small_to_matter_is_no_drift_however_many_rows_prove_it() -> None:
    generator = np.random.default_rng(1)
    reference = np.tile(generator.normal(size=20_000)[:, None], len(COLUMNS))
    rows = np.tile(generator.normal(0.1, size=20_000)[:, None], len(COLUMNS))
    (first, *_) = compare(reference, rows, Limits(window=20_000, windows=1))

    assert first.windows[0].p_value < 1e-6
    assert first.windows[0].psi < 0.05
    assert first.in_a_row == 0


def test_a_psi_that_chance_makes_large_is_seldom_called_drift() -> None:
    limits = Limits(window=50, windows=1)
    shifts = [
        each.windows[0]
        for run in range(30)
        for each in compare(traffic(2 * run, 100), traffic(2 * run + 1, 50), limits)
    ]

    assert sum(shift.psi >= limits.psi for shift in shifts) > 50  # of 150, by PSI alone
    assert sum(shift.drifts for shift in shifts) < 5


def test_what_is_older_than_the_last_full_window_is_left_out() -> None:
    rows = np.vstack([traffic(3, 200, 5.0), traffic(2, 600)])

    columns = compare(traffic(1, 1000), rows, LIMITS)

    assert [len(each.windows) for each in columns] == [2] * len(COLUMNS)
    assert not any(shift.drifts for each in columns for shift in each.windows)


def test_a_class_that_nobody_has_does_not_break_the_test_of_the_classes() -> None:
    setosa, both = np.zeros(300), np.repeat([0.0, 1.0], 150)

    assert class_test(setosa, setosa) == (0.0, 1.0)
    distance, p_value = class_test(setosa, both)
    assert distance == pytest.approx(0.5)
    assert p_value < 1e-6
