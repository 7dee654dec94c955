"""Class probabilities of pixels: are they right, and does anything tell where they are wrong?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from btk_punet.evaluation.plotting.reliability import ReliabilityDisplay
from btk_punet.evaluation.plotting.style import (
    chosen_methods,
    method_styles,
    methods_of,
    panel_grid,
)
from btk_punet.figures import new_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

# Predictor -> style of its line and what it is called.
_PREDICTORS = {
    "class_variance": ("-", "variance of the class"),
    "class_probability": ("--", "1 − largest probability"),
}


class ClassReliabilityDisplay:
    """Reliability diagrams of the classes of pixels: a panel a class, a line a method.

    Args:
        table: ``class_calibration`` of `calibration_tables`.
        everyone: Names of all methods of the run, in whose order they get their colours; those of
            the table if None.

    Attributes:
        figure_: The figure drawn in.
        axes_: Axes of each class, by its name.
        displays_: `ReliabilityDisplay` of each class, with lines, steps and legend.
    """

    def __init__(self, table: pd.DataFrame, everyone: Sequence[str] | None = None):
        self.table = table
        self.everyone = everyone

    @property
    def size_inches(self) -> tuple[float, float]:
        """Width and height of a new figure that holds all panels [inch]."""
        n_rows, n_columns = panel_grid(self.table["class"].nunique())
        return 3.7 * n_columns + 0.3, 4.6 * n_rows

    def plot(
        self, figure: Figure | SubFigure | None = None, methods: Sequence[str] | None = None
    ) -> ClassReliabilityDisplay:
        """Draw the lines.

        Args:
            figure: Figure to draw in; a new one if None.
            methods: Names of the methods to draw; all if None.

        Returns:
            The display itself.

        Raises:
            InputError: for a method that is not known.
        """
        known = methods_of(self.table)
        drawn = chosen_methods(methods, known)
        everyone = list(dict.fromkeys([*(self.everyone or []), *known]))
        classes = list(dict.fromkeys(self.table["class"]))
        self.figure_ = new_figure(self.size_inches) if figure is None else figure
        grid = self.figure_.subplots(*panel_grid(len(classes)), squeeze=False)
        self.axes_: dict[str, Axes] = dict(zip(classes, grid.flat, strict=False))
        self.displays_: dict[str, ReliabilityDisplay] = {}
        for name, ax in self.axes_.items():
            rows = self.table[self.table["class"] == name]
            tables = {method: rows[rows["method"] == method] for method in everyone}
            self.displays_[name] = ReliabilityDisplay(tables).plot(ax, drawn)
            below = self.displays_[name].histogram_ax_
            below.set(xlabel="", ylabel="Pixels")
            ax.set_title(name.capitalize())
            if name != classes[0]:
                ax.set_ylabel("")
                below.set_ylabel("")
        if classes:
            # One for all, for which a layout makes room.
            self.figure_.supxlabel("Probability", fontsize="medium")
        return self


class ErrorPredictionDisplay:
    """How well uncertainty tells the pixels of a wrong class from the others.

    As the threshold on the uncertainty falls: the share of the wrong pixels that are above it,
    against that of the right ones. The line of a method is that of the variance of the class; the
    dashed one, of 1 less the largest class probability.

    Args:
        curves: ``class_error_curves`` of `class_error_tables`.
        errors: ``class_errors`` of the same, for the areas in the legend; without them if None.
        everyone: Names of all methods of the run, in whose order they get their colours; those of
            the curves if None.

    Attributes:
        figure_, ax_: The figure and axes drawn in.
        curves_: Line of each curve, by (method, predictor).
        diagonal_: The line of chance.
        legend_: The legend, or None.
    """

    size_inches = (5.4, 5.2)

    def __init__(
        self,
        curves: pd.DataFrame,
        errors: pd.DataFrame | None = None,
        everyone: Sequence[str] | None = None,
    ):
        self.curves = curves
        self.errors = errors
        self.everyone = everyone

    def plot(
        self, ax: Axes | None = None, methods: Sequence[str] | None = None
    ) -> ErrorPredictionDisplay:
        """Draw the curves.

        Args:
            ax: Axes to draw in; a new figure if None.
            methods: Names of the methods to draw; all if None.

        Returns:
            The display itself.

        Raises:
            InputError: for a method that is not known.
        """
        drawn, styles = method_styles(methods_of(self.curves), methods, self.everyone or ())
        self.ax_ = new_axes(self.size_inches) if ax is None else ax
        self.figure_ = self.ax_.figure
        (self.diagonal_,) = self.ax_.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1.0)
        self.curves_: dict[tuple[str, str], Any] = {}
        handles: dict[str, Any] = {}
        for method in drawn:
            for predictor, (linestyle, words) in _PREDICTORS.items():
                own = (self.curves["method"] == method) & (self.curves["predictor"] == predictor)
                rows = self.curves[own & self.curves["flagged_wrong"].notna()]
                if rows.empty:
                    continue
                (line,) = self.ax_.plot(
                    [0.0, *rows["flagged_right"]], [0.0, *rows["flagged_wrong"]],
                    color=styles[method]["color"], linestyle=linestyle, linewidth=1.5,
                )  # fmt: skip
                self.curves_[method, predictor] = line
                handles[f"{method}: {words}{self._area(method, predictor)}"] = line
        self.ax_.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        self.ax_.set_xlabel("Share of the right pixels that are flagged")
        self.ax_.set_ylabel("Share of the wrong pixels that are flagged")
        self.legend_ = (
            self.ax_.legend(handles.values(), handles.keys(), loc="lower right", fontsize="small")
            if handles
            else None
        )
        return self

    def _area(self, method: str, predictor: str) -> str:
        if self.errors is None:
            return ""
        column = f"auc_{predictor.removeprefix('class_')}"
        areas = self.errors.loc[self.errors["method"] == method, column]
        return f" ({areas.iloc[0]:.3f})" if len(areas) else ""
