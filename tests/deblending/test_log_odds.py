"""Calibration in the log of the odds: lines, terms, and their fit."""

import numpy as np
import pytest
from scipy.special import expit, logit

from btk_punet.deblending.log_odds import LogitLine, SurroundingTerms, fit_log_odds
from btk_punet.deblending.surroundings import Surroundings
from btk_punet.errors import InputError


@pytest.mark.parametrize("outcome", [[], [True] * 20, [False] * 20, [True, False] * 4])
def test_too_few_outcomes_are_named(outcome):
    with pytest.raises(InputError, match=f"10 outcomes or more of both .* got {len(outcome)};"):
        LogitLine.fit(np.full(len(outcome), 0.5), outcome)


def test_probabilities_without_outcomes_are_named():
    with pytest.raises(InputError, match=r"\(12,\) and \(20,\); give two of one length"):
        LogitLine.fit(np.full(12, 0.5), [True, False] * 10)


def test_the_default_changes_nothing():
    p = np.linspace(0, 1, 11)
    np.testing.assert_allclose(LogitLine()(p), p, atol=2e-6)


def test_closed_form():
    line = LogitLine(2.0, np.log(3))
    # Odds 1/4 become 3/16, of which the probability is 3/19.
    np.testing.assert_allclose(line(np.array([0.2, 0.5])), [3 / 19, 3 / 4])


@pytest.mark.parametrize("line", [LogitLine(300.0, -40.0), LogitLine(0.1, 5000.0)])
def test_certainty_and_steep_lines_stay_finite(line):
    p = line(np.array([0, 1e-12, 0.5, 1 - 1e-12, 1]))
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p) >= 0).all()


@pytest.mark.parametrize(("slope", "intercept"), [(0.6, 0.4), (1.0, 0.0), (1.8, -1.0)])
def test_fit_recovers_the_line(slope, intercept):
    rng = np.random.default_rng(5)
    raw = rng.uniform(0.01, 0.99, 20_000)
    truth = LogitLine(slope, intercept)(raw)
    line = LogitLine.fit(raw, rng.random(len(raw)) < truth)
    # What the sample leaves in doubt, from the Fisher information of the true line.
    terms = np.stack([logit(raw), np.ones_like(raw)])
    sigma = np.sqrt(np.diag(np.linalg.inv((terms * truth * (1 - truth)) @ terms.T)))
    assert sigma.max() < 0.05
    assert abs(line.slope - slope) < 3.5 * sigma[0]
    assert abs(line.intercept - intercept) < 3.5 * sigma[1]


def test_fit_has_the_best_likelihood_of_all_lines():
    rng = np.random.default_rng(6)
    raw = rng.uniform(0, 1, 3000)
    outcome = rng.random(3000) < raw**2
    line = LogitLine.fit(raw, outcome)

    def loss(slope, intercept):
        p = np.clip(LogitLine(slope, intercept)(raw), 1e-12, 1 - 1e-12)
        return -np.where(outcome, np.log(p), np.log(1 - p)).sum()

    best = loss(line.slope, line.intercept)
    for step in (0.1, -0.1):
        assert loss(line.slope + step, line.intercept) > best
        assert loss(line.slope, line.intercept + step) > best
    # Calibrated in the large: as many as expected come true.
    assert line(raw).sum() == pytest.approx(outcome.sum(), rel=1e-3)


@pytest.mark.parametrize("n", [10, 1000, 100_000])
def test_outcomes_that_are_parted_without_error_give_a_steep_finite_line(n):
    raw = np.linspace(0.01, 0.99, n)
    line = LogitLine.fit(raw, raw > 0.5)
    assert 1 < line.slope < 1e3
    assert abs(line.intercept) < 5
    p = line(raw)
    assert p[raw > 0.6].min() > 0.7
    assert p[raw < 0.4].max() < 0.3


def test_probabilities_that_are_wrong_turn_round():
    raw = np.linspace(0.01, 0.99, 100)
    assert LogitLine.fit(raw, raw < 0.5).slope < 0


def test_equal_probabilities_give_their_frequency():
    outcome = np.arange(2000) < 500
    line = LogitLine.fit(np.full(2000, 0.9), outcome)
    assert line(np.array([0.9]))[0] == pytest.approx(0.25, abs=2e-3)


def test_far_from_the_start_newton_still_arrives():
    # Plain Newton steps from the line that changes nothing leave for infinity here.
    rng = np.random.default_rng(7)
    raw = expit(rng.normal(9, 2, 5000))
    truth = expit(3 * (logit(raw) - 9))
    line = LogitLine.fit(raw, rng.random(5000) < truth)
    assert line.slope == pytest.approx(3, rel=0.1)
    assert line.intercept == pytest.approx(-27, rel=0.1)


def test_certain_probabilities_are_clipped():
    raw = np.repeat([0.0, 1.0], 100)
    outcome = np.tile([True] + 9 * [False], 20)
    outcome[100:] = ~outcome[100:]
    line = LogitLine.fit(raw, outcome)
    np.testing.assert_allclose(line(np.array([0.0, 1.0])), [0.1, 0.9], atol=0.005)


def test_a_shift_is_added_to_the_log_odds():
    # Odds 1 and 1/3, doubled.
    p = LogitLine()(np.array([0.5, 0.25]), np.log(2))
    np.testing.assert_allclose(p, [2 / 3, 2 / 5])


def test_terms_of_no_candidates():
    nothing = np.zeros(0)
    found = SurroundingTerms(*range(12))(Surroundings(*[nothing] * 6), nothing)
    assert found.shape == (0,)


def test_terms_by_hand():
    some = Surroundings(*np.array([[0, 1], [1, 0.5], [1, 0.25], [0.5, 1], [0.25, 0], [9, 9]]))
    found = SurroundingTerms(*10.0 ** np.arange(10))(some, np.array([0.5, 0.9]))
    # depth + density + faint + near + doubt + near near
    # + faint depth + faint, near and doubt density
    np.testing.assert_allclose(
        found,
        [
            10 + 100 + 500 + 0.25e4 + 0.25e5 + 1e7 + 0.5e8 + 0.25e9,
            1 + 5 + 25 + 1e3 + 1e5 + 0.25e6 + 0.125e7 + 0.5e8,
        ],
    )
    # Odds of 1, of 9, and of a million, of which a logarithm of 6 is left.
    odds = SurroundingTerms(faint_odds=1.0, doubt_odds=10.0)(some, np.array([0.5, 0.9]))
    np.testing.assert_allclose(odds, [0, 0.25 * np.log(9)])
    odds = SurroundingTerms(faint_odds=1.0, doubt_odds=10.0)(some, np.array([1.0, 0.0]))
    np.testing.assert_allclose(odds, [6 + 10 * 0.25 * 6, -0.25 * 6])


def test_what_is_sure_counts_less():
    line = LogitLine(2.0, 1.0, 0.1)
    raw = expit(np.array([-9.0, 5.0, 6.0, 8.0]))
    np.testing.assert_allclose(logit(line(raw)), [-17.0, 11.0, 13.0, 13.4])
    rng = np.random.default_rng(11)
    raw = expit(rng.uniform(-9, 13, 20_000))
    found, _ = fit_log_odds(raw, rng.random(20_000) < LogitLine(0.5, -1.0, 0.1)(raw), sure=0.1)
    assert (found.slope, found.intercept) == (
        pytest.approx(0.5, abs=0.05),
        pytest.approx(-1, abs=0.2),
    )
    assert found.sure == 0.1


@pytest.mark.parametrize("value", ["1", True, np.nan, None])
def test_terms_are_finite_numbers(value):
    with pytest.raises(InputError, match="expected faint_depth as a finite number, got"):
        SurroundingTerms(faint_depth=value)
    with pytest.raises(InputError, match="expected sure as a finite number of at least 0, got"):
        LogitLine(sure=value)


def test_terms_are_fitted_with_the_line():
    rng = np.random.default_rng(8)
    raw, term = rng.uniform(0.01, 0.99, 20_000), rng.uniform(0, 1, (2, 20_000))
    truth = LogitLine(1.2, 0.3)(raw, np.array([-1.0, 0.5]) @ term)
    line, numbers = fit_log_odds(raw, rng.random(len(raw)) < truth, term)
    # Three times what the sample leaves in doubt, from the Fisher information of the truth.
    rows = np.stack([logit(raw), np.ones_like(raw), *term])
    sigma = np.sqrt(np.diag(np.linalg.inv((rows * truth * (1 - truth)) @ rows.T)))
    errors = np.array([line.slope - 1.2, line.intercept - 0.3, *(numbers - [-1.0, 0.5])])
    assert (np.abs(errors) < 3 * sigma).all() and sigma.max() < 0.08


def test_a_term_that_never_varies_from_0_gets_0():
    rng = np.random.default_rng(9)
    raw = rng.uniform(0, 1, 500)
    outcome = rng.random(500) < raw
    line, numbers = fit_log_odds(raw, outcome, np.zeros((3, 500)))
    alone = LogitLine.fit(raw, outcome)
    np.testing.assert_array_equal(numbers, 0)
    np.testing.assert_allclose(
        [line.slope, line.intercept], [alone.slope, alone.intercept], rtol=1e-9
    )


def test_a_weight_counts_like_as_many_outcomes():
    rng = np.random.default_rng(10)
    raw = rng.uniform(0, 1, 300)
    outcome = rng.random(300) < raw**2
    weight = 1.0 + 2 * (np.arange(300) < 100)
    weighted, _ = fit_log_odds(raw, outcome, weight=weight)
    again = np.repeat(np.arange(300), weight.astype(int))
    repeated = LogitLine.fit(raw[again], outcome[again])
    assert weighted.slope == pytest.approx(repeated.slope)
    assert weighted.intercept == pytest.approx(repeated.intercept)
