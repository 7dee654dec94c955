"""Which detections are false? Purity by magnitude and by distance to the next detection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from btk_punet.evaluation.plotting.fractions import FractionDisplay
from btk_punet.evaluation.plotting.style import bin_label
from btk_punet.evaluation.quantities import OF_DETECTIONS
from btk_punet.evaluation.scoring.counting import purity_table, purity_total
from btk_punet.evaluation.studies.base import Collected, Figure, Study
from btk_punet.evaluation.studies.table import Layout, Table, fraction_columns, stacked, trimmed

# Bins with fewer detections are not spoken of.
FEWEST_DETECTIONS = 30
# So many methods are spoken of at most.
MOST_METHODS = 3

_READ = "Higher is better; the grey numbers on top are those of the detections"
_HOW_TO_READ = {
    "magnitude": f"{_READ}.",
    "neighbour_distance_arcsec": f"{_READ}, and low purity at small distances means shredded "
    "galaxies.",
}
_COLUMNS = fraction_columns(
    "number of detections", "number of them that are matched to a source", "purity (precision)",
    "Purity", "Detections",
)  # fmt: skip


class FalseDetections(Study):
    """Purity by what is measured of the detections, the same for every method."""

    anchor = "false"
    title = "Which detections are false?"
    lead = (
        "Purity is the fraction of the detections that are true sources; what is missing from 1 "
        "is noise, and galaxies split into several detections."
    )

    def tables(self, run: Collected) -> Iterator[Table]:
        """Yield purity by each quantity, one row per method and bin."""
        of_method = run.by_method("detections")
        if not of_method:
            return
        for by, quantity in OF_DETECTIONS.items():
            edges = run.rules.edges(quantity)
            data = trimmed(
                stacked({m: purity_table(found, by, edges) for m, found in of_method.items()})
            )
            yield Table(
                f"purity_by_{quantity.name}",
                f"Purity by {quantity.words}",
                data,
                _COLUMNS,
                Layout(
                    ("lo", "hi"),
                    ("n", "value"),
                    across=("method",),
                    shared=("n",),
                    in_report=bool((data["n"] > 0).any()),
                ),
                caption=f"Purity (precision) by {quantity.words}, with the number of detections.",
                quantity=quantity,
            )

    def figures(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Figure]:
        """Yield purity by each quantity."""
        for by, quantity in OF_DETECTIONS.items():
            table = tables.get(f"purity_by_{quantity.name}")
            if table is not None and (table.data["n"] > 0).any():
                yield Figure.of(
                    table,
                    _HOW_TO_READ[by],
                    FractionDisplay(table.data, "purity", by),
                )

    def answers(self, run: Collected, tables: Mapping[str, Table]) -> dict[str, str]:
        """Return how pure the methods are, and where they are clearly less pure.

        Spoken of are the methods that give probabilities; if none does, all, if they are few.
        """
        of_method = run.by_method("detections")
        chosen = [m for m, found in of_method.items() if found["p_detect"].notna().any()]
        if not chosen and len(of_method) <= MOST_METHODS:
            chosen = list(of_method)
        said = [
            sentence
            for method in chosen[:MOST_METHODS]
            if (sentence := _price(method, of_method[method], tables)) is not None
        ]
        return {"price": " ".join(said)} if said else {}


def _price(method: str, found: pd.DataFrame, tables: Mapping[str, Table]) -> str | None:
    """Return a sentence on the purity of a method; None without detections."""
    total = purity_total(found).iloc[0]
    if total["n"] == 0:
        return None
    text = (
        f"Of the {total['n']:,.0f} detections of {method}, {total['value']:.1%} are true sources "
        f"(68% interval {total['value_lo']:.1%} to {total['value_hi']:.1%})"
    )
    bins = [
        rows[rows["method"] == method].assign(by=by)
        for by, quantity in OF_DETECTIONS.items()
        for rows in [tables[f"purity_by_{quantity.name}"].data]
    ]
    data = pd.concat(bins, ignore_index=True)
    # No place is named that may be less pure by chance.
    data = data[(data["n"] >= FEWEST_DETECTIONS) & (data["value_hi"] < total["value_lo"])]
    if data.empty:
        return f"{text}, and nowhere clearly fewer."
    worst = data.loc[data["value"].idxmin()]
    return f"{text}; the fewest are {_place(worst)}: {worst['value']:.0%} of {worst['n']:,}."


def _place(row: pd.Series) -> str:
    """Return in words where a bin lies."""
    if row["lo"] == row["hi"]:
        return "among those without a positive flux"
    label = bin_label(row["lo"], row["hi"])
    if row["by"] == "magnitude":
        return f"at an aperture magnitude of {label}"
    return f"where the nearest other detection is {label} arcsec away"
