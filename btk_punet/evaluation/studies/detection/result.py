"""The result of a comparison in one table: completeness and purity of each method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from btk_punet.evaluation.quantities import WILSON, Column
from btk_punet.evaluation.scoring.counting import headline_table
from btk_punet.evaluation.studies.base import Collected, Definition, Study
from btk_punet.evaluation.studies.table import Layout, Table, all_described

CEILING_CAPTION = (
    "The information ceiling is the completeness of finding just the sources that can be told "
    "from unknown neighbours at 5 sigma."
)
_COLUMNS = all_described(
    (
        Column("completeness_n", "number of sources that count", heading="Sources", format=",d"),
        Column("completeness_k", "number of them that are found"),
        Column(
            "completeness", "completeness (recall): sources found / sources that count",
            heading="Completeness", format=".3f", interval=WILSON,
        ),
        Column("purity_n", "number of detections in bounds", heading="Detections", format=",d"),
        Column("purity_k", "number of them that are matched to a source"),
        Column(
            "purity", "purity (precision): matched detections / detections",
            heading="Purity", format=".3f", interval=WILSON,
        ),
        Column("ceiling_n", "number of sources that count and whose limit_snr is known"),
        Column("ceiling_k", "number of them with limit_snr > 5"),
        Column(
            "ceiling",
            "information ceiling: completeness of finding just the sources with limit_snr > 5",
            heading="Ceiling", format=".3f", interval=WILSON,
        ),
        Column("share", "completeness / ceiling", heading="Of the ceiling", format=".0%"),
        Column("ms_per_blend", "time per blend", "ms", "Time per blend", ",.1f"),
    )
)  # fmt: skip


class Result(Study):
    """Completeness, purity and information ceiling of each method over everything."""

    anchor = "result"
    title = "Result"
    lead = (
        "Completeness is the fraction of the true sources that a method finds, and purity the "
        "fraction of its detections that are true; the information ceiling is the completeness of "
        "finding just the sources that can be told from unknown neighbours at 5 sigma. Ranges in "
        "brackets are 68% intervals."
    )

    def tables(self, run: Collected) -> Iterator[Table]:
        """Yield ``headline``, one row per method."""
        data = headline_of(run)
        if data.empty:
            return
        cells = ["completeness_n", "completeness", "purity_n", "purity"]
        shown = data.assign(
            share=(data["completeness"] / data["ceiling"]).where(data["ceiling"] > 0)
        )
        known = bool(data["ceiling"].notna().any())
        if known:
            cells[2:2] = ["ceiling", "share"]
        if any(method in run.ms_per_blend for method in run.methods):
            shown["ms_per_blend"] = shown["method"].map(dict(run.ms_per_blend)).astype(float)
            cells.append("ms_per_blend")
        yield Table(
            "headline",
            "Completeness and purity of each method",
            data,
            _COLUMNS,
            Layout(("method",), tuple(cells), report_only=("ms_per_blend",)),
            caption=(
                "Completeness (recall) and purity (precision) over all sources and detections."
                + f" {CEILING_CAPTION}" * known
            ),
            shown=shown,
        )

    def definitions(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Definition]:
        """Yield how detections are counted."""
        if not tables:
            return
        rules = run.rules
        yield Definition(
            "Completeness", "Recall: matched true sources divided by true sources that count."
        )
        yield Definition(
            "Purity", "Precision: matched detections divided by detections, away from the edge."
        )
        yield Definition(
            "A source that counts",
            f"It would have a signal-to-noise ratio above {rules.min_snr:g} if it were alone in "
            "the image, and lies at least 2 pixels from the edge. Stars are sources. Fainter "
            "sources may be matched (above 2), so that finding one is not a false detection, but "
            "missing one is not an error.",
        )
        yield Definition(
            "Match",
            f"A true source and a detection closer than {rules.radius_arcsec:g} arcsec, one to "
            "one: as many pairs as possible, and of those the closest.",
        )
        if tables["headline"].data["ceiling"].notna().any():
            yield Definition(
                "Information ceiling",
                "The completeness of a method that finds exactly the sources that can be told to "
                "be there at 5 sigma (limit SNR above 5): its own profile is known, but flux, "
                "position, size and shape of all its neighbours are not. A method below it leaves "
                "information in the image unused. It is a yardstick and no bound: a method that "
                "accepts less than 5 sigma can lie above it, usually at a cost in purity.",
            )
        yield Definition(
            "Intervals",
            "68% Wilson intervals. All methods see the same scenes, so a difference between two "
            "of them is known better than the intervals of each suggest.",
        )


def headline_of(run: Collected) -> pd.DataFrame:
    """Return `headline_table` of a run; empty if it has no methods."""
    return headline_table(run.by_method("truth"), run.by_method("detections"))
