"""The question of the report: are blends recognized?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping

import pandas as pd

from btk_punet.evaluation.quantities import METHOD, OF_BLENDS, WILSON, Column
from btk_punet.evaluation.scoring.matched import MatchedBatch
from btk_punet.evaluation.studies.base import Collected, Definition, Figure, Study, Tidy
from btk_punet.evaluation.studies.blends.outcomes import (
    OutcomesDisplay,
    combination_totals,
    outcome_table,
    outcome_totals,
)
from btk_punet.evaluation.studies.blends.regions import region_table
from btk_punet.evaluation.studies.table import Layout, Table, all_described, stacked, trimmed

_OUTCOME = Column("outcome", "what becomes of the blend", heading="Outcome")
_COMBINATION = Column(
    "combination",
    "of n sources, s are detected when each is alone, and b detections are there when all are",
    heading="Combination",
)
_REGIONS = Tidy(
    "regions",
    (
        Column("scene", "number of the scene in the run"),
        METHOD,
        Column("region", "number of the blend in its scene"),
        Column("n", "number of its sources"),
        Column("s", "number of them that are detected when each is alone"),
        Column("b", "number of detections inside the blend"),
        _OUTCOME,
        _COMBINATION,
        Column("x", "mean column of its sources", "pixel"),
        Column("y", "mean row of its sources", "pixel"),
        *(Column(of.key, of.words, of.unit) for of in OF_BLENDS.values()),
    ),
    sort_by=("scene", "region"),
)
_COLUMNS = all_described(
    (
        _OUTCOME,
        _COMBINATION,
        Column("n", "number of blends", heading="Blends", format=",d"),
        Column("k", "number of them with this outcome", format=",d"),
        Column(
            "value", "k / n; NaN where n is 0", heading="Fraction", format=".2f", interval=WILSON
        ),
    )
)
_READ = {
    "neighbour_distance_arcsec": (
        "More of the lowest colour, recognized, is better; its error bar is the 68% interval, and "
        "the grey numbers on top are those of the blends."
    ),
    "magnitude_difference": (
        "More of the lowest colour, recognized, is better; a growing share of undetected and "
        "unrecognized blends to the right means that faint companions are lost."
    ),
    "limit_snr": (
        "More of the lowest colour, recognized, is better; to the right of 5, all sources of a "
        "blend can be told apart, and blends not recognized there are information left unused."
    ),
}


class Blends(Study):
    """What becomes of blends: recognized, unrecognized, shredded, undetected, merged or other."""

    anchor = "blends"
    title = "Are blends recognized?"
    lead = (
        "Asked of each true blend as a whole: whether it is taken for as many sources as it holds."
    )
    collects = (_REGIONS,)
    runs_methods = True

    def collect(self, batch: MatchedBatch) -> Mapping[str, pd.DataFrame]:
        """Run every method on each source of a blend alone, and return `region_table`."""
        if not batch.deblenders:
            return {}
        # What a method warns of images that nobody gave it says nothing of the scenes.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            regions = region_table(
                batch.blend_batch,
                batch.truth,
                batch.detections,
                batch.deblenders,
                batch.first_scene,
                batch.rules.radius_arcsec,
            )
        return {_REGIONS.name: regions}

    def tables(self, run: Collected) -> Iterator[Table]:
        """Yield the outcomes of all blends, those in bins of each quantity, and combinations."""
        regions = run.by_method(_REGIONS.name)
        if not regions:
            return
        totals = stacked({method: outcome_totals(rows) for method, rows in regions.items()})
        some = bool((totals["n"] > 0).any())
        yield Table(
            "outcomes",
            "What becomes of blends",
            totals,
            _COLUMNS,
            Layout(("method",), ("n", "value"), across=("outcome",), shared=("n",), in_report=some),
            how_to_read=(
                "Fractions of the blends, which add up to 1 in each row: more recognized is "
                "better. What the outcomes are is explained below."
            ),
            caption=(
                "What becomes of blends: fractions of the connected regions of two sources or more."
            ),
            shown=_capitalized(totals),
        )
        for by, quantity in OF_BLENDS.items():
            edges = run.rules.edges(quantity)
            parts = {method: outcome_table(rows, by, edges) for method, rows in regions.items()}
            data = trimmed(stacked(parts))
            yield Table(
                f"outcomes_by_{quantity.name}",
                f"What becomes of blends, by {quantity.words}",
                data,
                _COLUMNS,
                Layout(
                    ("lo", "hi"), ("n", "value"), across=("outcome",), shared=("n",),
                    split="method", in_report=False,
                ),
                caption=f"What becomes of blends by {quantity.words}.",
                quantity=quantity,
                shown=_capitalized(data),
            )  # fmt: skip
        data = stacked({method: combination_totals(rows) for method, rows in regions.items()})
        occurs = data.groupby("combination")["k"].transform("sum") > 0
        yield Table(
            "outcome_combinations",
            "Blends by what is detected",
            data,
            _COLUMNS,
            Layout(("combination", "outcome"), ("k",), across=("method",), in_report=some),
            how_to_read=(
                "Numbers of blends: of n sources, s are detected when each is alone, and b "
                "detections are there when all are."
            ),
            caption=(
                "Number of blends of n sources of which s are detected when each is alone, with b "
                "detections when all are there; combinations without any blend are left out."
            ),
            shown=_capitalized(data[occurs]),
        )

    def figures(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Figure]:
        """Yield stacked bars by each quantity."""
        for by, quantity in OF_BLENDS.items():
            table = tables.get(f"outcomes_by_{quantity.name}")
            if table is not None and (table.data["n"] > 0).any():
                yield Figure.of(table, _READ[by], OutcomesDisplay(table.data, by))

    def definitions(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Definition]:
        """Yield what a blend and its outcomes are."""
        if not tables:
            return
        yield Definition(
            "Blend",
            "Two or more sources whose true footprints (where the noiseless flux of a source "
            "exceeds one sigma of the background) are connected by shared pixels. Sources with a "
            "signal-to-noise ratio of 2 or less are left out. Blends count if all of their sources "
            "lie away from the edge.",
        )
        yield Definition(
            "What becomes of a blend",
            "Each of its sources is drawn alone, in the very same noise, and the same method runs "
            "on that image. Recognized: the method detects every source alone, and as many in the "
            "blend as there are. Unrecognized: it detects every source alone, but fewer in the "
            "blend. Shredded: it detects every source alone, and more in the blend than there are. "
            "Undetected: it misses some of the sources even alone, and detects as many in the "
            "blend as it detects alone. Merged: it detects none of them alone, but something where "
            "they overlap. Other: everything else, listed in the table of combinations. A "
            "detection belongs to a blend if it is matched to one of its sources, on its pixels, "
            f"or within {run.rules.radius_arcsec:g} arcsec of one.",
        )

    def answers(self, run: Collected, tables: Mapping[str, Table]) -> Mapping[str, str]:
        """Return which share of the blends each method shreds, and does not recognize."""
        if "outcomes" not in tables or not (tables["outcomes"].data["n"] > 0).any():
            return {}
        data = tables["outcomes"].data
        share = data.set_index(["method", "outcome"])["value"]
        of_methods = "; ".join(
            f"{method} shreds {share[method, 'shredded']:.1%} and leaves "
            f"{share[method, 'unrecognized']:.1%} unrecognized"
            for method in dict.fromkeys(data["method"])
        )
        return {
            "price": (
                f"Of {data['n'].iloc[0]:,} blends, {of_methods} (more, or fewer, detections than "
                "sources, although the method detects each of them alone)."
            )
        }


def _capitalized(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(outcome=table["outcome"].str.capitalize())
