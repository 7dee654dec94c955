"""How good are the positions? Bias and scatter, and whether the stated errors hold.

Over matched detections of sources that count. A position is wrong by ``x - x_true`` in each axis
[pixel]. A match is never farther than the matching radius, which bounds the scatter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.display import PanelsDisplay
from btk_punet.evaluation.plotting.style import (
    all_bins,
    error_lengths,
    method_styles,
    methods_of,
    rows_by_method,
    set_bin_ticks,
)
from btk_punet.evaluation.quantities import OF_SOURCES, WILSON, Column
from btk_punet.evaluation.statistics.fractions import (
    COMPLETENESS_BY,
    CONFIDENCE,
    Edges,
    bin_numbers,
    check_by,
    check_edges,
    edges_of,
    fractions,
)
from btk_punet.evaluation.studies.base import Collected, Figure, Study
from btk_punet.evaluation.studies.table import Layout, Table, all_described, stacked, trimmed

POSITIONS_BY = ("magnitude", "neighbour_distance_arcsec")

_COLUMNS = all_described(
    (
        Column("pairs", "number of matched sources that count", heading="N", format=",d"),
        Column("bias_x", "mean error of their x", "pixel", "Bias in x", ".3f"),
        Column("bias_y", "mean error of their y", "pixel", "Bias in y", ".3f"),
        Column("bias_err", "standard error of bias_x and bias_y", "pixel"),
        Column("scatter", "half-width that holds 68% of the errors of both axes", "pixel"),
        Column("scatter_arcsec", "the same in arcsec", "arcsec", "Scatter", ".3f"),
        Column("n", "number of coordinates, two per match, with a stated error"),
        Column("k", "number of them that are off by no more than stated"),
        Column(
            "value", "coverage of the stated errors, k / n: 0.68 if they are right; NaN where n "
            "is 0", heading="Coverage", format=".2f", interval=WILSON,
        ),
    )
)  # fmt: skip


class Positions(Study):
    """Bias and scatter of the positions, and the coverage of the stated errors."""

    anchor = "positions"
    title = "How good are the positions?"
    lead = "Asked of the matched sources: how far the detections are from where the sources are."

    def tables(self, run: Collected) -> Iterator[Table]:
        """Yield one table per quantity, one row per method and bin."""
        for by in POSITIONS_BY:
            quantity = OF_SOURCES[by]
            found = run.by_method("detections")
            parts = {
                method: position_table(truth, found[method], by, run.rules.edges(quantity))
                for method, truth in run.by_method("truth").items()
            }
            data = trimmed(stacked(parts), "pairs")
            yield Table(
                f"positions_by_{quantity.name}",
                f"Positions by {quantity.words}",
                data,
                _COLUMNS,
                Layout(
                    ("lo", "hi"), ("scatter_arcsec", "value"), across=("method",), in_report=False
                ),
                caption=(
                    f"Positions of matched sources by {quantity.words}: the half-width that holds "
                    "68% of the errors in either axis, and the fraction of the errors that the "
                    "stated ones cover (0.68 if these are right)."
                ),
                quantity=quantity,
                shown=data.assign(scatter_arcsec=data["scatter"] * run.pixel_scale_arcsec),
            )

    def figures(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Figure]:
        """Yield one figure per quantity: scatter and coverage."""
        for by in POSITIONS_BY:
            table = tables[f"positions_by_{OF_SOURCES[by].name}"]
            if (table.data["pairs"] > 0).any():
                yield Figure.of(
                    table,
                    "On the left lower is better: 68% of the matched positions are off by less "
                    "than this; on the right, stated errors that are right lie on the dashed "
                    "line, and below it they are too small.",
                    PositionDisplay(table.data, by, run.pixel_scale_arcsec),
                )


def position_errors(truth: pd.DataFrame, detections: pd.DataFrame) -> pd.DataFrame:
    """Return how far each matched detection stands from its source.

    Args:
        truth: Rows of one method of the truth table.
        detections: Rows of the same method of the detection table.

    Returns:
        The rows of ``truth`` that count and are matched, with ``dx``, ``dy`` (detection less
        truth) and the stated ``x_err``, ``y_err`` [pixel] (NaN where the method states none).
    """
    pairs = truth[truth["counts"] & truth["matched"]].merge(
        detections[["scene", "detection", "x", "y", "x_err", "y_err"]],
        on=["scene", "detection"],
        suffixes=("", "_found"),
        validate="one_to_one",
    )
    pairs["dx"] = pairs["x_found"] - pairs["x"]
    pairs["dy"] = pairs["y_found"] - pairs["y"]
    return pairs.drop(columns=["x_found", "y_found"])


def position_table(
    truth: pd.DataFrame,
    detections: pd.DataFrame,
    by: str = "magnitude",
    edges: Edges | None = None,
) -> pd.DataFrame:
    """Return bias and scatter of the positions of one method, and how often its errors cover.

    Args:
        truth: Rows of one method of the truth table.
        detections: Rows of the same method of the detection table.
        by: Column of the truth table to bin by, one of `COMPLETENESS_BY`.
        edges: Edges of the bins ``[lo, hi)``; `DEFAULT_EDGES` if None.

    Returns:
        One row a bin: ``lo``, ``hi``; ``pairs``, the number of matches; ``bias_x``, ``bias_y``,
        the mean errors, and ``bias_err``, the standard error of either; ``scatter``, the
        half-width that holds 68% of the errors of both axes; ``n``, the coordinates (two a
        match) with a stated error, ``k``, those of them that are off by no more, ``value`` (the
        coverage, 0.68 if the errors are right), ``value_lo``, ``value_hi`` (its 68% Wilson
        interval, as if the two coordinates of a match were independent). Lengths in pixels; NaN
        where there is nothing.

    Raises:
        InputError: for another ``by``, or edges that are no bins.
    """
    check_by(by, COMPLETENESS_BY)
    edges = check_edges(edges_of(by, edges))
    pairs = position_errors(truth, detections)
    which = bin_numbers(pairs[by].to_numpy(float), edges)
    errors, stated = (
        pairs[[x, y]].to_numpy(float).reshape(-1, 2) for x, y in (("dx", "dy"), ("x_err", "y_err"))
    )
    known = np.isfinite(stated)
    covered = known & (np.abs(errors) <= stated)
    rows = []
    for number in range(len(edges) - 1):
        of_bin = errors[which == number]
        some = len(of_bin) > 0
        bias = of_bin.mean(axis=0) if some else np.full(2, np.nan)
        rows.append(
            {
                "lo": edges[number],
                "hi": edges[number + 1],
                "pairs": len(of_bin),
                "bias_x": bias[0],
                "bias_y": bias[1],
                "bias_err": of_bin.std() / len(of_bin) ** 0.5 if some else np.nan,
                "scatter": np.quantile(np.abs(of_bin), CONFIDENCE) if some else np.nan,
            }
        )
    n, k = (
        np.array([mask[which == number].sum() for number in range(len(edges) - 1)])
        for mask in (known, covered)
    )
    return pd.concat([pd.DataFrame(rows), fractions(n, k)], axis=1)


class PositionDisplay(PanelsDisplay):
    """Two panels: the scatter of each method's positions, and how often its errors cover.

    Args:
        table: What `position_table` returns, with the name of each method in a column ``method``.
        by: What the table is binned by, a column of the truth table such as ``"magnitude"``.
        pixel_scale_arcsec: Pixel size.

    Attributes:
        figure_: The figure drawn in.
        axes_: Axes of the scatter and of the coverage.
        lines_: The line of each method's scatter, by its name.
        errorbars_: Matplotlib's container of each method's coverage, by its name; only of
            methods that state errors.
        legend_: The legend, or None.
    """

    size_inches = (9.0, 4.0)

    def __init__(self, table: pd.DataFrame, by: str, pixel_scale_arcsec: float = 0.1):
        self.table = table
        self.by = by
        self.pixel_scale_arcsec = pixel_scale_arcsec

    def _plot(self, methods: Sequence[str] | None) -> None:
        check_by(self.by, COMPLETENESS_BY)
        drawn, styles = method_styles(methods_of(self.table), methods)
        bins = all_bins(self.table)
        by_method = rows_by_method(self.table, bins)
        self.axes_ = scatter_ax, coverage_ax = self.figure_.subplots(1, 2)
        self.lines_: dict[str, Any] = {}
        self.errorbars_: dict[str, Any] = {}
        for i, name in enumerate(drawn):
            rows = by_method[name]
            x = np.arange(len(bins)) + (i - (len(drawn) - 1) / 2) * 0.1
            style: dict[str, Any] = {"markersize": 5, "linewidth": 1.2, **styles[name]}
            (self.lines_[name],) = scatter_ax.plot(
                x, rows["scatter"] * self.pixel_scale_arcsec, **style
            )
            if (rows["n"] > 0).any():
                self.errorbars_[name] = coverage_ax.errorbar(
                    x, rows["value"], error_lengths(rows), elinewidth=1.0, capsize=2, **style
                )
        coverage_ax.axhline(CONFIDENCE, color="black", linestyle="--", linewidth=1.0)
        for ax in self.axes_:
            set_bin_ticks(ax, bins, self.by)
            ax.set_xlabel(OF_SOURCES[self.by].label)
        scatter_ax.set_ylim(bottom=0)
        scatter_ax.set_ylabel("Half-width of 68% of the errors [arcsec]")
        coverage_ax.set_ylim(-0.02, 1.02)
        coverage_ax.set_ylabel("Coverage of the stated errors")
        self.legend_ = (
            scatter_ax.legend(self.lines_.values(), self.lines_.keys()) if drawn else None
        )
