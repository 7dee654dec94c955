import pandas as pd
import pytest

from btk_punet.evaluation.studies.blends.outcome_tables import OUTCOME_TABLES, outcome_tables
from btk_punet.evaluation.studies.blends.regions import COMBINATIONS, OUTCOMES

NAMES = ["outcomes", *OUTCOME_TABLES.values(), "outcome_combinations"]


def regions(*rows):
    """Return a region table from (method, combination, distance)."""
    method, combination, distance = zip(*rows, strict=True) if rows else ((), (), ())
    table = pd.DataFrame({"method": method, "combination": combination})
    return table.assign(
        outcome=[COMBINATIONS[name] for name in combination],
        neighbour_distance_arcsec=pd.Series(distance, dtype=float),
        magnitude_difference=1.2,
        limit_snr=5.5,
    )


def test_nothing():
    tables = outcome_tables(regions(), ["a", "b"])
    assert list(tables) == NAMES
    assert tables["outcomes"]["method"].tolist() == ["a"] * 6 + ["b"] * 6
    for table in tables.values():
        assert (table["n"] == 0).all() and table["value"].isna().all()


def test_names():
    assert list(OUTCOME_TABLES.values()) == [
        "outcomes_by_neighbour_distance",
        "outcomes_by_magnitude_difference",
        "outcomes_by_limit_snr",
    ]


def test_counts():
    table = regions(
        ("a", "s = n, b = n", 0.6),
        ("a", "s = n, b = n", 0.4),
        ("a", "s = n, b = 0", 0.6),
        ("b", "s = 0, b = n", 0.6),
    )
    tables = outcome_tables(table, ["b", "a"])
    totals = tables["outcomes"].set_index(["method", "outcome"])
    assert totals.index.tolist() == [(method, o) for method in "ba" for o in OUTCOMES]
    assert totals.loc["a", "k"].tolist() == [2, 0, 0, 0, 0, 1]
    assert totals.loc[("a", "recognized"), "value"] == pytest.approx(2 / 3)
    assert totals.loc["b", "k"].tolist() == [0, 0, 0, 0, 1, 0]
    # What is unlisted is counted and shown.
    combinations = tables["outcome_combinations"].set_index(["method", "combination"])
    assert combinations.loc[("a", "s = n, b = 0"), ["outcome", "k"]].tolist() == ["other", 1]
    assert combinations["k"].sum() == 4
    by_distance = tables["outcomes_by_neighbour_distance"]
    assert by_distance["lo"].unique().tolist() == [0.3, 0.5]
    recognized = by_distance.query("method == 'a' and outcome == 'recognized'")
    assert recognized[["n", "k"]].to_numpy().tolist() == [[1, 1], [2, 1]]
    assert tables["outcomes_by_limit_snr"]["lo"].unique().tolist() == [5.0]
    assert tables["outcomes_by_magnitude_difference"]["lo"].unique().tolist() == [1.0]
