"""Has a column changed? How far it moved (PSI), and whether chance could have moved it (a test).

Each answer alone misleads. With many rows a test finds differences that nobody needs to act on;
with few rows the PSI is large by chance. So a window drifts where both say so, and drift is called
when several windows in a row do.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from part6.iris import FEATURES, LABELS

CLASS = "iris_class"
COLUMNS = (*FEATURES, CLASS)
BINS = 10
HALF_STEP = 0.05  # cm; the measurements are in steps of 0.1

type Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """When a window drifts (`psi` and `p_value`), and how many in a row make an alarm."""

    window: int = 300  # predictions
    windows: int = 3
    psi: float = 0.2  # from 0.1 "moderate", from 0.25 "significant" is the credit industry's habit
    p_value: float = 0.01  # of a whole window: shared by its columns


@dataclass(frozen=True)
class Shift:
    """One column of one window beside the reference."""

    psi: float
    distance: float  # Kolmogorov-Smirnov's D; for the class the total variation; both 0 to 1
    p_value: float  # times the number of columns
    mean: float  # of a feature, in cm
    drifts: bool


@dataclass(frozen=True)
class ColumnDrift:
    """One column over all windows, oldest first."""

    column: str
    reference_mean: float
    windows: list[Shift]
    in_a_row: int  # how many of the newest windows drift without a gap


def compare(reference: Floats, rows: Floats, limits: Limits) -> list[ColumnDrift]:
    """Cut `rows` (n, 5) into windows, the last one ending at the newest row; compare each.

    Columns in the order of COLUMNS, `rows` oldest first. What is older than the last full window
    is left out.
    """
    count = len(rows) // limits.window
    newest = rows[len(rows) - count * limits.window :]
    windows = newest.reshape(count, limits.window, len(COLUMNS))
    return [
        _column(name, reference[:, i], windows[:, :, i], limits) for i, name in enumerate(COLUMNS)
    ]


def _column(name: str, reference: Floats, windows: Floats, limits: Limits) -> ColumnDrift:
    is_class = name == CLASS
    cuts = np.array(LABELS[1:]) - 0.5 if is_class else cut_points(reference)
    test = class_test if is_class else kolmogorov_smirnov
    shifts: list[Shift] = []
    for values in windows:
        size = psi(reference, values, cuts)
        distance, p_value = test(reference, values)
        # Bonferroni: five tests find a difference that is none five times as often as one.
        corrected = min(p_value * len(COLUMNS), 1.0)
        drifts = size >= limits.psi and corrected < limits.p_value
        shifts.append(Shift(size, distance, corrected, float(values.mean()), drifts))
    drifting = [shift.drifts for shift in reversed(shifts)]
    in_a_row = drifting.index(False) if False in drifting else len(drifting)
    return ColumnDrift(name, float(reference.mean()), shifts, in_a_row)


def cut_points(reference: Floats, bins: int = BINS) -> Floats:
    """Return at most `bins` - 1 cuts that divide `reference` (m,) into bins of about equal share.

    Measurements are rounded to 0.1 cm and repeat, so a quantile is also a value that many rows
    have. Cuts lie half a step of the ruler above a value: equal measurements always fall into the
    same bin, also when a sum made one of them 1.7000000000000002. Where a single value holds more
    than one share, there are fewer bins. The outer bins are open.
    """
    values, counts = np.unique(reference, return_counts=True)
    if len(values) == 1:  # below, equal, above
        return np.array([values[0] - HALF_STEP, values[0] + HALF_STEP])
    reached = np.cumsum(counts) / len(reference)
    quantiles = np.arange(1, bins) / bins
    # 1e-9: 0.1 + 0.2 is more than 0.3. The last value has nothing above it to be cut from.
    last_below = np.minimum(np.searchsorted(reached, quantiles - 1e-9), len(values) - 2)
    above = values[:-1] + np.minimum(np.diff(values) / 2, HALF_STEP)
    cuts: Floats = above[np.unique(last_below)]
    return cuts


def psi(reference: Floats, values: Floats, cuts: Floats) -> float:
    """Return the population stability index of `values` (n,) against `reference` (m,).

    PSI = sum over the bins of (a - e) ln(a / e), where e and a are the shares of the reference and
    of the values in that bin (N. Siddiqi, Credit Risk Scorecards, Wiley 2006). An empty bin would
    make it infinite, so every bin counts half a row more than it has.
    """
    e, a = _shares(reference, cuts), _shares(values, cuts)
    return float(np.sum((a - e) * np.log(a / e)))


def chance_psi(reference_rows: int, rows: int, bins: int = BINS) -> float:
    """Return the PSI to expect from chance alone: (bins - 1) (1 / n + 1 / m).

    Without drift PSI / (1 / n + 1 / m) has about a chi-square distribution with bins - 1 degrees of
    freedom (B. Yurdakul, Statistical Properties of Population Stability Index, Western Michigan
    University 2018).
    """
    return (bins - 1) * (1 / rows + 1 / reference_rows)


def kolmogorov_smirnov(reference: Floats, values: Floats) -> tuple[float, float]:
    """Return D, the largest distance of the two distribution functions, and its p-value.

    Repeated values make the p-value too large, never too small: no more false alarms by that.
    """
    from scipy.stats import ks_2samp

    # The exact p-value costs many times as much and differs in digits that decide nothing here.
    result = ks_2samp(reference, values, method="asymp")
    return float(result.statistic), float(result.pvalue)


def class_test(reference: Floats, values: Floats) -> tuple[float, float]:
    """Return the total variation of the classes' shares and the p-value of the chi-square test."""
    from scipy.stats import chi2_contingency

    labels = np.array(LABELS)[:, None]
    counts = np.stack([(labels == side).sum(axis=1) for side in (reference, values)])
    seen = counts[:, counts.sum(axis=0) > 0]  # the test is not defined where nobody has a class
    shares = seen / seen.sum(axis=1, keepdims=True)
    p_value = chi2_contingency(seen).pvalue if seen.shape[1] > 1 else 1.0
    return float(np.abs(shares[0] - shares[1]).sum() / 2), float(p_value)


def _shares(values: Floats, cuts: Floats) -> Floats:
    counts = np.bincount(np.searchsorted(cuts, values), minlength=len(cuts) + 1) + 0.5
    return counts / counts.sum()
