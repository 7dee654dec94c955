"""The plots on probabilities that a report shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from btk_punet.evaluation.plotting.reliability import ReliabilityDisplay
from btk_punet.evaluation.plotting.style import methods_of
from btk_punet.evaluation.studies.equal_purity.curves import (
    BlendIdentificationDisplay,
    PurityCompletenessDisplay,
)
from btk_punet.evaluation.studies.probabilities.calibration_plots import calibration_plots
from btk_punet.evaluation.studies.probabilities.probability_tables import (
    curves_by_method,
    without_missed,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Table of a reliability -> title, and how to read it.
_RELIABILITY = {
    "calibration": (
        "Calibration of the probability of a detection",
        "On the dashed line, as many candidates are matched as was said; points below it were too "
        "sure, and the steps show how many candidates there are.",
    ),
    "blend_calibration": (
        "Calibration of the probability of a blend",
        "On the dashed line, as many of the matched detections are of overlapped sources as was "
        "said; points below it were too sure, and the steps show how many detections there are.",
    ),
    "count_calibration": (
        "Calibration of the number of sources",
        "On the dashed line, the most probable number of sources in a scene is as often the true "
        "one as was said; points below it were too sure, and the steps show how many scenes there "
        "are.",
    ),
}


class _AmongAll:
    """A display of some methods, in the colours that they have among all those of a run.

    Args:
        kind: Class of the display.
        tables: Table of each method that is drawn, by its name.
        methods: Names of all methods of the run.
    """

    def __init__(
        self,
        kind: type[ReliabilityDisplay] | type[BlendIdentificationDisplay],
        tables: Mapping[str, pd.DataFrame],
        methods: Sequence[str],
    ):
        everyone = list(dict.fromkeys([*methods, *tables]))
        self.drawn = list(tables)
        self.display = kind({name: tables.get(name, pd.DataFrame()) for name in everyone})
        self.size_inches = kind.size_inches

    def plot(self, ax: Axes) -> None:
        """Draw them."""
        self.display.plot(ax, self.drawn)


def probability_plots(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, str, str, Any]]:
    """Yield name, title, a sentence on how to read it, and display of each plot.

    Args:
        tables: Tables of `probability_tables`, and ``headline`` of `summary_tables`. Plots of
            missing and empty tables are left out.
    """
    headline = tables.get("headline")
    methods = [] if headline is None else methods_of(headline)
    if _some(tables, "purity_completeness"):
        yield (
            "purity_completeness",
            "Completeness and purity as the threshold is raised",
            "Up and to the right is better; a method whose point lies below the curve finds less "
            "at the same purity, and the dashed line is the information ceiling.",
            PurityCompletenessDisplay(curves_by_method(tables["purity_completeness"]), headline),
        )
    for name, (title, how_to_read) in _RELIABILITY.items():
        if _some(tables, name) and (tables[name]["n"] > 0).any():
            curves = curves_by_method(tables[name])
            yield name, title, how_to_read, _AmongAll(ReliabilityDisplay, curves, methods)
    yield from calibration_plots(tables, methods)
    if _some(tables, "blend_identification") and (tables["blend_identification"]["n"] > 0).any():
        curves = curves_by_method(without_missed(tables["blend_identification"]))
        yield (
            "blend_identification",
            "Objects flagged as blends",
            "Up and to the right is better; the stars are Blendinator's own, read off its figure, "
            "on other scenes (drawn at I_E < 25.2).",
            _AmongAll(BlendIdentificationDisplay, curves, methods),
        )


def _some(tables: Mapping[str, pd.DataFrame], name: str) -> bool:
    return name in tables and len(tables[name]) > 0
