"""How good are places and fluxes, beside what the pixels allow?

Over matched detections of sources that count. The limits are those of Cramer and Rao (see
`limit_errors`): of a source itself the profile is known, of every other source neither flux, place,
size nor ellipticity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.display import PanelsDisplay
from btk_punet.evaluation.plotting.style import (
    all_bins,
    draw_legend,
    error_lengths,
    method_styles,
    methods_of,
    rows_by_method,
    set_bin_ticks,
)
from btk_punet.evaluation.quantities import METHOD, OF_SOURCES, WILSON, Column, Edges
from btk_punet.evaluation.scoring.limit_errors import LimitErrors, limit_errors
from btk_punet.evaluation.scoring.matched import MatchedBatch
from btk_punet.evaluation.scoring.scenes import clean_isolated
from btk_punet.evaluation.statistics.fractions import (
    CONFIDENCE,
    bin_numbers,
    check_edges,
    fractions,
)
from btk_punet.evaluation.studies.base import Collected, Definition, Figure, Study, Tidy
from btk_punet.evaluation.studies.table import Layout, Table, all_described, stacked, trimmed
from btk_punet.simulation.survey import background_variance, flux_electrons, reference_band

LIGHT_BY = ("magnitude", "neighbour_distance_arcsec")
# A flux that is off by more than this is an outlier.
OUTLIER_MAG = 0.75

_MEASURED = ("x", "y", "x_err", "y_err", "flux", "flux_err")
LIGHT = Tidy(
    "light",
    (
        Column("scene", "number of the scene in the run"),
        METHOD,
        Column("source", "number of the source in its scene"),
        Column("magnitude", "true AB magnitude in the reference band", "mag"),
        Column(
            "neighbour_distance_arcsec", "distance to the nearest other source with alone_snr > 2",
            "arcsec",
        ),
        Column("dx", "column of its detection less the true one", "pixel"),
        Column("dy", "row of its detection less the true one", "pixel"),
        Column("x_err", "stated half-width that holds 68% of the true x", "pixel"),
        Column("y_err", "stated half-width that holds 68% of the true y", "pixel"),
        Column("limit_x", "smallest error of x that the pixels allow", "pixel"),
        Column("limit_y", "smallest error of y that the pixels allow", "pixel"),
        Column("true_flux", "true flux", "electron"),
        Column("flux", "flux of its detection; NaN if the method gives none", "electron"),
        Column("flux_err", "stated error of that flux; NaN if not stated", "electron"),
        Column("limit_flux", "smallest error of the flux that the pixels allow, over the flux"),
    ),
    sort_by=("scene", "source"),
)  # fmt: skip

_COLUMNS = all_described(
    (
        Column("pairs", "number of matched sources that count", heading="Matched", format=",d"),
        Column(
            "place_over_limit", "half-width that holds 68% of the errors of x and y, each over its "
            "limit; 1 is as good as the pixels allow", heading="Place / limit", format=".2f",
        ),
        Column("fluxes", "number of them with a flux", heading="Fluxes", format=",d"),
        Column("mean_off", "mean of |flux / true flux - 1|", heading="Mean off", format=".3f"),
        Column(
            "median_off", "median of |flux / true flux - 1|", heading="Median off", format=".3f"
        ),
        Column("bias", "median of flux / true flux - 1", heading="Bias", format="+.3f"),
        Column(
            "outliers", f"share of the fluxes that are off by more than {OUTLIER_MAG:g} mag",
            heading="Outliers", format=".3f",
        ),
        Column(
            "flux_over_limit", "half-width that holds 68% of the errors of the flux, each over its "
            "limit; 1 is as good as the pixels allow", heading="Flux / limit", format=".2f",
        ),
        Column("n", "number of fluxes with a stated error"),
        Column("k", "number of them that are off by no more than stated"),
        Column(
            "value", "coverage of the stated errors, k / n: 0.68 if they are right; NaN where n "
            "is 0", heading="Coverage", format=".2f", interval=WILSON,
        ),
    )
)  # fmt: skip
_CELLS = (
    "pairs", "place_over_limit", "fluxes", "mean_off", "median_off", "bias", "outliers",
    "flux_over_limit", "value",
)  # fmt: skip


def batch_light(batch: MatchedBatch) -> pd.DataFrame:
    """Return how far place and flux of each matched source are off, beside their limits.

    Returns:
        The columns of `LIGHT`, one row per method and matched source that counts.
    """
    blends = batch.blend_batch
    survey, band = blends.survey, reference_band(blends.survey)
    filt = survey.get_filter(survey.available_filters[band])
    background = background_variance(survey, filt)
    limits = []
    for scene, catalog in enumerate(blends.catalog_list):
        x, y = (np.asarray(catalog[name], float) for name in ("x_peak", "y_peak"))
        images = clean_isolated(blends, scene, band)
        limits.append(limit_errors(images, x, y, background))
    sizes = [len(scene.x) for scene in limits]
    of_source = pd.DataFrame(
        {
            "scene": np.repeat(batch.first_scene + np.arange(len(limits)), sizes),
            "source": np.concatenate([np.zeros(0, int), *map(np.arange, sizes)]),
            **{
                f"limit_{name}": np.concatenate([np.zeros(0), *values])
                for name, values in zip(LimitErrors._fields, zip(*limits, strict=True), strict=True)
            },
        }
    )

    tables = []
    for method, found in batch.deblend_batches.items():
        truth = batch.truth[batch.truth["method"] == method]
        pairs = truth[truth["counts"] & truth["matched"]].merge(of_source, on=["scene", "source"])
        own = batch.detections[batch.detections["method"] == method]
        own = own[["scene", "detection", "x", "y", "x_err", "y_err"]].reset_index(drop=True)
        for name in ("flux", "flux_err"):
            values = [
                np.asarray(c[name], float) if name in c.colnames else np.full(len(c), np.nan)
                for c in found.catalog_list
            ]
            own[name] = np.concatenate([*values, np.zeros(0)])
        pairs = pairs.merge(own, on=["scene", "detection"], suffixes=("", "_found"))
        pairs = pairs.assign(
            dx=pairs["x_found"] - pairs["x"],
            dy=pairs["y_found"] - pairs["y"],
            true_flux=flux_electrons(pairs["magnitude"].to_numpy(float), filt),
        )
        tables.append(pairs[[column.name for column in LIGHT.columns]])
    return pd.concat(tables, ignore_index=True)


def light_table(light: pd.DataFrame, by: str | None = None, edges: Edges = ()) -> pd.DataFrame:
    """Return how good places and fluxes of one method are.

    Args:
        light: Rows of one method of `batch_light`.
        by: Column to bin by; None for one row of everything, without ``lo`` and ``hi``.
        edges: Edges of the bins ``[lo, hi)``.

    Returns:
        One row per bin: ``lo``, ``hi``, ``pairs``, ``place_over_limit``, ``fluxes``, ``mean_off``,
        ``median_off``, ``bias``, ``outliers``, ``flux_over_limit``, and ``n``, ``k``, ``value``,
        ``value_lo``, ``value_hi`` of the coverage. NaN where there is nothing.
    """
    if by is None:
        return pd.DataFrame([_figures(light)]).pipe(_with_coverage)
    edges = check_edges(edges)
    which = bin_numbers(light[by].to_numpy(float), edges)
    rows = [
        {"lo": low, "hi": high} | _figures(light[which == number])
        for number, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True))
    ]
    return _with_coverage(pd.DataFrame(rows))


class Light(Study):
    """Places and fluxes beside their limits, and whether the stated errors of fluxes hold."""

    anchor = "light"
    title = "How good are places and fluxes, beside what the pixels allow?"
    lead = (
        "Asked of the matched sources. A method is compared with the Cramer-Rao limit of each "
        "source, so that 1 is as good as can be, whatever the magnitude and the neighbours."
    )
    collects = (LIGHT,)

    def collect(self, batch: MatchedBatch) -> Mapping[str, pd.DataFrame]:
        """Return `batch_light`."""
        return {LIGHT.name: batch_light(batch)}

    def tables(self, run: Collected) -> Iterator[Table]:
        """Yield the figures over everything, and in bins of magnitude and neighbour distance."""
        of_method = run.by_method(LIGHT.name)
        if not of_method:
            return
        yield Table(
            "light_scores",
            "Places and fluxes",
            stacked({method: light_table(rows) for method, rows in of_method.items()}),
            _COLUMNS,
            Layout(("method",), _CELLS),
            how_to_read=(
                "Small is better; a method that finds hard sources as well has the harder task. "
                "Fluxes are those that a method calls its flux, total or isophotal."
            ),
            caption=(
                "Places and fluxes of matched sources: 68% half-widths of the errors over the "
                "Cramer-Rao limits, and how far fluxes are off."
            ),
        )
        for by in LIGHT_BY:
            quantity = OF_SOURCES[by]
            edges = run.rules.edges(quantity)
            parts = {method: light_table(rows, by, edges) for method, rows in of_method.items()}
            yield Table(
                f"light_by_{quantity.name}",
                f"Places and fluxes by {quantity.words}",
                trimmed(stacked(parts), "pairs"),
                _COLUMNS,
                Layout(("lo", "hi"), _CELLS, split="method", in_report=False),
                caption=f"Places and fluxes of matched sources by {quantity.words}.",
                quantity=quantity,
            )

    def figures(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Figure]:
        """Yield one figure per quantity."""
        for by in LIGHT_BY:
            table = tables.get(f"light_by_{OF_SOURCES[by].name}")
            if table is not None and (table.data["pairs"] > 0).any():
                yield Figure(
                    table.name,
                    table.title,
                    "In the first three panels lower is better, and in the first and third the "
                    "dashed line is as good as the pixels allow; in the last, stated errors that "
                    "are right lie on the dashed line, and below it they are too small.",
                    LightDisplay(table.data, by),
                )

    def definitions(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Definition]:
        """Yield what the limits are."""
        if tables:
            yield Definition(
                "Limits of place and flux",
                "The smallest errors that an unbiased measurement can have (Cramer-Rao): of the "
                "source itself the profile is known, but flux and place; of every other source "
                "flux, place, size and ellipticity are unknown. Errors are reported as the "
                "half-width that holds 68% of them, each divided by the limit of its source.",
            )


class LightDisplay(PanelsDisplay):
    """Four panels: places over their limits, how far fluxes are off, over limits, coverage.

    Args:
        table: What `light_table` returns, with the name of each method in a column ``method``.
        by: What the table is binned by, a column of the truth table such as ``"magnitude"``.

    Attributes:
        figure_: The figure drawn in.
        axes_: Axes of the four panels.
        legend_: The legend, or None.
    """

    size_inches = (11.0, 8.0)

    def __init__(self, table: pd.DataFrame, by: str):
        self.table = table
        self.by = by

    def _plot(self, methods: Sequence[str] | None) -> None:
        drawn, styles = method_styles(methods_of(self.table), methods)
        bins = all_bins(self.table)
        by_method = rows_by_method(self.table, bins)
        self.axes_ = self.figure_.subplots(2, 2).ravel()
        handles: dict[str, Any] = {}
        labels = (
            ("place_over_limit", "Errors of x and y over their limits (68%)"),
            ("median_off", "Median |flux / true flux − 1|"),
            ("flux_over_limit", "Errors of the flux over their limits (68%)"),
            ("value", "Coverage of the stated errors of the flux"),
        )
        for ax, (name, label) in zip(self.axes_, labels, strict=True):
            for i, method in enumerate(drawn):
                rows = by_method[method]
                x = np.arange(len(bins)) + (i - (len(drawn) - 1) / 2) * 0.1
                style: dict[str, Any] = {"markersize": 5, "linewidth": 1.2, **styles[method]}
                if name == "value" and (rows["n"] > 0).any():
                    ax.errorbar(x, rows[name], error_lengths(rows), capsize=2, **style)
                elif name != "value":
                    (handles[method],) = ax.plot(x, rows[name], **style)
            set_bin_ticks(ax, bins, self.by)
            ax.set_xlabel(OF_SOURCES[self.by].label)
            ax.set_ylabel(label)
            if name.endswith("over_limit"):
                ax.axhline(1.0, color="black", linestyle="--", linewidth=1.0)
                ax.set_yscale("log")
            elif name == "value":
                ax.axhline(CONFIDENCE, color="black", linestyle="--", linewidth=1.0)
                ax.set_ylim(-0.02, 1.02)
            else:
                ax.set_ylim(bottom=0)
        self.legend_ = draw_legend(self.axes_[1], handles) if handles else None


def _figures(rows: pd.DataFrame) -> dict[str, float]:
    """Return the figures of the rows of one method and bin."""
    offsets = rows[["dx", "dy"]].to_numpy(float) / rows[["limit_x", "limit_y"]].to_numpy(float)
    known = rows[rows["flux"].notna()]
    ratio = (known["flux"] / known["true_flux"]).to_numpy(float)
    off = ratio - 1
    stated = (known["flux_err"] > 0).to_numpy(bool)
    error = np.abs(known["flux"] - known["true_flux"]).to_numpy(float)
    # Fluxes below 0 are off by any number of magnitudes.
    magnitudes = 2.5 * np.abs(np.log10(np.maximum(ratio, 1e-9)))
    some = len(known) > 0
    return {
        "pairs": len(rows),
        "place_over_limit": _half_width(offsets),
        "fluxes": len(known),
        "mean_off": np.abs(off).mean() if some else np.nan,
        "median_off": np.median(np.abs(off)) if some else np.nan,
        "bias": np.median(off) if some else np.nan,
        "outliers": (magnitudes > OUTLIER_MAG).mean() if some else np.nan,
        "flux_over_limit": _half_width(off / known["limit_flux"].to_numpy(float)),
        "n": int(stated.sum()),
        "k": int((stated & (error <= known["flux_err"].to_numpy(float))).sum()),
    }


def _half_width(errors: np.ndarray) -> float:
    """Return the half-width that holds 68% of errors; those over an infinite limit are left out."""
    sizes = np.abs(errors[np.isfinite(errors)])
    return float(np.quantile(sizes, CONFIDENCE)) if sizes.size else np.nan


def _with_coverage(table: pd.DataFrame) -> pd.DataFrame:
    covered = fractions(table.pop("n").to_numpy(), table.pop("k").to_numpy())
    return pd.concat([table, covered], axis=1)
