import btk.survey
import numpy as np
import pytest

from btk_punet import get_euclid_survey
from btk_punet.simulation.noise import background_noise
from btk_punet.simulation.survey import background_variance


@pytest.mark.parametrize(
    ("survey", "band"),
    [(btk.survey.get_surveys("LSST"), "g"), (get_euclid_survey(4, 4.4), "IE")],
    ids=["sky level of BTK", "sky and read noise"],
)
def test_variance_is_that_of_the_background(survey, band):
    filt = survey.get_filter(band)
    noise = background_noise(survey, filt, (200, 200), np.random.default_rng(1))
    variance = background_variance(survey, filt)
    assert variance > 500
    assert noise.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / 40_000))
    assert noise.mean() == pytest.approx(0, abs=4 * np.sqrt(variance / 40_000))


def test_no_pixel():
    survey = get_euclid_survey()
    noise = background_noise(survey, survey.get_filter("IE"), (0, 8), np.random.default_rng(0))
    assert noise.shape == (0, 8)
