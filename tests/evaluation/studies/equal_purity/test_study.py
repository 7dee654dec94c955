"""Equal purity as a study: whose margins there are, and what is said of them."""

import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.report.latex import latex_table
from btk_punet.evaluation.scoring.batch import batch_tables
from btk_punet.evaluation.scoring.rules import Rules
from btk_punet.evaluation.studies.base import Collected
from btk_punet.evaluation.studies.equal_purity.study import EqualPurity
from tests.evaluation.conftest import (
    bright_scenes,
    collected,
    deblend_batch,
    detection_table,
    tables_of,
)

# Each scene: two sources 6 pixels apart, and one on its own.
SOURCES = [(20, 20), (26, 20), (45, 45)]
# Finds one of the pair and the single source, with one false detection.
OTHER = [(20, 20, np.nan), (45, 45, np.nan), (5, 5, np.nan)]
SPURIOUS = (5, 5, 0.2)


def sure(*p_detect):
    return [(*place, p) for place, p in zip(SOURCES, p_detect, strict=True)]


def run_of(n_scenes=10, sources=SOURCES, **methods):
    """Return a run of scenes that are all alike.

    Args:
        n_scenes: Number of scenes.
        sources: Their places.
        methods: Of each method, (x, y, p_detect) of its candidates; those of 0.5 or more are
            its detections. All NaN: it states none.
    """
    batch = bright_scenes([sources] * n_scenes)
    outputs, candidates = {}, {}
    for name, rows in methods.items():
        x, y, p = np.array(rows, float).reshape(-1, 3).T
        for kept, where in ((outputs, ~(p < 0.5)), (candidates, p > 0)):
            said = {} if np.isnan(p).any() else {"p_detect": p[where]}
            found = detection_table(batch, x[where], y[where], **said)
            kept[name] = deblend_batch([found] * n_scenes)
    truth, detections = batch_tables(batch, outputs)
    _, table = batch_tables(batch, candidates, with_limit=False)
    own = {"candidates": table} if len(table) else {}
    return collected(truth, detections, list(methods), n_scenes, **own)


def test_nothing():
    run = Collected([], 0, {})
    assert tables_of(EqualPurity(), run) == {}
    run = run_of(2, [], a=[])
    tables = tables_of(EqualPurity(), run)
    assert list(tables) == ["ceiling_share"] and not tables["ceiling_share"].layout.in_report
    for given in ({}, tables):
        assert list(EqualPurity().figures(run, given)) == []
        assert list(EqualPurity().definitions(run, given)) == []
        assert EqualPurity().answers(run, given) == {}


def test_candidates_without_sources():
    run = run_of(2, [], plain=[], net=[SPURIOUS])
    tables = tables_of(EqualPurity(), run)
    assert list(tables) == ["ceiling_share", "purity_completeness"]
    assert tables["purity_completeness"].data["completeness"].isna().all()


def test_margins_over_everything_and_by_distance():
    run = run_of(other=OTHER, net=[*sure(0.9, 0.9, 0.9), SPURIOUS])
    tables = tables_of(EqualPurity(), run)
    margins = tables["equal_purity"].data
    assert margins[["detector", "method"]].to_numpy().tolist() == [["net", "other"]]
    row = margins.iloc[0]
    assert row["purity"] == pytest.approx(2 / 3)
    assert (row["completeness"], row["completeness_other"]) == (1.0, pytest.approx(2 / 3))
    # All scenes are alike, so every draw of them is.
    for name in ("margin", "margin_lo", "margin_hi", "margin_lo_95", "margin_hi_95"):
        assert row[name] == pytest.approx(1 / 3)
    by_distance = tables["equal_purity_by_neighbour_distance"]
    rows = by_distance.data.set_index("lo")
    assert rows["n"].to_dict() == {0.5: 20, 2.0: 10}
    assert rows["margin"].to_dict() == {0.5: pytest.approx(1 / 2), 2.0: 0.0}
    latex = latex_table(tables["equal_purity"])
    assert r"other & 0.667 & 0.667 & 1.000 & $+0.333^{+0.000}_{-0.000}$ & +0.333 to +0.333" in latex
    assert r"0.5--0.8 & 20 & $+0.500^{+0.000}_{-0.000}$ \\" in latex_table(by_distance)
    assert latex_table(tables["purity_completeness"]) == ""
    assert [figure.name for figure in EqualPurity().figures(run, tables)] == ["purity_completeness"]
    said = EqualPurity().answers(run, tables)["gain"]
    assert said.startswith(
        "At the purity of other (0.667) net finds 0.333 more of the sources (68%"
    )


def test_bins_and_radius_of_the_user():
    run = run_of(other=OTHER, net=sure(0.9, 0.9, 0.9))
    run.rules = Rules(radius_arcsec=0.05, distance_bins=[0, 1])
    tables = tables_of(EqualPurity(), run)
    by_distance = tables["equal_purity_by_neighbour_distance"].data
    assert by_distance[["lo", "hi", "n"]].to_numpy().tolist() == [[0, 1, 20]]
    run.tidy["candidates"]["x"] += 1.0  # 0.1 arcsec off
    curve = tables_of(EqualPurity(), run)["purity_completeness"].data
    assert curve["n_found"].tolist() == [0]


def test_detectors_are_compared_with_each_other():
    run = run_of(sure=sure(0.9, 0.9, 0.9), halting=sure(0.9, 0.3, 0.8))
    tables = tables_of(EqualPurity(), run)
    table = tables["equal_purity"].data
    assert table[["detector", "method"]].to_numpy().tolist() == [
        ["sure", "halting"],
        ["halting", "sure"],
    ]
    assert table["margin"].tolist() == [pytest.approx(1 / 3), 0.0]
    assert "neither clearly more nor fewer" in EqualPurity().answers(run, tables)["gain"]


def test_curve_is_of_each_threshold():
    tables = tables_of(EqualPurity(), run_of(net=[*sure(0.9, 0.6, 0.3), SPURIOUS]))
    curve = tables["purity_completeness"].data
    assert curve["threshold"].tolist() == [0.2, 0.3, 0.6, 0.9]
    assert curve["n_detections"].tolist() == [40, 30, 20, 10]
    assert curve["purity"].tolist() == [0.75, 1, 1, 1]
    np.testing.assert_allclose(curve["completeness"], [1, 1, 2 / 3, 1 / 3])
    assert "equal_purity" not in tables


def said_of(**changes):
    """Return what is said of one margin."""
    row = {
        "detector": "net", "method": "SEP", "purity": 0.98, "reached": True, "margin": 0.05,
        "margin_lo": 0.02, "margin_hi": 0.08, "margin_lo_95": 0.01, "margin_hi_95": 0.12,
        "reached_share": 1.0, "n_scenes": 2,
    }  # fmt: skip
    run = run_of(2, net=sure(0.9, 0.9, 0.9), SEP=OTHER)
    tables = tables_of(EqualPurity(), run)
    tables["equal_purity"] = type("T", (), {"data": pd.DataFrame([row | changes])})
    return EqualPurity().answers(run, tables)["gain"]


def test_claims_no_more_than_the_intervals():
    assert said_of() == (
        "At the purity of SEP (0.980) net finds 0.050 more of the sources (68% interval +0.020 to "
        "+0.080, 95% +0.010 to +0.120)."
    )
    assert "neither clearly more nor fewer" in said_of(margin_lo_95=-0.01)
    fewer = said_of(margin=-0.05, margin_lo=-0.08, margin_hi=-0.02, margin_hi_95=-0.01)
    assert "finds 0.050 fewer of the sources (68% interval −0.080 to −0.020" in fewer
    assert "so pure in only 40% of the draws" in said_of(reached_share=0.4)
    assert said_of(reached=False) == "net is at no threshold as pure as SEP (0.980)."
    assert "SEP detects nothing" in said_of(purity=np.nan, reached=False)
