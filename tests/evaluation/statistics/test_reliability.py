import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from btk_punet.errors import InputError
from btk_punet.evaluation.statistics.fractions import fractions
from btk_punet.evaluation.statistics.reliability import (
    LEAST_PROBABILITY,
    Reliability,
    error_by_chance,
)

COLUMNS = ["lo", "hi", "n", "k", "mean_probability", "value", "value_lo", "value_hi"]


def of(probability, outcome, n_bins=10):
    reliability = Reliability(n_bins)
    reliability.add(probability, outcome)
    return reliability


def figures(reliability):
    return [
        reliability.expected_calibration_error(),
        reliability.brier_score(),
        reliability.brier_skill(),
        reliability.log_loss(),
    ]


def test_nothing():
    reliability = of(np.zeros((0, 3)), np.zeros((0, 3), bool))
    table = reliability.table()
    assert list(table.columns) == COLUMNS
    assert list(table["n"]) == [0] * 10
    assert table[["mean_probability", "value", "value_lo", "value_hi"]].isna().all().all()
    assert np.isnan([*figures(reliability), reliability.base_rate]).all()
    assert reliability.n == 0


def test_counted_by_hand():
    # Two bins. Lower: 0.1, 0.3 and 0.2, one of three happened, mean 0.2. Upper: 0.5 and 1.0, both
    # happened, mean 0.75.
    reliability = of([0.1, 0.5, 0.3, 1.0, 0.2], [False, True, True, True, False], n_bins=2)
    table = reliability.table()
    assert list(table["lo"]) == [0.0, 0.5] and list(table["hi"]) == [0.5, 1.0]
    assert list(table["n"]) == [3, 2] and list(table["k"]) == [1, 2]
    np.testing.assert_allclose(table["mean_probability"], [0.2, 0.75])
    np.testing.assert_allclose(table["value"], [1 / 3, 1.0])
    expected = fractions(np.array([3, 2]), np.array([1, 2]))
    np.testing.assert_array_equal(table[["value_lo", "value_hi"]], expected.iloc[:, -2:])
    error = 3 / 5 * (1 / 3 - 0.2) + 2 / 5 * (1 - 0.75)
    brier = (0.1**2 + 0.5**2 + 0.7**2 + 0 + 0.2**2) / 5
    assert reliability.expected_calibration_error() == pytest.approx(error)
    assert reliability.base_rate == pytest.approx(0.6)
    assert reliability.brier_score() == pytest.approx(brier)
    assert reliability.brier_skill() == pytest.approx(1 - brier / (0.6 * 0.4))
    log_loss = -np.log([0.9, 0.5, 0.3, 1.0, 0.8]).mean()
    assert reliability.log_loss() == pytest.approx(log_loss)


def test_bins_are_half_open_at_decimal_edges():
    edges = np.arange(11) / 10
    assert list(of(edges, edges > 2).table()["n"]) == [1] * 9 + [2]
    below = np.nextafter(edges[1:], 0)
    assert list(of(below, below > 2).table()["n"]) == [1] * 10


def test_always_the_base_rate_has_no_skill_and_no_error():
    reliability = of(np.full(8, 0.25), np.arange(8) < 2)
    assert reliability.expected_calibration_error() == pytest.approx(0)
    assert reliability.brier_skill() == pytest.approx(0)


def test_perfect_and_perfectly_wrong():
    outcome = np.array([True, False, True, False])
    right, wrong = of(outcome.astype(float), outcome), of(1.0 - outcome, outcome)
    assert figures(right) == pytest.approx([0, 0, 1, 0])
    assert figures(wrong) == pytest.approx([1, 1, -3, -np.log(LEAST_PROBABILITY)])


def test_skill_needs_both_outcomes():
    assert np.isnan(of([0.2, 0.9], [True, True]).brier_skill())


@pytest.mark.parametrize("power", [1, 2])
def test_true_probabilities_are_calibrated_and_others_are_not(power):
    rng = np.random.default_rng(1)
    p = rng.uniform(0, 1, 200_000)
    error = of(p**power, rng.random(len(p)) < p).expected_calibration_error()
    # Said p^2 for p uniform: the error is the mean of p - p^2 = 1/6.
    assert error == pytest.approx(0 if power == 1 else 1 / 6, abs=0.004)


def test_merged_parts_are_the_whole():
    rng = np.random.default_rng(2)
    p = rng.uniform(0, 1, (4, 50)).astype("float32")
    outcome = rng.random(p.shape) < 0.3
    whole = of(p, outcome)
    first, second = of(p[:1], outcome[:1]), of(p[1:], outcome[1:])
    merged = first + second
    np.testing.assert_allclose(merged.table(), whole.table(), rtol=1e-12)
    np.testing.assert_allclose(figures(merged), figures(whole), rtol=1e-12)
    assert (first.n, second.n, merged.n) == (50, 150, 200)  # the parts are left as they were
    in_turn = of(p[:1], outcome[:1])
    in_turn.add(p[1:], outcome[1:])
    np.testing.assert_allclose(in_turn.table(), whole.table(), rtol=1e-12)


def test_outcomes_as_numbers_and_rounding():
    reliability = of(np.array([-1e-8, 1 + 1e-7]), [0, 1])
    assert figures(reliability) == pytest.approx([0, 0, 1, 0])


@pytest.mark.parametrize(
    ("probability", "outcome", "message"),
    [
        ([0.1, 0.2], [True], r"same shape, got \(2,\) and \(1,\)"),
        ([0.1, 1.2], [True, False], "from 0 to 1, got values from 0.1 to 1.2"),
        ([np.nan], [True], r"leave out what has none \(NaN\)"),
        ([0.1], [2], "outcome must hold booleans .* such as .*2"),
    ],
)
def test_what_cannot_be_added(probability, outcome, message):
    reliability = Reliability()
    with pytest.raises(InputError, match=message):
        reliability.add(probability, outcome)
    assert reliability.n == 0


@pytest.mark.parametrize("n_bins", [0, 2.5, True])
def test_number_of_bins(n_bins):
    with pytest.raises(InputError, match="n_bins must be a whole number of at least 1"):
        Reliability(n_bins)


def test_from_sums():
    nothing = Reliability.from_sums(*np.zeros((4, 10)))
    assert nothing.n == 0 and np.isnan([nothing.mean_probability, nothing.brier_score()]).all()
    p, so = np.array([0.25, 0.25, 0.75, 1.0]), np.array([False, True, True, True])
    added = Reliability(2)
    added.add(p, so)
    summed = Reliability.from_sums([2, 2], [1, 2], [0.5, 1.75], [0.625, 0.0625])
    pd.testing.assert_frame_equal(summed.table(), added.table())
    assert summed.mean_probability == added.mean_probability == 0.5625
    for score in ("expected_calibration_error", "brier_score", "brier_skill"):
        assert getattr(summed, score)() == getattr(added, score)()
    assert np.isnan(summed.log_loss()) and (added + added).n == (summed + added).n == 8


def test_what_cannot_be_merged():
    with pytest.raises(InputError, match="got 10 and 5 bins"):
        Reliability() + Reliability(5)
    with pytest.raises(TypeError):
        Reliability() + 1


def test_importing_loads_neither_tensorflow_nor_matplotlib():
    code = (
        "import sys, btk_punet.evaluation.statistics.reliability, "
        "btk_punet.evaluation.statistics.pixels, "
        "btk_punet.evaluation.plotting.reliability, btk_punet.evaluation.runs.confusion; "
        "sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'matplotlib')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class TestErrorByChance:
    def test_nothing(self):
        assert np.isnan(error_by_chance([]))

    def test_sure_probabilities_have_none(self):
        assert error_by_chance([0.0, 1.0, 1.0]) == 0.0

    def test_mean_error_of_right_probabilities(self):
        rng = np.random.default_rng(4)
        p = rng.uniform(0.1, 0.9, 300)
        errors = []
        for _ in range(200):
            reliability = Reliability()
            reliability.add(p, rng.random(300) < p)
            errors.append(reliability.expected_calibration_error())
        assert error_by_chance(p) == pytest.approx(np.mean(errors), rel=0.05)
