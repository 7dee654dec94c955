"""The selection function: the probability that an injected source is found, in bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from btk_punet.errors import InputError
from btk_punet.evaluation.plotting.display import PanelsDisplay
from btk_punet.evaluation.plotting.fractions import FractionDisplay
from btk_punet.evaluation.plotting.style import plain_label
from btk_punet.evaluation.quantities import METHOD, OF_SOURCES, Column
from btk_punet.evaluation.scoring.counting import (
    completeness_table,
    efficiency_table,
    filled_cells,
)
from btk_punet.evaluation.scoring.rules import Rules
from btk_punet.evaluation.studies.table import Layout, Table, fraction_columns, stacked, trimmed

# What the function is binned by. The neighbours are what the detector itself finds: of a real
# image no others are known.
SELECTION_BY = {
    by: OF_SOURCES[by] for by in ("magnitude", "size_arcsec", "neighbour_distance_arcsec")
}
SELECTION_BY["neighbour_distance_arcsec"] = replace(
    OF_SOURCES["neighbour_distance_arcsec"],
    words="distance to the nearest detection in the image without it",
    label="Distance to nearest detection without it [arcsec]",
)

_COLUMNS = (
    *fraction_columns(
        "number of injected sources that count", "number of them that are found",
        "probability to be found", "Probability", "Sources",
    ),
    Column("magnitude_lo", "lower edge of the bin of the true magnitude", "mag", "Magnitude"),
    Column("magnitude_hi", "upper edge of the bin, which is not in it", "mag"),
)  # fmt: skip


def selection_tables(
    table: pd.DataFrame, methods: Sequence[str] | None = None, rules: Rules | None = None
) -> dict[str, pd.DataFrame]:
    """Return the selection function in bins: the probability that an injected source is found.

    Args:
        table: What `selection_table` or `selection_function` returns, or several of them joined,
            with the name of each detector in a column ``method``.
        methods: Names of the methods, in the order wanted; by default those in the table.
        rules: Gives the edges of the bins; those of `quantities` if None.

    Returns:
        ``selection_by_magnitude``, ``selection_by_size`` and ``selection_by_neighbour_distance``
        (one row per method and bin: ``method``, ``lo``, ``hi``, ``n``, ``k``, ``value`` with its
        68% Wilson interval ``value_lo``, ``value_hi``) and ``selection`` (one row per method and
        cell of magnitude and distance). Bins that are empty at either end are left out.

    Raises:
        InputError: if the table is empty and no method is named.
    """
    if len(table.columns) == 0 or (table.empty and methods is None):
        raise InputError("There is nothing to sum up: no source was injected.")
    rules = Rules() if rules is None else rules
    if METHOD.name not in table:
        table = table.assign(method="detector")
    methods = list(dict.fromkeys(table["method"])) if methods is None else methods
    of_method = {method: table[table["method"] == method] for method in methods}
    edges = {by: rules.edges(quantity) for by, quantity in SELECTION_BY.items()}
    tables = {}
    for by, quantity in SELECTION_BY.items():
        parts = {m: completeness_table(rows, by, edges[by]) for m, rows in of_method.items()}
        tables[f"selection_by_{quantity.name}"] = trimmed(stacked(parts))
    both = edges["magnitude"], edges["neighbour_distance_arcsec"]
    tables["selection"] = stacked({m: efficiency_table(r, *both) for m, r in of_method.items()})
    return tables


def selection_study_tables(
    table: pd.DataFrame, methods: Sequence[str] | None = None, rules: Rules | None = None
) -> list[Table]:
    """Return `selection_tables` with what their columns hold, captions and layouts.

    Args and errors are those of `selection_tables`.
    """
    data = selection_tables(table, methods, rules)
    caption = "Probability of an injected source to be found, by {}."
    tables = [
        Table(
            name := f"selection_by_{quantity.name}",
            f"Probability to be found by {quantity.words}",
            data[name],
            _COLUMNS,
            Layout(("lo", "hi"), ("n", "value"), across=("method",), shared=("n",)),
            caption=caption.format(quantity.words),
            quantity=quantity,
        )
        for quantity in SELECTION_BY.values()
    ]
    distance = SELECTION_BY["neighbour_distance_arcsec"]
    both = Table(
        "selection",
        f"Probability to be found by true magnitude and {distance.words}",
        data["selection"],
        _COLUMNS,
        Layout(("magnitude_lo", "magnitude_hi"), ("value",), across=("lo", "hi"), split="method"),
        caption=caption.format(f"true magnitude (rows) and {distance.words} (columns, in arcsec)"),
        quantity=distance,
        shown=filled_cells(data["selection"]),
    )
    return [*tables, both]


class SelectionDisplay(PanelsDisplay):
    """Probability of an injected source to be found, by magnitude, size and neighbour distance.

    Args:
        table: What `selection_table` or `selection_function` returns.
        rules: Gives the edges of the bins; those of `quantities` if None.

    Attributes:
        figure_: The figure drawn in.
        axes_: Axes by the quantity, one of `SELECTION_BY`.
        errorbars_: Matplotlib's container by (method, quantity), with 68% intervals.
        legend_: The legend, or None.
    """

    size_inches = (13.5, 4.4)

    def __init__(self, table: pd.DataFrame, rules: Rules | None = None):
        self.table = table
        self.rules = rules

    def _plot(self, methods: Sequence[str] | None) -> None:
        tables = selection_tables(self.table, rules=self.rules)
        panels = self.figure_.subplots(1, len(SELECTION_BY), sharey=True)
        self.axes_ = dict(zip(SELECTION_BY, panels, strict=True))
        self.errorbars_: dict[tuple[str, str], Any] = {}
        handles: dict[str, Any] = {}
        for by, ax in self.axes_.items():
            of_quantity = tables[f"selection_by_{SELECTION_BY[by].name}"]
            drawn = FractionDisplay(of_quantity, "completeness", by).plot(ax, methods)
            if drawn.legend_ is not None:
                drawn.legend_.remove()
            handles |= drawn.errorbars_
            for name, bars in drawn.errorbars_.items():
                self.errorbars_[name, by] = bars
            ax.set_xlabel(SELECTION_BY[by].label)
            ax.set_ylabel("")
        panels[0].set_ylabel("Probability to be found")
        self.legend_ = None
        if len(handles) > 1 or "method" in self.table:
            self.legend_ = self.figure_.legend(
                handles.values(), map(plain_label, handles), loc="outside upper center",
                ncols=min(len(handles), 6),
            )  # fmt: skip
