"""Where are the probabilities right? Calibration in bins of magnitude and distance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.display import PanelsDisplay
from btk_punet.evaluation.plotting.style import (
    POINTS,
    all_bins,
    error_lengths,
    method_styles,
    methods_of,
    panel_axes,
    panel_grid,
    plain_label,
    set_bin_ticks,
)
from btk_punet.evaluation.quantities import OF_DETECTIONS, Column
from btk_punet.evaluation.statistics.fractions import (
    PURITY_BY,
    Edges,
    bin_numbers,
    check_by,
    check_edges,
    fractions,
)
from btk_punet.evaluation.studies.base import Collected
from btk_punet.evaluation.studies.probabilities.calibration import (
    BRIER,
    ERROR,
    keyed,
    predictions_of_detections,
    reliability_columns,
    reliability_of,
)
from btk_punet.evaluation.studies.table import Layout, Table, trimmed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BY = {
    "magnitude": OF_DETECTIONS["magnitude"],
    "neighbour_distance_arcsec": replace(
        OF_DETECTIONS["neighbour_distance_arcsec"],
        words="distance to the nearest other candidate or detection",
    ),
}
_QUANTITY = Column(
    "quantity", "p_detect: a candidate brings a match; p_blend: a matched detection is overlapped"
)
_ONE = {"p_detect": "candidate", "p_blend": "detection"}
_TITLES = {
    "p_detect": "Candidates that bring a match",
    "p_blend": "Matched detections that are overlapped",
}


def binned_tables(run: Collected) -> Iterator[Table]:
    """Yield the calibration of detections by each of `BY`, in the bins of the run."""
    predictions = predictions_of_detections(run.tidy, run.methods)
    for by, quantity in BY.items() if predictions else ():
        binned = {
            key: binned_reliability(
                rows[by], rows["probability"], rows["outcome"], by, run.rules.edges(quantity)
            )
            for key, rows in predictions.items()
        }
        yield Table(
            f"calibration_by_{quantity.name}",
            "Calibration by magnitude" if by == "magnitude" else f"Calibration by {quantity.words}",
            trimmed(keyed(binned, ["method", "quantity"])),
            (
                _QUANTITY,
                *reliability_columns(
                    "candidates (p_detect) or matched detections (p_blend) in bounds",
                    "they bring a match (p_detect), or are overlapped (p_blend)",
                ),
                ERROR,
                BRIER,
            ),
            Layout(
                ("lo", "hi"), ("n", "mean_probability", "value"), ("method",), split="quantity",
                in_report=False,
            ),
            caption=(
                f"Calibration by {quantity.words}: the number N of candidates (p_detect) or "
                "matched detections (p_blend) in each bin, their mean predicted probability and "
                "the observed fraction."
            ),
            quantity=quantity,
        )  # fmt: skip


def binned_reliability(
    values: np.ndarray,
    probability: np.ndarray,
    outcome: np.ndarray,
    by: str,
    edges: Edges | None = None,
) -> pd.DataFrame:
    """Return predicted probabilities and observed fractions in bins of another quantity.

    Args:
        values: Quantity to bin by, shape (n,).
        probability: Predicted probabilities, 0-1, shape (n,).
        outcome: What is true, booleans of shape (n,).
        by: What the values are, one of `OF_DETECTIONS`: ``"magnitude"``, with a last bin
            ``lo = hi = inf`` for infinite ones, or ``"neighbour_distance_arcsec"``.
        edges: Edges of the bins ``[lo, hi)``; those of `OF_DETECTIONS` if None.

    Returns:
        One row per bin: ``lo``, ``hi``, ``n``, ``k`` (of them true), ``mean_probability``,
        ``value`` (= k / n) with its 68% Wilson interval ``value_lo``, ``value_hi``, and
        ``expected_calibration_error`` and ``brier_score`` within the bin; NaN in empty bins.

    Raises:
        InputError: for another ``by``, or edges that are no bins.
    """
    check_by(by, PURITY_BY)
    edges = check_edges(OF_DETECTIONS[by].edges if edges is None else edges)
    values = np.asarray(values, float)
    probability, outcome = np.asarray(probability, float), np.asarray(outcome, bool)
    lows, highs = edges[:-1], edges[1:]
    number = bin_numbers(values, edges)
    if by == "magnitude":
        # Of detections without a positive flux.
        number = np.where(np.isposinf(values), len(lows), number)
        lows, highs = np.append(lows, np.inf), np.append(highs, np.inf)
    parts = [number == i for i in range(len(lows))]
    of_bin = [reliability_of(probability[part], outcome[part]) for part in parts]
    table = fractions(
        np.array([part.sum() for part in parts]), np.array([outcome[part].sum() for part in parts])
    )
    table.insert(2, "mean_probability", [r.mean_probability for r in of_bin])
    table.insert(0, "hi", highs)
    table.insert(0, "lo", lows)
    return table.assign(
        expected_calibration_error=[r.expected_calibration_error() for r in of_bin],
        brier_score=[r.brier_score() for r in of_bin],
    )


class BinnedCalibrationDisplay(PanelsDisplay):
    """Predicted and observed in bins of another quantity: one panel per predicted quantity.

    Filled points are the observed fraction, with 68% intervals; the open ones, on a dashed line,
    the mean predicted probability. Where the two agree, the probabilities are right.

    Args:
        table: What `binned_reliability` returns, with ``method`` and ``quantity`` (``"p_detect"``
            or ``"p_blend"``).
        by: What the table is binned by: ``"magnitude"`` or ``"neighbour_distance_arcsec"``.
        everyone: Names of all methods of the run, in whose order they get their colours; those of
            the table if None.

    Attributes:
        figure_: The figure drawn in.
        axes_: Axes of each quantity, by its name.
        errorbars_: Matplotlib's container of the observed fractions, by (quantity, method).
        predicted_: Line of the mean predicted probabilities, by (quantity, method).
        legend_: The legend, or None.
    """

    def __init__(self, table: pd.DataFrame, by: str, everyone: Sequence[str] | None = None):
        self.table = table
        self.by = by
        self.everyone = everyone

    @property
    def size_inches(self) -> tuple[float, float]:
        """Width and height of a new figure that holds all panels [inch]."""
        n_rows, n_columns = panel_grid(self.table["quantity"].nunique(), 2)
        return 5.2 * n_columns + 0.4, 4.2 * n_rows + 0.6

    def _plot(self, methods: Sequence[str] | None) -> None:
        check_by(self.by, PURITY_BY)
        drawn, styles = method_styles(methods_of(self.table), methods, self.everyone or ())
        bins = all_bins(self.table)
        quantities = list(dict.fromkeys(self.table["quantity"]))
        self.axes_ = panel_axes(self.figure_, quantities, 2, sharey=True)
        self.errorbars_: dict[tuple[str, str], Any] = {}
        self.predicted_: dict[tuple[str, str], Any] = {}
        label = OF_DETECTIONS[self.by].label
        for quantity, ax in self.axes_.items():
            of_panel = self.table[self.table["quantity"] == quantity]
            with_rows = [name for name in drawn if name in set(of_panel["method"])]
            for i, name in enumerate(with_rows):
                rows = of_panel[of_panel["method"] == name].set_index(["lo", "hi"])
                rows = rows.reindex(pd.MultiIndex.from_frame(bins))
                # Side by side within the bin, so that all error bars can be seen.
                x = np.arange(len(bins)) + (i - (len(with_rows) - 1) / 2) * 0.12
                self._draw_method(ax, quantity, name, x, rows, styles[name])
            set_bin_ticks(ax, bins, self.by)
            ax.set_xlabel(label.replace("other detection", f"other {_ONE[quantity]}"))
            ax.set_title(_TITLES[quantity])
            ax.set_ylim(-0.03, 1.03)
        self.legend_ = self._legend(drawn)

    def _draw_method(
        self, ax: Axes, quantity: str, name: str, x: np.ndarray, rows: pd.DataFrame, style: Any
    ) -> None:
        dark = np.isposinf(rows.index.get_level_values("lo").to_numpy(float))
        # No line leads to the detections that have no magnitude.
        for part, joined in ((~dark, True), (dark, False)):
            if not part.any():
                continue
            own = rows[part]
            bars = ax.errorbar(
                x[part], own["value"], error_lengths(own), linestyle="-" if joined else "none",
                **POINTS, **style,
            )  # fmt: skip
            (line,) = ax.plot(
                x[part], own["mean_probability"], linestyle="--" if joined else "none",
                markersize=5, linewidth=1.0, markerfacecolor="white", zorder=3, **style,
            )  # fmt: skip
            self.errorbars_.setdefault((quantity, name), bars)
            self.predicted_.setdefault((quantity, name), line)

    def _legend(self, drawn: Sequence[str]) -> Any:
        """Return the legend: the methods, and which kind of point is what."""
        from matplotlib.lines import Line2D

        if not self.errorbars_:
            return None
        next(iter(self.axes_.values())).set_ylabel("Fraction, or mean probability")
        shown = {name: bars for (_, name), bars in reversed(self.errorbars_.items())}
        handles: dict[str, Any] = {plain_label(m): shown[m] for m in drawn if m in shown}
        grey: dict[str, Any] = {"color": "0.4", "marker": "o", "markersize": 5}
        handles["observed fraction"] = Line2D([], [], **grey)
        handles["mean predicted probability"] = Line2D(
            [], [], linestyle="--", markerfacecolor="white", **grey
        )
        # Below the panels, where it covers nothing.
        return self.figure_.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=4
        )
