"""Hyper-parameter search: many candidates, each judged by cross-validation on the training rows."""

import threading
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.dummy import DummyProcess
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.model_selection import ParameterSampler, StratifiedGroupKFold
from sklearn.pipeline import Pipeline

from part2.command import WorkFailedError
from part2.dataset import SEED, Dataset, Split
from part2.evaluation import png
from part2.pipeline_train import make_pipeline

# Ranges in which an SVC on scaled features goes from underfitting to overfitting
# (https://scikit-learn.org/stable/auto_examples/svm/plot_rbf_parameters.html).
SPACE = [
    {"svc__kernel": ["rbf"], "svc__C": loguniform(1e-2, 1e3), "svc__gamma": loguniform(1e-4, 1e1)},
    {"svc__kernel": ["linear"], "svc__C": loguniform(1e-2, 1e3)},
]


@dataclass(frozen=True)
class SearchResult:
    """The table of candidates, best first, and the best one fitted on all training rows."""

    table: pd.DataFrame
    best: Pipeline


def draw_candidates(count: int) -> list[dict[str, Any]]:
    """Draw `count` settings of the pipeline; the first is always its defaults, to be beaten."""
    drawn = ParameterSampler(SPACE, count - 1, random_state=SEED) if count > 1 else []
    return [{"svc__kernel": "rbf", "svc__C": 1.0, "svc__gamma": "scale"}, *drawn]


def search(
    dataset: Dataset,
    split: Split,
    candidates: list[dict[str, Any]],
    folds: int,
    jobs: int | None = None,
    on_fit: Callable[[], None] = lambda: None,
) -> SearchResult:
    """Fit every candidate on every fold through joblib's active backend, `on_fit` after each.

    The result does not depend on the backend, the number of jobs or the order of completion.

    Raises:
        WorkFailedError: a species has fewer different measurements than there are folds.
    """
    groups = dataset.measurements.loc[split.train_x.index]
    _check_folds(split.train_y, groups, folds)
    # Copies of a measurement stay together here too, or the search would reward remembering them.
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=SEED)
    parts = list(splitter.split(split.train_x, split.train_y, groups))
    accuracies = np.full((len(candidates), folds), np.nan)
    x, y = split.train_x.to_numpy(), split.train_y.to_numpy()
    with closing(_fits(candidates, parts, x, y, jobs)) as fits:
        for candidate, fold, accuracy in fits:
            accuracies[candidate, fold] = accuracy
            on_fit()

    table = pd.DataFrame(candidates, index=pd.RangeIndex(1, len(candidates) + 1, name="candidate"))
    table = table.rename(columns=lambda name: name.removeprefix("svc__"))
    for fold in range(folds):
        table[f"fold_{fold + 1}"] = accuracies[:, fold]
    table["accuracy"] = accuracies.mean(axis=1).round(12)  # sums of folds differ in the last bit
    table["spread"] = accuracies.std(axis=1)
    # Candidates tie often on few rows; then the one that was drawn first wins, the defaults ahead.
    table = table.sort_values("accuracy", ascending=False, kind="stable")
    winner = candidates[table.index[0] - 1]
    return SearchResult(table, make_pipeline().set_params(**winner).fit(split.train_x, y))


def search_png(result: SearchResult) -> bytes:
    """Draw where in the space of C and gamma the good candidates lie."""
    table = result.table[result.table["kernel"] == "rbf"]
    default = table["gamma"] == "scale"
    drawn = table[~default]
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    dots = axes.scatter(
        drawn["C"], drawn["gamma"].astype(float), c=drawn["accuracy"], s=60, edgecolors="grey"
    )
    # "scale" is 1 / (features x variance), and the variance of scaled features is 1.
    axes.scatter(table[default]["C"], [0.25], marker="*", s=160, c="red", label="defaults")
    axes.set(xscale="log", yscale="log", xlabel="C", ylabel="gamma", title="rbf candidates")
    figure.legend(loc="outside upper right")
    figure.colorbar(dots, label="accuracy in cross-validation")
    return png(figure)


def _fits(
    candidates: list[dict[str, Any]],
    parts: list[tuple[NDArray[Any], NDArray[Any]]],
    x: NDArray[Any],
    y: NDArray[Any],
    jobs: int | None,
) -> Generator[tuple[int, int, float]]:
    """Yield (candidate, fold, accuracy) of each fit as soon as it is done."""

    # A nested function travels to a Dask worker by value: the worker needs scikit-learn, but not
    # this repository.
    def fit(
        candidate: int,
        fold: int,
        model: Any,
        x: NDArray[Any],
        y: NDArray[Any],
        part: tuple[NDArray[Any], NDArray[Any]],
    ) -> tuple[int, int, float]:
        train, valid = part
        model.fit(x[train], y[train])
        return candidate, fold, float(model.score(x[valid], y[valid]))

    # Threads, where no other backend is active: libsvm computes without the GIL, and processes
    # would import scikit-learn once per core, which takes longer than the whole search on iris.
    # One fit per batch and no fixed order: progress moves with every fit.
    parallel = Parallel(
        n_jobs=jobs or -1, prefer="threads", batch_size=1, return_as="generator_unordered"
    )
    blank = make_pipeline()
    try:
        yield from parallel(
            delayed(fit)(number, fold, clone(blank).set_params(**candidate), x, y, part)
            for number, candidate in enumerate(candidates)
            for fold, part in enumerate(parts)
        )
    finally:
        # After Ctrl-C joblib does not wait for the fits that run, and a thread that returns from
        # libsvm into an interpreter that is ending aborts the process.
        for thread in threading.enumerate():
            if isinstance(thread, DummyProcess):
                thread.join()


def _check_folds(target: pd.Series, groups: pd.Series, folds: int) -> None:
    rarest = groups.groupby(target).nunique()
    if rarest.min() < folds:
        raise WorkFailedError(
            f"species {rarest.idxmin()} has {rarest.min()} different measurements to train on, "
            f"too few for {folds} folds; add rows or choose fewer --folds"
        )
