"""The plots of the drift report, as PNG."""

import io
import logging

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from part6.drift import BINS, CLASS, COLUMNS, Floats
from part6.drift_check import Check
from part6.iris import LABEL_NAMES, LABELS

# On a new machine it reports that it lists the fonts, which is news to nobody.
logging.getLogger("matplotlib").setLevel(logging.WARNING)

# Grey and Okabe and Ito's colours, which stay apart for colour-blind eyes and in print.
GREY, ORANGE = "#b5b5b5", "#d55e00"
LINES = ("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#000000")
MARKERS = "osD^v"
MAX_BARS = 40
TICKS = (0, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


def plot_distributions(reference: Floats, newest: Floats) -> bytes:
    """Draw each column of the reference (m, 5) with that of the newest rows (n, 5) over it."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    for i, name in enumerate(COLUMNS):
        draw = _draw_classes if name == CLASS else _draw_histogram
        draw(axes[i], reference[:, i], newest[:, i])
        axes[i].set_title(name, fontweight="bold")
        axes[i].set_ylabel("% of rows")
    handles, labels = axes[0].get_legend_handles_labels()
    axes[-1].axis("off")
    axes[-1].legend(handles, labels, loc="center", frameon=False, fontsize=12)
    return _png(figure)


def plot_psi(check: Check) -> bytes:
    """Draw the PSI of each column from window to window, beside the limit and beside chance."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    axes: Axes = figure.subplots()
    windows = range(1, len(check.windows_begin) + 1)
    for each, color, marker in zip(check.columns, LINES, MARKERS, strict=True):
        values = [shift.psi for shift in each.windows]
        axes.plot(windows, values, color=color, marker=marker, label=each.column)
    axes.axhline(check.limits.psi, color=ORANGE, linestyle="--", label="limit")
    axes.axhline(check.chance_psi, color=GREY, linestyle=":", label=f"chance, {BINS} bins")
    labelled = windows[:: len(windows) // 10 + 1]
    begins = [f"{check.windows_begin[i - 1]:%m-%d\n%H:%M:%S}" for i in labelled]
    axes.set_xticks(labelled, begins)
    axes.set_xlabel(f"begin of the window of {check.limits.window:,} predictions (UTC)")
    axes.set_ylabel("PSI")
    # Linear below 0.2 and logarithmic above: a PSI of 12 must not hide what happens at the limit.
    axes.set_yscale("symlog", linthresh=0.2)
    top = max(check.limits.psi, *(shift.psi for each in check.columns for shift in each.windows))
    axes.set_ylim(0, 1.15 * top)
    axes.set_yticks([tick for tick in TICKS if tick <= 1.15 * top])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return _png(figure)


def _draw_histogram(axes: Axes, reference: Floats, newest: Floats) -> None:
    low, high = (f(np.concatenate([reference, newest])) for f in (np.min, np.max))
    # Bars a multiple of 0.1 cm wide, the step of the ruler: other widths make a comb.
    width = 0.1 * max(round((high - low) / 0.1 / MAX_BARS), 1)
    edges = np.arange(low - 0.05, high + width, width)
    for values, style in (
        (reference, {"color": GREY, "label": f"training rows ({len(reference):,})"}),
        (
            newest,
            {
                "color": ORANGE,
                "histtype": "step",
                "linewidth": 1.8,
                "label": f"newest predictions ({len(newest):,})",
            },
        ),
    ):
        axes.hist(values, edges.tolist(), weights=np.full(len(values), 100 / len(values)), **style)
    axes.set_xlabel("cm")


def _draw_classes(axes: Axes, reference: Floats, newest: Floats) -> None:
    for values, style in (
        (reference, {"color": GREY}),
        (newest, {"facecolor": "none", "edgecolor": ORANGE, "linewidth": 1.8}),
    ):
        shares = [100 * float((values == label).mean()) for label in LABELS]
        axes.bar(LABEL_NAMES, shares, **style)


def _png(figure: Figure) -> bytes:
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=110)
    return png.getvalue()
