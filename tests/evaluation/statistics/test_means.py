import numpy as np
import pandas as pd
import pytest

from btk_punet.errors import InputError
from btk_punet.evaluation.statistics.means import binned_sums, merged_means

COLUMNS = ["lo", "hi", "n", "value", "error", "value_lo", "value_hi"]


def test_nothing():
    table = merged_means([binned_sums([], [], [0, 1, 2])])
    assert table.columns.tolist() == COLUMNS
    assert table["n"].tolist() == [0, 0]
    assert table[COLUMNS[3:]].isna().all(axis=None)
    with pytest.raises(InputError, match="call the metric on a batch first"):
        merged_means([])


def test_by_hand():
    values = [0.0, 0.5, 1.0, np.inf, -1.0, np.nan]
    sums = binned_sums(values, [0.2, 0.6, 0.3, 0.5, 9.0, 9.0], [0, 1, 2, np.inf])
    assert sums["n"].tolist() == [2, 1, 1]
    assert sums["sum"].tolist() == pytest.approx([0.8, 0.3, 0.5])
    assert sums["sum_of_squares"].tolist() == pytest.approx([0.4, 0.09, 0.25])
    means = merged_means([sums])
    assert means["value"].tolist() == pytest.approx([0.4, 0.3, 0.5])
    # The scatter of 0.2 and 0.6 is sqrt(0.08), the error of their mean sqrt(0.04).
    assert means["error"].tolist() == pytest.approx([0.2, np.nan, np.nan], nan_ok=True)
    assert means.loc[0, ["value_lo", "value_hi"]].tolist() == pytest.approx([0.2, 0.6])


def test_error_is_that_of_numpy():
    rng = np.random.default_rng(0)
    measured = rng.random(50)
    row = merged_means([binned_sums(np.zeros(50), measured, [-1, 1])]).iloc[0]
    assert row["error"] == pytest.approx(measured.std(ddof=1) / np.sqrt(50))


def test_no_scatter_below_zero():
    means = merged_means([binned_sums(np.zeros(3), np.full(3, 0.1), [-1, 1])])
    assert means["error"].tolist() == pytest.approx([0.0], abs=1e-8)


def test_parts_equal_the_whole():
    rng = np.random.default_rng(1)
    values, measured = rng.random((2, 30))
    edges = [0, 0.3, 0.9]
    parts = [binned_sums(values[i::3], measured[i::3], edges) for i in (2, 0, 1)]
    whole = merged_means([binned_sums(values, measured, edges)])
    pd.testing.assert_frame_equal(merged_means(parts), whole)


def test_edges_are_checked():
    with pytest.raises(InputError, match="edges must be two or more increasing numbers"):
        binned_sums([1.0], [1.0], [2, 1])
