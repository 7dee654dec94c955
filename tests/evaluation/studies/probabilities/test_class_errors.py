import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from btk_punet.errors import InputError
from btk_punet.evaluation.studies.probabilities.class_errors import (
    ErrorPredictionDisplay,
    area_under_curve,
    class_error_tables,
)
from btk_punet.evaluation.studies.probabilities.classes import (
    class_probabilities,
    class_uncertainty,
    lit_pixels,
)
from btk_punet.figures import PALETTE
from tests.evaluation.conftest import bright_scenes
from tests.evaluation.sayers import PAIR_AND_ONE, RIGHT, SWAPPED, maps, saying

# Isolated pixels are right; the blended ones are predicted to be isolated, too.
NEVER_BLENDED = (0, 1, 1)


def tables_of(positions=(PAIR_AND_ONE,), methods=("m",), **options):
    batch = bright_scenes(list(positions))
    pixels = {"m": lit_pixels(batch, saying(batch, extra_data=maps(batch, **options)))}
    tidy = {
        "class_probabilities": class_probabilities(pixels),
        "class_uncertainty": class_uncertainty(pixels),
    }
    return class_error_tables(tidy, list(methods))


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
    assert [len(table) for table in tables_of(methods=[])] == [0, 0]
    errors, curves = tables_of([[], []])
    row = errors.iloc[0]
    assert (row["n_pixels"], row["n_wrong"]) == (0, 0)
    assert np.isnan([row["error_rate"], row["auc_variance"], row["auc_probability"]]).all()
    assert len(curves) == 0


def test_other_methods_have_no_row():
    errors, _ = tables_of(methods=("plain", "m"))
    assert errors["method"].tolist() == ["m"]


@pytest.mark.parametrize(("said", "rate"), [(RIGHT, 0.0), (SWAPPED, 1.0)])
def test_all_right_or_all_wrong(said, rate):
    row = tables_of(said=said, variance_of_wrong=0.5)[0].iloc[0]
    assert (row["n_pixels"], row["error_rate"]) == (60, rate)
    assert np.isnan([row["auc_variance"], row["auc_probability"]]).all()


@pytest.mark.parametrize(("variance_of_wrong", "area"), [(0.9, 1.0), (0.5, 0.5), (0.1, 0.0)])
def test_variance_that_knows_or_not(variance_of_wrong, area):
    errors, _ = tables_of(said=NEVER_BLENDED, sure=0.75, variance_of_wrong=variance_of_wrong)
    row = errors.iloc[0]
    assert (row["n_pixels"], row["n_wrong"], row["error_rate"]) == (60, 15, 0.25)
    assert row["auc_variance"] == area
    # All pixels are as sure.
    assert row["auc_probability"] == 0.5


def test_without_variance():
    row = tables_of(said=NEVER_BLENDED)[0].iloc[0]
    assert np.isnan(row["auc_variance"]) and row["auc_probability"] == 0.5


def test_curves():
    _, curves = tables_of(said=NEVER_BLENDED, sure=0.75, variance_of_wrong=0.875)
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


@pytest.mark.usefixtures("no_screen")
class TestErrorPredictionDisplay:
    def test_nothing(self):
        _, curves = tables_of([[], []])
        display = ErrorPredictionDisplay(curves).plot(Figure().subplots())
        assert display.curves_ == {} and display.legend_ is None

    def test_no_wrong_pixel(self):
        errors, curves = tables_of(variance_of_wrong=0.5)
        display = ErrorPredictionDisplay(curves, errors)
        assert display.plot(Figure().subplots()).curves_ == {}

    def test_curves_are_those_of_the_table(self):
        errors, curves = tables_of(said=NEVER_BLENDED, sure=0.75, variance_of_wrong=0.875)
        display = ErrorPredictionDisplay(curves, errors, ["SEP", "m"]).plot()
        line = display.curves_["m", "class_variance"]
        np.testing.assert_allclose(line.get_xydata(), [[0, 0], [0, 1], [1, 1]])
        other = display.curves_["m", "class_probability"]
        np.testing.assert_allclose(other.get_xydata(), [[0, 0], [1, 1]])
        assert line.get_color() == other.get_color() == PALETTE[1]
        assert [text.get_text() for text in display.legend_.get_texts()] == [
            "m: variance of the class (1.000)",
            "m: 1 − largest probability (0.500)",
        ]

    def test_method_that_is_not_known(self):
        _, curves = tables_of(said=NEVER_BLENDED)
        with pytest.raises(InputError, match=r"among \['m'\], got \['SEP'\]"):
            ErrorPredictionDisplay(curves).plot(methods=["SEP"])
