"""Reliability diagrams: the observed fraction against the predicted probability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.display import AxesDisplay
from btk_punet.evaluation.plotting.style import POINTS, error_lengths, method_styles, plain_label


class ReliabilityDisplay(AxesDisplay):
    """Reliability diagram: a line for each table, with 68% intervals, and the number in each bin.

    Args:
        tables: Name -> what `Reliability.table` returns.
        everyone: Names of all methods of a run, in whose order they get their colours; those of
            the tables if None.

    Attributes:
        figure_, ax_: The figure and axes drawn in.
        histogram_ax_: The axes below it, with the number in each bin.
        errorbars_: Matplotlib's container of each table's points and error bars, by its name.
        histograms_: The steps of each table's numbers, by its name.
        diagonal_: The line of perfect calibration.
        legend_: The legend, or None.

    Points stand at the mean predicted probability of their bin, on the diagonal if the observed
    fraction is the same. The histogram is drawn below the axes, within the space of a constrained
    or tight layout.
    """

    size_inches = (5.0, 5.6)

    def __init__(self, tables: Mapping[str, pd.DataFrame], everyone: Sequence[str] | None = None):
        self.tables = dict(tables)
        self.everyone = everyone

    def _plot(self, methods: Sequence[str] | None) -> None:
        drawn, styles = method_styles(list(self.tables), methods, self.everyone or ())
        self.histogram_ax_ = self.ax_.inset_axes((0.0, -0.3, 1.0, 0.26), sharex=self.ax_)
        (self.diagonal_,) = self.ax_.plot(
            [0, 1], [0, 1], color="black", linestyle="--", linewidth=1.0, zorder=1
        )
        self.errorbars_: dict[str, Any] = {}
        self.histograms_: dict[str, Any] = {}
        for name in drawn:
            table = self.tables[name]
            some = table[table["n"] > 0]
            self.errorbars_[name] = self.ax_.errorbar(
                some["mean_probability"], some["value"], error_lengths(some),
                **POINTS, **styles[name],
            )  # fmt: skip
            # A base of 0 has no place on a logarithmic axis, where an empty bin is a gap.
            number = table["n"].to_numpy(float)
            self.histograms_[name] = self.histogram_ax_.stairs(
                np.where(number > 0, number, np.nan),
                np.append(table["lo"].to_numpy(), table["hi"].to_numpy()[-1:]),
                baseline=None, color=styles[name]["color"], linewidth=1.2,
            )  # fmt: skip
        self.ax_.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="Observed fraction")
        self.ax_.tick_params(labelbottom=False)
        self.histogram_ax_.set(xlabel="Predicted probability", ylabel="Number", yscale="log")
        # Half a decade of room; without any number the axis has no range of its own.
        most = max((self.tables[name]["n"].max() for name in drawn), default=0)
        least = min(
            (n for name in drawn for n in self.tables[name]["n"] if n > 0),
            default=1,
        )
        self.histogram_ax_.set_ylim(least / 3, 3 * max(most, 1))
        handles = self.errorbars_.values()
        self.legend_ = self.ax_.legend(handles, map(plain_label, drawn)) if drawn else None
