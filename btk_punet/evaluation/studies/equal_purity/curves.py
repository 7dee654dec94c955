"""Completeness against purity: the curve of a threshold, and others as points beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.display import AxesDisplay
from btk_punet.evaluation.plotting.style import (
    draw_legend,
    error_lengths,
    method_styles,
    methods_of,
)
from btk_punet.evaluation.quantities import CEILING


class PurityCompletenessDisplay(AxesDisplay):
    """The curve of a detector with a threshold, and others as points beside it.

    Args:
        curves: Name of each detector with a threshold -> what `purity_completeness_curve` returns.
        headline: ``headline`` of a comparison: one row per method, which is drawn as a point; no
            points if None.

    Attributes:
        figure_, ax_: The figure and axes drawn in.
        curves_, bands_: The line of each curve and the 68% interval of its completeness, by name.
        errorbars_: Matplotlib's container of each method's point and 68% intervals, by its name.
        ceiling_: The dashed line of the information ceiling, or None.
        legend_: The legend, or None.

    A method that has both, a point and a curve, has them in one colour.

    Example:
        >>> display = PurityCompletenessDisplay({"ProbaUNet": curve}, tables["headline"])
        >>> display.plot().ax_.set_title("groups")  # doctest: +SKIP
    """

    size_inches = (7.8, 4.6)

    def __init__(self, curves: Mapping[str, pd.DataFrame], headline: pd.DataFrame | None = None):
        self.curves = curves
        self.headline = headline

    def _plot(self, methods: Sequence[str] | None) -> None:
        points = [] if self.headline is None else methods_of(self.headline)
        # The methods of the table first, so that these look as in the other plots of its run.
        everyone = list(dict.fromkeys([*points, *self.curves]))
        drawn, styles = method_styles(everyone, methods)
        self.curves_: dict[str, Any] = {}
        self.bands_: dict[str, Any] = {}
        for name in [name for name in self.curves if name in drawn]:
            curve = self.curves[name]
            (self.curves_[name],) = self.ax_.plot(
                curve["purity"], curve["completeness"], color=styles[name]["color"], linewidth=1.5
            )
            # Without the ends of nothing, between which matplotlib would leave a gap and warn.
            some = curve[curve["purity"].notna() & curve["completeness"].notna()]
            self.bands_[name] = self.ax_.fill_between(
                some["purity"], some["completeness_lo"], some["completeness_hi"],
                color=styles[name]["color"], alpha=0.2, linewidth=0,
            )  # fmt: skip
        self.errorbars_: dict[str, Any] = {}
        for name in [name for name in points if name in drawn]:
            rows = self.headline[self.headline["method"] == name][:1]  # type: ignore[index]
            self.errorbars_[name] = self.ax_.errorbar(
                rows["purity"], rows["completeness"],
                xerr=error_lengths(rows, "purity"), yerr=error_lengths(rows, "completeness"),
                linestyle="none", markersize=6, elinewidth=1.0, capsize=2, **styles[name],
            )  # fmt: skip
        self.ceiling_ = None
        # That of a run is the same for all its methods.
        ceiling = np.nan if not points else self.headline["ceiling"].iloc[0]  # type: ignore[index]
        if np.isfinite(ceiling):
            self.ceiling_ = self.ax_.axhline(ceiling, color="black", linestyle="--", linewidth=1.2)
        self.ax_.set(xlabel="Purity", ylabel="Completeness")
        self.ax_.set_xlim(right=max(self.ax_.get_xlim()[1], 1.01))
        shown = {**self.curves_, **self.errorbars_}
        handles = {name: shown[name] for name in drawn}
        if self.ceiling_ is not None:
            handles[CEILING] = self.ceiling_
        self.legend_ = draw_legend(self.ax_, handles)
