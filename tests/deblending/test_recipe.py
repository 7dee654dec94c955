"""The file that keeps a calibration."""

import json

import numpy as np
import pytest

from btk_punet.deblending.log_odds import LogitLine, SurroundingTerms
from btk_punet.deblending.recipe import (
    RECIPE_FILE,
    DetectionRecipe,
    LightCalibration,
    reweighted,
)
from btk_punet.deblending.unseen import UnseenSources
from btk_punet.errors import InputError, InputTypeError

from .test_evidence_network import linear


def test_a_folder_without_recipe_changes_nothing(tmp_path):
    assert DetectionRecipe.load(tmp_path) == DetectionRecipe()


@pytest.mark.parametrize(
    "recipe",
    [
        DetectionRecipe(),
        DetectionRecipe(LogitLine(0.7, -0.1), LogitLine(1.3, 0.2), 1.1, 0.1, (0.14, 0.2)),
        DetectionRecipe(light=LightCalibration(1.2, 0.03, 1.3, 0.04)),
        DetectionRecipe(unseen=UnseenSources(1e-5, -1.0, -0.7)),
        DetectionRecipe(LogitLine(1.2, 1.5, 0.1), evidence=linear(-1.0, gain=0.2)),
        DetectionRecipe(
            surroundings=SurroundingTerms(-0.4, 1.5, -0.7, -2.5, -3.0, -5.0, -7.0, 2.0, 1.0)
        ),
    ],
)
def test_saved_and_loaded(recipe, tmp_path):
    recipe.save(tmp_path)
    assert DetectionRecipe.load(tmp_path) == recipe


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
    "surroundings null": ({"surroundings": None}, "not a detection recipe: .*NoneType"),
    "surroundings of another key": ({"surroundings": {"height": 1}}, "'height'"),
    "evidence of another kind": ({"evidence": {"slope": 1}}, "rows of numbers: it is a dict"),
    "sure below 0": ({"p_detect": LINE | {"sure": -0.1}}, "sure as .* at least 0, got -0.1"),
    "unseen below 0": ({"unseen": {"per_pixel": -1}}, "per_pixel as .* at least 0, got -1"),
    "depth text": ({"surroundings": {"depth": "deep"}}, "depth as a finite number, got 'deep'"),
    "near NaN": ({"surroundings": {"near": np.nan}}, "near as a finite number, got nan"),
    "floor NaN": ({"light": {"place_floor_radii": np.nan}}, "place_floor_radii as .* got nan"),
}


@pytest.mark.parametrize(
    ("content", "message"), [pytest.param(*row, id=name) for name, row in BAD_FILES.items()]
)
def test_bad_files(content, message, tmp_path):
    path = tmp_path / RECIPE_FILE
    DetectionRecipe().save(tmp_path)
    if isinstance(content, dict):
        content = json.loads(path.read_text()) | content
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError, match=f"{path.name}' .*{message}"):
        DetectionRecipe.load(tmp_path)


def test_a_folder_in_place_of_the_file(tmp_path):
    (tmp_path / RECIPE_FILE).mkdir()
    with pytest.raises(InputError, match="cannot be read as JSON .IsADirectoryError"):
        DetectionRecipe.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"p_detect": LogitLine(-1.0)}, InputError, "p_detect.slope as .* above 0, got -1.0"),
        ({"p_blend": 1.0}, InputTypeError, "p_blend as a LogitLine, got 1.0"),
        ({"light": None}, InputTypeError, "light as a LightCalibration, got None"),
        ({"unseen": 0}, InputTypeError, "unseen as a UnseenSources, got 0"),
        ({"evidence": 0.5}, InputTypeError, "evidence as a EvidenceNetwork, got 0.5"),
        ({"surroundings": 1}, InputTypeError, "surroundings as a SurroundingTerms, got 1"),
        ({"position_scale": "1"}, InputError, "position_scale as .* got '1'"),
        ({"psf_fwhm_arcsec": (0.2, 0.1)}, InputError, "of at least 0.2, got 0.1"),
    ],
)
def test_a_recipe_that_would_be_wrong_is_not_made(options, error, message):
    with pytest.raises(error, match=message):
        DetectionRecipe(**options)


def test_a_file_without_what_is_optional_has_the_defaults(tmp_path):
    """As those have that were written before it was there."""
    light, surroundings = LightCalibration(flux_scale=7.0), SurroundingTerms(depth=3.0)
    unseen, evidence = UnseenSources(1.0), linear(2.0)
    recipe = DetectionRecipe(
        light=light, surroundings=surroundings, unseen=unseen, evidence=evidence
    )
    recipe.save(tmp_path)
    path = tmp_path / RECIPE_FILE
    content = json.loads(path.read_text())
    for name in ("light", "surroundings", "unseen", "evidence"):
        del content[name]
    path.write_text(json.dumps(content))
    assert DetectionRecipe.load(tmp_path) == DetectionRecipe()


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
