"""Calibration lines and the file that keeps them."""

import json

import numpy as np
import pytest
from scipy.special import expit, logit

from btk_punet.deblending.recipe import (
    RECIPE_FILES,
    DetectionRecipe,
    LightCalibration,
    LogitLine,
    reweighted,
)
from btk_punet.errors import InputError, InputTypeError


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


def test_a_folder_without_recipe_changes_nothing(tmp_path):
    assert DetectionRecipe.load(tmp_path) == DetectionRecipe()


@pytest.mark.parametrize(
    "recipe",
    [
        DetectionRecipe(),
        DetectionRecipe(LogitLine(0.7, -0.1), LogitLine(1.3, 0.2), 1.1, 0.1, (0.14, 0.2)),
        DetectionRecipe(light=LightCalibration(1.2, 0.03, 1.3, 0.04)),
    ],
)
def test_saved_and_loaded(recipe, tmp_path):
    recipe.save(tmp_path)
    assert DetectionRecipe.load(tmp_path) == recipe


def test_recipes_for_smooth_and_structured_galaxies_lie_side_by_side(tmp_path):
    smooth, structured = DetectionRecipe(LogitLine(1.5, 1.0)), DetectionRecipe(LogitLine(0.9, -0.3))
    smooth.save(tmp_path)
    with pytest.raises(InputError, match="no calibration for structured galaxies beside the wei"):
        DetectionRecipe.load(tmp_path, "structured")
    structured.save(tmp_path, "structured")
    assert DetectionRecipe.load(tmp_path) == smooth
    assert DetectionRecipe.load(tmp_path, "structured") == structured
    with pytest.raises(InputError, match=r"one of \['smooth', 'structured'\], got 'real'"):
        DetectionRecipe.load(tmp_path, "real")


LINE = {"slope": 1.0, "intercept": 0.0}
LACKS = "lacks p_blend, p_detect, pixel_scale_arcsec, position_scale, psf_fwhm_arcsec"
# What is in the file instead of, or besides, a recipe that changes nothing; and what is said of it.
BAD_FILES = {
    "no JSON": ("not JSON", "cannot be read as JSON"),
    "empty": ("", "cannot be read as JSON"),
    "a list": ([], "holds a list, expected a JSON object"),
    "without keys": ("{}", f"not a detection recipe: it {LACKS}"),
    "p_detect null": ({"p_detect": None}, "not a detection recipe: .*NoneType"),
    "p_detect a list": ({"p_detect": [1, 2]}, "not a detection recipe: .*list"),
    "slope text": (
        {"p_detect": {"slope": "steep", "intercept": 0}},
        "expected slope as a finite number, got 'steep'",
    ),
    "slope true": ({"p_blend": LINE | {"slope": True}}, "slope as a finite number, got True"),
    "slope 0": (
        {"p_detect": LINE | {"slope": 0}},
        "expected p_detect.slope as a finite number above 0, got 0; calibrate the network again",
    ),
    "slope negative": (
        {"p_blend": LINE | {"slope": -1.5}},
        "expected p_blend.slope as a finite number above 0, got -1.5",
    ),
    "slope NaN": ({"p_detect": LINE | {"slope": np.nan}}, "slope as a finite number, got nan"),
    "intercept inf": (
        {"p_blend": LINE | {"intercept": np.inf}},
        "intercept as a finite number, got inf",
    ),
    "a line of other keys": ({"p_blend": {"angle": 1}}, "'angle'"),
    "position_scale null": ({"position_scale": None}, "position_scale as .* above 0, got None"),
    "position_scale 0": ({"position_scale": 0.0}, "position_scale as .* above 0, got 0.0"),
    "position_scale negative": ({"position_scale": -0.6}, "position_scale as .* got -0.6"),
    "position_scale inf": ({"position_scale": np.inf}, "position_scale as .* got inf"),
    "pixel text": ({"pixel_scale_arcsec": "fine"}, "pixel_scale_arcsec as .* got 'fine'"),
    "pixel negative": ({"pixel_scale_arcsec": -0.1}, "pixel_scale_arcsec as .* got -0.1"),
    "one FWHM": ({"psf_fwhm_arcsec": [0.1]}, r"the smallest and the largest FWHM, got \(0.1,\)"),
    "FWHM a number": ({"psf_fwhm_arcsec": 0.16}, "the smallest and the largest FWHM, got 0.16"),
    "FWHM reversed": (
        {"psf_fwhm_arcsec": [0.2, 0.14]},
        r"psf_fwhm_arcsec\[1\] as a finite number of at least 0.2, got 0.14",
    ),
    "FWHM 0": ({"psf_fwhm_arcsec": [0, 0.2]}, r"psf_fwhm_arcsec\[0\] as .* above 0, got 0"),
    "FWHM NaN": ({"psf_fwhm_arcsec": [0.1, np.nan]}, r"psf_fwhm_arcsec\[1\] as .* got nan"),
    "another key": ({"colour": 3}, "'colour'"),
    "light of another key": ({"light": {"flux": 1}}, "'flux'"),
    "light a number": ({"light": 3}, "int"),
    "place_scale 0": ({"light": {"place_scale": 0}}, "place_scale as .* above 0, got 0"),
    "flux_scale negative": ({"light": {"flux_scale": -1}}, "flux_scale as .* above 0, got -1"),
    "flux_floor negative": ({"light": {"flux_floor": -0.1}}, "flux_floor as .* at least 0, got"),
    "floor NaN": ({"light": {"place_floor_radii": np.nan}}, "place_floor_radii as .* got nan"),
}


@pytest.mark.parametrize("galaxies", RECIPE_FILES)
@pytest.mark.parametrize(
    ("content", "message"), [pytest.param(*row, id=name) for name, row in BAD_FILES.items()]
)
def test_bad_files(content, message, galaxies, tmp_path):
    path = tmp_path / RECIPE_FILES[galaxies]
    DetectionRecipe().save(tmp_path, galaxies)
    if isinstance(content, dict):
        content = json.loads(path.read_text()) | content
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError, match=f"{path.name}' .*{message}"):
        DetectionRecipe.load(tmp_path, galaxies)


@pytest.mark.parametrize("galaxies", RECIPE_FILES)
def test_a_folder_in_place_of_the_file(galaxies, tmp_path):
    (tmp_path / RECIPE_FILES[galaxies]).mkdir()
    with pytest.raises(InputError, match="cannot be read as JSON .IsADirectoryError"):
        DetectionRecipe.load(tmp_path, galaxies)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"p_detect": LogitLine(-1.0)}, InputError, "p_detect.slope as .* above 0, got -1.0"),
        ({"p_blend": 1.0}, InputTypeError, "p_blend as a LogitLine, got 1.0"),
        ({"light": None}, InputTypeError, "light as a LightCalibration, got None"),
        ({"position_scale": "1"}, InputError, "position_scale as .* got '1'"),
        ({"psf_fwhm_arcsec": (0.2, 0.1)}, InputError, "of at least 0.2, got 0.1"),
    ],
)
def test_a_recipe_that_would_be_wrong_is_not_made(options, error, message):
    with pytest.raises(error, match=message):
        DetectionRecipe(**options)


def test_a_file_without_light_has_the_default(tmp_path):
    DetectionRecipe(light=LightCalibration(flux_scale=7.0)).save(tmp_path)
    path = tmp_path / RECIPE_FILES["smooth"]
    content = json.loads(path.read_text())
    del content["light"]
    path.write_text(json.dumps(content))
    assert DetectionRecipe.load(tmp_path).light == LightCalibration()


def test_reweighting_by_hand():
    # Odds of 1 to 4, a quarter of them, three times them.
    np.testing.assert_allclose(reweighted([0.2, 0.2], 1.0), 0.2)
    assert reweighted(0.2, 0.25) == pytest.approx(1 / 17)
    assert reweighted(0.2, 3.0) == pytest.approx(3 / 7)
    np.testing.assert_array_equal(reweighted([0.0, 1.0], 5.0), [0.0, 1.0])


def test_reweighting_is_bayes_theorem():
    """A measurement with Gaussian noise of something that is there in a share of the cases."""
    rng = np.random.default_rng(2)
    there = {share: rng.random(40_000) < share for share in (0.5, 0.1)}
    x = {share: rng.normal(truth, 0.7) for share, truth in there.items()}

    def posterior(x, share):
        likelihood = [np.exp(-0.5 * ((x - mean) / 0.7) ** 2) for mean in (0, 1)]
        return share * likelihood[1] / (share * likelihood[1] + (1 - share) * likelihood[0])

    new = reweighted(posterior(x[0.1], 0.5), (0.1 / 0.9) / (0.5 / 0.5))
    np.testing.assert_allclose(new, posterior(x[0.1], 0.1), rtol=1e-9)
    assert there[0.1][(new > 0.4) & (new < 0.6)].mean() == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("ratio", [0.0, -1.0, np.nan, np.inf])
def test_no_odds_ratio(ratio):
    with pytest.raises(InputError, match="odds_ratio must be a number above 0"):
        reweighted(0.5, ratio)
