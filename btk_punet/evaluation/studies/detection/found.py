"""Which sources are found? Completeness by what they are like, and scene by scene."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from btk_punet.evaluation.plotting.fractions import FractionDisplay
from btk_punet.evaluation.plotting.style import methods_of, without_unknown_ceiling
from btk_punet.evaluation.quantities import CEILING, METHOD, OF_SOURCES, Column
from btk_punet.evaluation.scoring.counting import (
    ceiling_table,
    column_fractions,
    completeness_table,
    count_matrix,
    efficiency_table,
    filled_cells,
)
from btk_punet.evaluation.studies.base import Collected, Definition, Figure, Study
from btk_punet.evaluation.studies.detection.matrices import CountMatrixDisplay, EfficiencyDisplay
from btk_punet.evaluation.studies.detection.result import CEILING_CAPTION
from btk_punet.evaluation.studies.table import Layout, Table, fraction_columns, stacked, trimmed

# Those whose numbers the report shows, and those that it draws.
_SHOWN = ("magnitude", "neighbour_distance_arcsec")
_DRAWN = (*_SHOWN, "limit_snr")
_READ_CEILING = (
    "Higher is better; the dashed line is the information ceiling, reached by finding just the "
    "sources that can be told from their neighbours at 5 sigma, and the grey numbers on top are "
    "those of the true sources."
)
_READ_LIMIT = (
    "Higher is better; above 5, where the dashed line is 1, a method below it misses sources that "
    "can be told from their neighbours."
)
_COMPLETENESS = (
    Column(METHOD.name, "name of the method, or the information ceiling", heading="Method"),
    *fraction_columns(
        "number of sources that count", "number of them that are found", "completeness (recall)",
        "Completeness", "Sources",
    ),
    Column("magnitude_lo", "lower edge of the magnitude bin", "mag", "Magnitude"),
    Column("magnitude_hi", "upper edge of the magnitude bin, which is not in it", "mag"),
)  # fmt: skip
_COUNTS = (
    Column("n_matched", "number of sources found in a scene", heading="Found"),
    Column("n_true", "number of true sources that count in a scene", heading="True"),
    Column("scenes", "number of scenes with these numbers", heading="Scenes", format=",d"),
    Column("fraction", "scenes / scenes with this n_true; NaN where there are none"),
)


class Found(Study):
    """Completeness by magnitude, neighbour distance, size, ..., and BTK's efficiency matrix."""

    anchor = "found"
    title = "Which sources are found?"
    lead = (
        "Completeness is the fraction of the true sources that are found; it falls where sources "
        "are faint or have a neighbour nearby."
    )

    def tables(self, run: Collected) -> Iterator[Table]:
        """Yield completeness by each quantity, in two of them at once, and the count matrix."""
        of_method = run.by_method("truth")
        if not of_method:
            return
        for by, quantity in OF_SOURCES.items():
            edges = run.rules.edges(quantity)
            parts = {m: completeness_table(truth, by, edges) for m, truth in of_method.items()}
            parts[CEILING] = ceiling_table(max(of_method.values(), key=len), by, edges)
            data = trimmed(stacked(parts))
            shown = without_unknown_ceiling(data)
            yield Table(
                f"completeness_by_{quantity.name}",
                f"Completeness by {quantity.words}",
                data,
                _COMPLETENESS,
                Layout(
                    ("lo", "hi"),
                    ("n", "value"),
                    across=("method",),
                    shared=("n",),
                    in_report=by in _SHOWN and bool((data["n"] > 0).any()),
                ),
                caption=(
                    f"Completeness (recall) by {quantity.words}, with the number of sources."
                    + f" {CEILING_CAPTION}" * (CEILING in set(shown["method"]))
                ),
                quantity=quantity,
                shown=shown,
            )
        yield _efficiency(run, of_method)
        yield _count_matrix(run, of_method)

    def figures(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Figure]:
        """Yield completeness by the main quantities, efficiency, and the count matrix."""
        if not tables:
            return
        for by in _DRAWN:
            table = tables[f"completeness_by_{OF_SOURCES[by].name}"]
            if (table.data["n"] > 0).any():
                yield Figure.of(
                    table,
                    _READ_LIMIT if by == "limit_snr" else _READ_CEILING,
                    FractionDisplay(table.data, "completeness", by),
                )
        table = tables["efficiency"]
        if (table.data["n"] > 0).any():
            yield Figure.of(
                table,
                "Bright is better; each cell holds the completeness and, below it, the number of "
                "true sources, and is hatched where there are none.",
                EfficiencyDisplay(table.data),
            )
        table = tables["count_matrix"]
        if (table.data.loc[table.data["scenes"] > 0, "n_true"] > 0).any():
            yield Figure.of(
                table,
                "An ideal method has all scenes in the outlined cells; each cell holds the "
                "fraction of the scenes of its column, with the number of scenes where there is "
                "room.",
                CountMatrixDisplay(table.data),
            )

    def definitions(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Definition]:
        """Yield what sources are told apart by."""
        if tables:
            yield Definition(
                "Neighbour distance",
                "Completeness: from a true source to the nearest other with a signal-to-noise "
                "ratio above 2. Purity: from a detection to the nearest other detection.",
            )
            yield Definition(
                "Magnitude",
                "Completeness: the true one. Purity: in an aperture of 0.5 arcsec radius at the "
                "detection, the same for every method.",
            )


def _efficiency(run: Collected, of_method: Mapping[str, pd.DataFrame]) -> Table:
    magnitude, distance = OF_SOURCES["magnitude"], OF_SOURCES["neighbour_distance_arcsec"]
    edges = run.rules.edges(magnitude), run.rules.edges(distance)
    data = stacked({m: efficiency_table(truth, *edges) for m, truth in of_method.items()})
    return Table(
        "efficiency",
        "Completeness by magnitude and neighbour distance",
        data,
        _COMPLETENESS,
        Layout(
            ("magnitude_lo", "magnitude_hi"),
            ("value",),
            across=("lo", "hi"),
            split="method",
            in_report=False,
        ),
        caption=(
            "Completeness (recall) by magnitude (rows) and distance to the nearest neighbour in "
            "arcsec (columns)."
        ),
        quantity=distance,
        shown=filled_cells(data),
    )


def _count_matrix(run: Collected, of_method: Mapping[str, pd.DataFrame]) -> Table:
    data = stacked({m: _tidy_counts(truth, run.n_scenes_of(m)) for m, truth in of_method.items()})
    return Table(
        "count_matrix",
        "How many of the sources of a scene are found",
        data,
        _COUNTS,
        Layout(("n_matched",), ("scenes",), across=("n_true",), split="method", in_report=False),
        caption=(
            "Number of scenes by the number of true sources (columns) and of those found (rows)."
        ),
        shown=_filled_counts(data),
    )


def _tidy_counts(truth: pd.DataFrame, n_scenes: int) -> pd.DataFrame:
    counts = count_matrix(truth, n_scenes)
    found, true = np.indices(counts.shape)
    return pd.DataFrame(
        {
            "n_matched": found.ravel(),
            "n_true": true.ravel(),
            "scenes": counts.ravel(),
            "fraction": column_fractions(counts).ravel(),
        }
    )


def _filled_counts(data: pd.DataFrame) -> pd.DataFrame:
    """Return the same cells for every method, from the fewest sources of any scene to the most."""
    some = data[data["scenes"] > 0]
    if some.empty:
        return some
    ranges = [range(some[c].min(), some[c].max() + 1) for c in ("n_matched", "n_true")]
    cells = pd.MultiIndex.from_product(
        [methods_of(data), *ranges], names=["method", "n_matched", "n_true"]
    )
    scenes = data.set_index(list(cells.names))["scenes"]
    return scenes.reindex(cells, fill_value=0).reset_index()
