import numpy as np
import pytest
from scipy.special import ndtri

from btk_punet.evaluation.quantities import MAGNITUDE_EDGES, NEIGHBOUR_DISTANCE_EDGES
from btk_punet.evaluation.statistics.fractions import (
    CONFIDENCE,
    DEFAULT_EDGES,
    binned_fraction,
    check_edges,
    fractions,
)

COLUMNS = ["lo", "hi", "n", "k", "value", "value_lo", "value_hi"]


def counts(table):
    """Return {lo: (n, k)} of the bins that are not empty."""
    some = table[table["n"] > 0]
    return {row.lo: (row.n, row.k) for row in some.itertuples()}


def wilson(n, k):
    """Return the Wilson score interval, from its closed form."""
    z = ndtri(0.5 + CONFIDENCE / 2)
    p = k / n
    middle = p + z**2 / (2 * n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


class TestFractions:
    def test_nothing(self):
        assert len(fractions([], [])) == 0

    def test_no_trial_is_not_a_number(self):
        row = fractions([0], [0]).iloc[0]
        assert (row["n"], row["k"]) == (0, 0)
        assert np.isnan(row[["value", "value_lo", "value_hi"]].to_numpy(float)).all()

    @pytest.mark.parametrize(("n", "k"), [(1, 0), (1, 1), (2, 1), (10, 3), (1000, 999)])
    def test_wilson_interval(self, n, k):
        row = fractions([0, n], [0, k]).iloc[1]
        assert row["value"] == k / n
        assert (row["value_lo"], row["value_hi"]) == pytest.approx(wilson(n, k), abs=1e-12)

    def test_one_sigma_of_many_trials(self):
        row = fractions([1_000_000], [500_000]).iloc[0]
        assert row["value_hi"] - row["value"] == pytest.approx(0.5 / 1000, rel=1e-4)


class TestBinnedFraction:
    def test_nothing(self):
        table = binned_fraction(np.zeros(0), np.zeros(0, bool), [0, 1, 2])
        assert table.columns.tolist() == COLUMNS
        assert table["n"].tolist() == [0, 0]
        assert table["value"].isna().all()

    def test_lower_edge_is_in_and_upper_is_out(self):
        values = [-0.1, 0, 0.99, 1, 1.99, 2, 3]
        table = binned_fraction(values, np.ones(7, bool), [0, 1, 2])
        assert counts(table) == {0: (2, 2), 1: (2, 2)}

    def test_bins_of_the_neighbour_distance(self):
        values = [0, 0.3, 0.5, 0.8, 1.2, 2.0, 50, np.inf]
        table = binned_fraction(values, np.zeros(8, bool), NEIGHBOUR_DISTANCE_EDGES)
        assert table["lo"].tolist() == [0, 0.3, 0.5, 0.8, 1.2, 2.0]
        assert table["hi"].tolist() == [0.3, 0.5, 0.8, 1.2, 2.0, np.inf]
        assert table["n"].tolist() == [1, 1, 1, 1, 1, 3]

    def test_infinity_has_no_place_in_finite_bins(self):
        assert binned_fraction([np.inf, 0.5], [True, True], [0, 1])["n"].tolist() == [1]

    def test_unknown_values_are_not_counted(self):
        table = binned_fraction([np.nan, 0.5], [True, False], [0, np.inf])
        assert counts(table) == {0: (1, 0)}

    @pytest.mark.parametrize(
        "edges", [[], [1], [1, 1], [2, 1], [0, np.nan, 1], [[0, 1], [2, 3]], 5.0]
    )
    def test_edges_must_increase(self, edges):
        with pytest.raises(ValueError, match="edges must be two or more increasing numbers"):
            check_edges(edges)

    def test_default_edges(self):
        # No magnitude is left out: the bins at either end are open.
        assert MAGNITUDE_EDGES[0] == -np.inf and MAGNITUDE_EDGES[-1] == np.inf
        assert np.diff(MAGNITUDE_EDGES[1:-1]) == pytest.approx(0.5)
        for edges in DEFAULT_EDGES.values():
            check_edges(edges)
