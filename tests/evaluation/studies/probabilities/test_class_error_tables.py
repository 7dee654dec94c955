import numpy as np
import pandas as pd
import pytest

from btk_punet.evaluation.studies.probabilities.class_error_tables import (
    area_under_curve,
    class_error_tables,
)
from btk_punet.evaluation.studies.probabilities.classes import (
    class_probabilities,
    class_uncertainty,
    lit_pixels,
)
from tests.evaluation.conftest import bright_scenes
from tests.evaluation.sayers import PAIR_AND_ONE, RIGHT, SWAPPED, maps, saying

# Isolated pixels are right; the blended ones are said to be isolated, too.
NEVER_BLENDED = (0, 1, 1)


def tables_of(positions=(PAIR_AND_ONE,), methods=("m",), **options):
    batch = bright_scenes(list(positions))
    pixels = {"m": lit_pixels(batch, saying(batch, extra_data=maps(batch, **options)))}
    probabilities = {
        "class_probabilities": class_probabilities(pixels),
        "class_uncertainty": class_uncertainty(pixels),
    }
    return class_error_tables(probabilities, list(methods))


class TestArea:
    @pytest.mark.parametrize(("n", "k"), [([], []), ([3], [0]), ([3, 2], [3, 2])])
    def test_nothing_to_tell_apart(self, n, k):
        assert np.isnan(area_under_curve(n, k))

    @pytest.mark.parametrize(
        ("k", "area"), [([0, 0, 5], 1.0), ([5, 0, 0], 0.0), ([1, 1, 1], 0.5), ([0, 5, 0], 0.5)]
    )
    def test_closed_forms(self, k, area):
        assert area_under_curve([5, 5, 5], k) == pytest.approx(area)

    def test_pair_by_pair(self):
        rng = np.random.default_rng(1)
        level, wrong = rng.integers(0, 6, 200), rng.random(200) < 0.3
        n = np.bincount(level)
        k = np.bincount(level[wrong], minlength=len(n))
        pairs = np.sign(level[wrong][:, None] - level[~wrong])
        assert area_under_curve(n, k) == pytest.approx((pairs.mean() + 1) / 2)


def test_nothing():
    assert class_error_tables({}, ["m"]) == {}
    tables = tables_of([[], []])
    row = tables["class_errors"].iloc[0]
    assert (row["n_pixels"], row["n_wrong"]) == (0, 0)
    assert np.isnan([row["error_rate"], row["auc_variance"], row["auc_probability"]]).all()
    assert len(tables["class_error_curves"]) == 0


def test_other_methods_have_no_row():
    tables = tables_of(methods=("plain", "m"))
    assert tables["class_errors"]["method"].tolist() == ["m"]


@pytest.mark.parametrize(("said", "rate"), [(RIGHT, 0.0), (SWAPPED, 1.0)])
def test_all_right_or_all_wrong(said, rate):
    tables = tables_of(said=said, variance_of_wrong=0.5)
    row = tables["class_errors"].iloc[0]
    assert (row["n_pixels"], row["error_rate"]) == (60, rate)
    assert np.isnan([row["auc_variance"], row["auc_probability"]]).all()


@pytest.mark.parametrize(("variance_of_wrong", "area"), [(0.9, 1.0), (0.5, 0.5), (0.1, 0.0)])
def test_variance_that_knows_or_not(variance_of_wrong, area):
    tables = tables_of(said=NEVER_BLENDED, sure=0.75, variance_of_wrong=variance_of_wrong)
    row = tables["class_errors"].iloc[0]
    assert (row["n_pixels"], row["n_wrong"], row["error_rate"]) == (60, 15, 0.25)
    assert row["auc_variance"] == area
    # All pixels are as sure.
    assert row["auc_probability"] == 0.5


def test_without_variance():
    row = tables_of(said=NEVER_BLENDED)["class_errors"].iloc[0]
    assert np.isnan(row["auc_variance"]) and row["auc_probability"] == 0.5


def test_curves():
    curves = tables_of(said=NEVER_BLENDED, sure=0.75, variance_of_wrong=0.875)["class_error_curves"]
    expected = pd.DataFrame(
        {
            "method": "m",
            "predictor": ["class_variance", "class_variance", "class_probability"],
            "threshold": [0.875, 0.125, 0.25],
            "n": [15, 60, 60],
            "k": [15, 15, 15],
            "flagged_wrong": [1.0, 1.0, 1.0],
            "flagged_right": [0.0, 1.0, 1.0],
        }
    )
    pd.testing.assert_frame_equal(curves, expected)
    # The area between the points, joined by straight lines, is the one of the table.
    x, y = (np.array([0.0, *curves[name][:2]]) for name in ("flagged_right", "flagged_wrong"))
    assert ((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() == 1.0
