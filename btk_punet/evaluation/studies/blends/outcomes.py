"""Which fraction of the blends is recognized, unrecognized, shredded, undetected or merged?

What the words mean is in `btk_punet.evaluation.studies.blends.regions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from btk.blend_batch import BlendBatch, DeblendBatch
from btk.deblend import Deblender
from btk.match import Matching
from btk.metrics.base import Metric

from btk_punet.evaluation.plotting.display import PanelsDisplay
from btk_punet.evaluation.plotting.style import (
    bin_label,
    chosen_methods,
    error_lengths,
    methods_of,
    panel_axes,
    panel_grid,
    plain_label,
    some_bins,
)
from btk_punet.evaluation.quantities import OF_BLENDS
from btk_punet.evaluation.scoring.alone import check_deblender
from btk_punet.evaluation.scoring.batch import tables_of_one
from btk_punet.evaluation.statistics.fractions import (
    Edges,
    binned_fraction,
    check_batches,
    check_by,
    check_edges,
    fractions,
)
from btk_punet.evaluation.studies.blends.regions import (
    COMBINATIONS,
    OUTCOMES,
    check_options,
    region_table,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The muted scheme of Tol (2021, SRON/EPS/TN/09-002), told apart with any colour vision: other
# colours than those of methods, so that an outcome is not taken for a method.
OUTCOME_COLOURS = {
    "recognized": "#44AA99",
    "unrecognized": "#DDCC77",
    "shredded": "#882255",
    "undetected": "#88CCEE",
    "merged": "#332288",
    "other": "#DDDDDD",
}


def outcome_table(
    regions: pd.DataFrame, by: str = "neighbour_distance_arcsec", edges: Edges | None = None
) -> pd.DataFrame:
    """Return what fraction of the regions of one method has each outcome, in bins.

    Args:
        regions: Rows of one method of `region_table`.
        by: Column to bin by, one of `OF_BLENDS`.
        edges: Edges of the bins; those of `OF_BLENDS` if None.

    Returns:
        One row per outcome and bin: ``outcome``, ``lo``, ``hi``, ``n`` (regions in the bin),
        ``k`` (those of this outcome), ``value``, ``value_lo``, ``value_hi``.
    """
    edges = _checked_edges(by, edges)
    tables = []
    for outcome in OUTCOMES:
        table = binned_fraction(regions[by], regions["outcome"] == outcome, edges)
        table.insert(0, "outcome", outcome)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def outcome_totals(regions: pd.DataFrame) -> pd.DataFrame:
    """Return the fractions of `outcome_table` over everything: one row per outcome."""
    table = _totals(regions["outcome"], OUTCOMES)
    table.insert(0, "outcome", OUTCOMES)
    return table


def combination_totals(regions: pd.DataFrame) -> pd.DataFrame:
    """Return the fraction of each combination of s and b with n, so that none is lost in other.

    Args:
        regions: Rows of one method of `region_table`.

    Returns:
        One row per combination: ``combination``, ``outcome`` and the columns of `fractions`.
    """
    table = _totals(regions["combination"], tuple(COMBINATIONS))
    table.insert(0, "outcome", list(COMBINATIONS.values()))
    table.insert(0, "combination", list(COMBINATIONS))
    return table


class BlendOutcomes(Metric):
    """What becomes of blends: recognized, unrecognized, shredded, undetected, merged or other.

    Called as ``metric(blend_batch, deblend_batch, matching=None)`` on the output of the deblender
    that it holds, and runs that on each source alone. Returns the fraction of the batch's blends
    that are recognized (NaN without a blend).

    Args:
        batch_size: Not used; BTK's metrics have it.
        edges: Edges of the bins; those of `OF_BLENDS` if None.
        by: What to bin by: ``"neighbour_distance_arcsec"`` (of the closest two sources of the
            blend), ``"magnitude_difference"`` (of the brightest two) or ``"limit_snr"`` (of the
            hardest).
        k: A pixel belongs to a source above this [sigma of the background].
        least_sources: Smallest number of sources of a region that is counted: with 1, sources
            that nothing overlaps count as well.
        deblender: The deblender that is measured, with the settings that it ran with.

    Example:
        >>> outcomes = BlendOutcomes(deblender=sep)  # doctest: +SKIP
        >>> outcomes(blend_batch, sep(blend_batch))  # doctest: +SKIP
        0.58

    Raises:
        InputError, InputTypeError: for arguments that cannot be used.
    """

    def __init__(
        self,
        batch_size: int | None = None,
        edges: Edges | None = None,
        by: str = "neighbour_distance_arcsec",
        k: float = 1.0,
        least_sources: int = 2,
        *,
        deblender: Deblender,
    ):
        super().__init__(batch_size)
        check_options(k, least_sources)
        check_deblender(deblender)
        self.edges = _checked_edges(by, edges)
        self.by = by
        self.k = k
        self.least_sources = least_sources
        self.deblender = deblender

    def _get_data(
        self,
        blend_batch: BlendBatch,
        deblend_batch: DeblendBatch,
        matching: Matching | None = None,
    ) -> dict:
        truth, detections = tables_of_one(blend_batch, deblend_batch, matching, with_limit=True)
        regions = region_table(
            blend_batch,
            truth,
            detections,
            {"method": self.deblender},
            k=self.k,
            least_sources=self.least_sources,
        )
        return {
            "regions": regions.drop(columns="method"),
            "n_scenes": blend_batch.batch_size,
        }

    def _compute(self, data: dict) -> float:
        return float(outcome_totals(data["regions"]).loc[0, "value"])

    def aggregate(self) -> pd.DataFrame:
        """Return the fractions over all batches, as `outcome_table` gives them."""
        return outcome_table(self.regions(), self.by, self.edges)

    def total(self) -> pd.DataFrame:
        """Return the fractions over everything, bins left aside: one row per outcome."""
        return outcome_totals(self.regions())

    def combinations(self) -> pd.DataFrame:
        """Return the fraction of each combination of s and b with n (`combination_totals`)."""
        return combination_totals(self.regions())

    def regions(self) -> pd.DataFrame:
        """Return one row per region of all batches, as `region_table` does; scenes count on.

        For the fractions by another quantity: ``outcome_table(metric.regions(), "limit_snr")``.
        """
        tables, first_scene = [], 0
        for data in check_batches(self.all_data):
            table = data["regions"]
            tables.append(table.assign(scene=table["scene"] + first_scene))
            first_scene += data["n_scenes"]
        return pd.concat(tables, ignore_index=True)


class OutcomesDisplay(PanelsDisplay):
    """Fractions of blends by what becomes of them: stacked bars, one panel per method.

    The error bar at the top of the lowest part, the recognized blends, is its 68% interval; above
    each bar is the number of blends.

    Args:
        table: What `outcome_table` or ``BlendOutcomes.aggregate()`` returns; with a column
            ``method`` if there are several.
        by: What the table is binned by, one of `OF_BLENDS`.

    Attributes:
        figure_: The figure drawn in.
        axes_: Axes of each method, by its name; ``""`` in a table without methods.
        bars_: Matplotlib's container of the bars, by (method, outcome).
        errorbars_: That of the intervals of the recognized, by method.
        legend_: The legend of the outcomes, or None.
    """

    def __init__(self, table: pd.DataFrame, by: str = "neighbour_distance_arcsec"):
        self.table = table
        self.by = by

    @property
    def size_inches(self) -> tuple[float, float]:
        """Width and height of a new figure that holds all methods [inch]."""
        return self._size_of(None)

    def _plot(self, methods: Sequence[str] | None) -> None:
        check_by(self.by, tuple(OF_BLENDS))
        table = self._rows()
        drawn = chosen_methods(methods, methods_of(table))
        self.axes_ = panel_axes(self.figure_, drawn, sharex=True, sharey=True)
        self.bars_: dict[tuple[str, str], Any] = {}
        self.errorbars_: dict[str, Any] = {}
        bins = some_bins(table[table["method"].isin(drawn)])
        for name, ax in self.axes_.items():
            self._draw(ax, name, table[table["method"] == name], bins)
        self.legend_ = None
        if drawn:
            self.figure_.supxlabel(OF_BLENDS[self.by].label, fontsize="medium")
            self.figure_.supylabel("Fraction of blends", fontsize="medium")
            # From the top down, as the bars are stacked.
            handles = {outcome: self.bars_[drawn[0], outcome] for outcome in reversed(OUTCOMES)}
            self.legend_ = self.figure_.legend(
                handles.values(), handles.keys(), loc="outside right upper", frameon=False
            )

    def _rows(self) -> pd.DataFrame:
        return self.table if "method" in self.table else self.table.assign(method="")

    def _size_of(self, methods: Sequence[str] | None) -> tuple[float, float]:
        n_rows, n_columns = panel_grid(len(chosen_methods(methods, methods_of(self._rows()))))
        return 3.4 * n_columns + 1.8, 2.9 * n_rows + 0.5

    def _draw(self, ax: Axes, method: str, table: pd.DataFrame, bins: pd.DataFrame) -> None:
        """Draw the bars of one method."""
        place = np.arange(len(bins))
        top = np.zeros(len(bins))
        for outcome in OUTCOMES:
            rows = table[table["outcome"] == outcome].set_index(["lo", "hi"])
            rows = rows.reindex(pd.MultiIndex.from_frame(bins))
            value = rows["value"].fillna(0.0).to_numpy()
            self.bars_[method, outcome] = ax.bar(
                place, value, 0.86, bottom=top,
                color=OUTCOME_COLOURS[outcome], edgecolor="white", linewidth=0.8, label=outcome,
            )  # fmt: skip
            top = top + value
            if outcome == "recognized":
                self.errorbars_[method] = ax.errorbar(
                    place, rows["value"], error_lengths(rows),
                    linestyle="none", color="black", elinewidth=1.0, capsize=2, zorder=3,
                )  # fmt: skip
        number = rows["n"].fillna(0).to_numpy(int)
        for x, n in zip(place, number, strict=True):
            ax.annotate(
                str(n), (x, 1.0), xytext=(0, 2), textcoords="offset points",
                ha="center", va="bottom", fontsize="x-small", color="0.4",
            )  # fmt: skip
        ax.set_xticks(
            place, [bin_label(*edges) for edges in zip(bins["lo"], bins["hi"], strict=True)],
            rotation=40, ha="right", rotation_mode="anchor", fontsize="small",
        )  # fmt: skip
        ax.set_ylim(0.0, 1.0)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_title(plain_label(method), fontsize="medium", pad=14)


def _totals(names: pd.Series, known: tuple[str, ...]) -> pd.DataFrame:
    k = np.array([(names == name).sum() for name in known])
    return fractions(np.full(len(known), len(names)), k)


def _checked_edges(by: str, edges: Edges | None) -> np.ndarray:
    quantity = OF_BLENDS[check_by(by, tuple(OF_BLENDS))]
    return check_edges(quantity.edges if edges is None else edges)
