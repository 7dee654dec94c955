"""Who finds more at the same purity? Margins, the curve, and the share of the ceiling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from btk_punet.evaluation.quantities import METHOD, OF_SOURCES, WILSON, Column
from btk_punet.evaluation.scoring.counting import headline_table
from btk_punet.evaluation.scoring.matching import Matcher
from btk_punet.evaluation.studies.base import Collected, Definition, Figure, Study
from btk_punet.evaluation.studies.equal_purity.ceiling_share import (
    COMMON_PURITY,
    ceiling_share_table,
)
from btk_punet.evaluation.studies.equal_purity.curves import PurityCompletenessDisplay
from btk_punet.evaluation.studies.equal_purity.of_run import margins_of_run
from btk_punet.evaluation.studies.equal_purity.sweep import PuritySweep, sweep_purity
from btk_punet.evaluation.studies.table import Layout, Table, all_described, rows_of_methods

_DISTANCE = OF_SOURCES["neighbour_distance_arcsec"]
_PAIRED = "Each bootstrap draw takes the same scenes for both methods."
# So many margins are spoken of.
MOST_ANSWERS = 3

_DETECTOR = Column(
    "detector", "method with probabilities, whose threshold is raised to equal the other's purity"
)
_MARGINS = all_described(
    (
        _DETECTOR,
        Column("purity", "purity of the other method", heading="Its purity", format=".3f"),
        Column("threshold", "least p_detect of a detection of the detector, at this purity"),
        Column("reached", "whether the detector is ever so pure"),
        Column("n_scenes", "number of scenes that both methods have", format=",d"),
        Column("n", "number of sources that count", heading="Sources", format=",d"),
        Column(
            "completeness_other", "completeness of the other method",
            heading="Its completeness", format=".3f",
        ),
        Column(
            "completeness", "completeness of the detector at this purity",
            heading="Completeness at this purity", format=".3f",
        ),
        Column(
            "margin", "completeness of the detector less that of the other method, at its purity",
            heading="Margin", format="+.3f", interval="68% bootstrap interval",
        ),
        Column("margin_lo_95", "lower end of the 95% bootstrap interval of margin"),
        Column("margin_hi_95", "upper end of the 95% bootstrap interval of margin"),
        Column("interval_95", "the same as a text", heading="95% interval"),
        Column("reached_share", "share of the bootstrap draws in which the detector is so pure"),
    )
)  # fmt: skip
_CURVE = all_described(
    (
        Column("threshold", "least p_detect of a detection"),
        Column("n_detections", "number of detections in bounds"),
        Column("n_matched_detections", "number of them that are matched"),
        Column("purity", "purity (precision): matched detections / detections", interval=WILSON),
        Column("n_truth", "number of sources that count"),
        Column("n_found", "number of them that are found"),
        Column(
            "completeness", "completeness (recall): sources found / sources that count",
            interval=WILSON,
        ),
    )
)  # fmt: skip
_SHARE = all_described(
    (
        Column(
            "purity", "purity at which the method is taken; NaN if it is less pure than asked for",
            heading="At purity", format=".3f",
        ),
        Column("threshold", "least p_detect of a detection; NaN without probabilities"),
        Column("completeness", "completeness there", heading="Completeness", format=".3f"),
        Column("ceiling", "information ceiling, whatever the purity"),
        Column(
            "share", "completeness / ceiling", heading="Share of the ceiling", format=".3f",
            interval=WILSON,
        ),
        Column("reached", "whether the method is as pure as asked for"),
    )
)  # fmt: skip


class EqualPurity(Study):
    """Completeness of the methods with probabilities at the purity of each other one."""

    anchor = "equal-purity"
    title = "Who finds more at the same purity?"
    lead = (
        "Any method finds more if it may make more false detections, so that completeness is "
        "compared fairly at the same purity only."
    )

    def tables(self, run: Collected) -> Iterator[Table]:
        """Yield the share of the ceiling, and for methods with probabilities margins and curve."""
        headline = _headline(run)
        if headline.empty:
            return
        candidates = {m: rows for m, rows in run.by_method("candidates").items() if len(rows)}
        sweeps = {m: _sweep(run, m, rows) for m, rows in candidates.items()}
        curves = _joined({m: sweep.curve() for m, sweep in sweeps.items()}, METHOD.name)
        yield _ceiling_share(headline, curves)
        if curves is None:
            return
        for name, by in (("equal_purity", None), (f"equal_purity_by_{_DISTANCE.name}", _DISTANCE)):
            data = _joined(
                {m: _margins(run, m, sweep, by is not None) for m, sweep in sweeps.items()},
                _DETECTOR.name,
            )
            if data is not None:
                yield _margin_table(name, data, by is not None)
        yield Table(
            "purity_completeness",
            "Completeness and purity as the threshold is raised",
            curves,
            _CURVE,
        )

    def figures(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Figure]:
        """Yield completeness against purity."""
        table = tables.get("purity_completeness")
        if table is not None:
            yield Figure.of(
                table,
                "Up and to the right is better; a method whose point lies below the curve finds "
                "less at the same purity, and the dashed line is the information ceiling.",
                PurityCompletenessDisplay(rows_of_methods(table.data), _headline(run)),
            )

    def definitions(self, run: Collected, tables: Mapping[str, Table]) -> Iterator[Definition]:
        """Yield what equal purity is."""
        if "equal_purity" in tables:
            yield Definition(
                "Equal purity",
                "A method that gives probabilities can be as pure as it likes, at the cost of "
                "completeness. So it is compared with each other method at that one's purity over "
                "all scenes: its threshold is raised from 0.02 until it is as pure, matching anew "
                "at each step. The margin is its completeness less the other's; its interval is "
                "from a bootstrap over scenes, the same ones for both.",
            )

    def answers(self, run: Collected, tables: Mapping[str, Table]) -> dict[str, str]:
        """Return what each method with probabilities gains over others, at most three of them."""
        if "equal_purity" not in tables:
            return {}
        data = tables["equal_purity"].data
        # Those without probabilities first.
        data = data.assign(own=data["method"].isin(data["detector"]))
        data = data.sort_values("own", kind="stable")[:MOST_ANSWERS]
        return {"gain": " ".join(_gain(row, run.n_scenes) for _, row in data.iterrows())}


def _headline(run: Collected) -> pd.DataFrame:
    return headline_table(run.by_method("truth"), run.by_method("detections"))


def _joined(parts: Mapping[str, pd.DataFrame], column: str) -> pd.DataFrame | None:
    """Return the tables of methods as one, their names in its first column; None without any."""
    some = {name: table for name, table in parts.items() if len(table)}
    if not some:
        return None
    for name, table in some.items():
        table.insert(0, column, pd.Series(name, index=table.index, dtype=object))
    return pd.concat(some.values(), ignore_index=True)


def _sweep(run: Collected, detector: str, candidates: pd.DataFrame) -> PuritySweep:
    """Return what a detector finds at each threshold, for its curve and for its margins."""
    matcher = Matcher(run.rules.radius_arcsec, run.pixel_scale_arcsec)
    return sweep_purity(run.by_method("truth")[detector], candidates, matcher=matcher)


def _margins(run: Collected, detector: str, sweep: PuritySweep, binned: bool) -> pd.DataFrame:
    """Return a detector's margins over all others; no rows without others, or without sources."""
    bins = (_DISTANCE.key, run.rules.edges(_DISTANCE)) if binned else ()
    table = margins_of_run(run, detector, *bins, sweep=sweep)
    return table[table["n"] > 0].copy() if binned and len(table) else table


def _margin_table(name: str, data: pd.DataFrame, binned: bool) -> Table:
    if binned:
        return Table(
            name,
            f"Margin at equal purity by {_DISTANCE.words}",
            data,
            _MARGINS,
            Layout(
                ("lo", "hi"), ("n", "margin"), across=("method",), shared=("n",), split="detector"
            ),
            how_to_read=(
                "Positive is better; the threshold is the one that makes the purities equal over "
                "all distances."
            ),
            caption=(
                "Completeness less that of each other method at the other's purity, by "
                f"{_DISTANCE.words}, with the number of sources. {_PAIRED}"
            ),
            quantity=_DISTANCE,
        )
    return Table(
        name,
        "Completeness at the purity of each other method",
        data,
        _MARGINS,
        Layout(
            ("method",),
            ("purity", "completeness_other", "completeness", "margin", "interval_95"),
            split="detector",
        ),
        how_to_read=(
            "A positive margin means that it finds more sources with as few false ones; it is "
            "beyond doubt where the 95% interval leaves out 0."
        ),
        caption=(
            f"Completeness at the purity of each other method, and its margin over it. {_PAIRED}"
        ),
        shown=data.assign(interval_95=[_interval(row, "_95") for _, row in data.iterrows()]),
    )


def _ceiling_share(headline: pd.DataFrame, curves: pd.DataFrame | None) -> Table:
    data = ceiling_share_table(headline, curves)
    return Table(
        "ceiling_share",
        f"Share of the information ceiling at purity {COMMON_PURITY:g}",
        data,
        _SHARE,
        Layout(
            ("method",),
            ("purity", "completeness", "share"),
            in_report=bool(data["ceiling"].notna().any()),
        ),
        how_to_read=(
            "1 would be to find as much as can be told from unknown neighbours; a method without "
            "probabilities has its own purity, and no figure if it is less pure."
        ),
        caption=(
            "Completeness at one purity (of a method without probabilities, at its own if as "
            "high), and its share of the information ceiling, the completeness of finding just "
            "the sources that can be told from unknown neighbours at 5 sigma."
        ),
    )


def _gain(row: pd.Series, n_scenes: int) -> str:
    """Return a sentence on one margin, which claims no more than its intervals do.

    Args:
        row: The margin.
        n_scenes: Number of scenes of the run.
    """
    detector, other, purity = row["detector"], row["method"], row["purity"]
    if np.isnan(purity):
        return f"{other} detects nothing, so {detector} cannot be compared at its purity."
    if not row["reached"]:
        return f"{detector} is at no threshold as pure as {other} ({purity:.3f})."
    doubt = f"68% interval {_interval(row)}, 95% {_interval(row, '_95')}"
    if row["margin_lo_95"] > 0 or row["margin_hi_95"] < 0:
        more = "more" if row["margin"] > 0 else "fewer"
        found = f"finds {abs(row['margin']):.3f} {more} of the sources ({doubt})"
    else:
        found = (
            f"finds neither clearly more nor fewer of the sources: {row['margin']:+.3f} ({doubt})"
        )
    text = f"At the purity of {other} ({purity:.3f}) {detector} {found}"
    if row["reached_share"] < 0.9:
        text += f", though it is so pure in only {row['reached_share']:.0%} of the draws"
    if row["n_scenes"] < n_scenes:
        text += f", on the {row['n_scenes']:,} of {n_scenes:,} scenes that both have"
    return f"{text}.".replace(" -", " −")


def _interval(row: pd.Series, level: str = "") -> str | float:
    low, high = row[f"margin_lo{level}"], row[f"margin_hi{level}"]
    return np.nan if np.isnan(low) else f"{low:+.3f} to {high:+.3f}".replace("-", "−")
