"""What a report says of its scenes, and of methods that are at home on them."""

from types import SimpleNamespace

import pytest
from btk.sampling_functions import DefaultSampling
from btk.survey import get_surveys

from btk_punet import (
    EuclidGenerator,
    EuclidGroupSampling,
    ProbaUNetDeblender,
    SepDeblender,
    get_euclid_survey,
)
from btk_punet.evaluation.runs.words import home_of, scenes_in_words


def generator(catalog, sampling=None, survey=None, **options):
    sampling = EuclidGroupSampling() if sampling is None else sampling
    survey = get_euclid_survey() if survey is None else survey
    return EuclidGenerator(catalog, sampling, survey, seed=7, **options)


def test_scenes_of_euclid(catalog):
    words = scenes_in_words(generator(catalog, sky_residual_sigma=-0.1), 1200)
    assert words["Scenes"] == (
        "1,200 scenes of 6.4 x 6.4 arcsec (64 x 64 pixels of 0.1 arcsec), seed 7"
    )
    assert words["Galaxies"] == "drawn from the 500 of the catalog EuclidCatalog"
    assert words["Survey"] == ("Euclid_VIS, 4 exposures with read noise of 4.4 electrons each")
    # sqrt(4 (155.57 + 4.4^2)) = 26.45 electrons
    assert words["Band IE"] == (
        "PSF of 0.16 arcsec (FWHM before the pixel), background noise of 26.5 electrons per pixel"
    )
    assert words["Density"] == (
        "18.8 times as many neighbours within 2 arcsec of a source, brighter than 25.3 mag, as in "
        "the sky"
    )
    assert words["Sky residual"] == "-0.1 times the background noise left in all pixels"
    assert "max_radius = 1.6" in words["Placing"] or "1.6 arcsec" in words["Placing"]


def test_one_exposure_and_another_sampling(catalog):
    sampling = DefaultSampling(6.4, 2, max_shift=1.0)
    words = scenes_in_words(generator(catalog, sampling, get_euclid_survey(1)), 1)
    assert "1 exposure with read noise" in words["Survey"]
    assert words["Placing"].startswith("DefaultSampling (") and "max_number = 2" in words["Placing"]
    assert "Sky residual" not in words and "Density" not in words


def test_survey_of_btk(catalog):
    words = scenes_in_words(generator(catalog, survey=get_surveys("Euclid_VIS")), 1)
    assert words["Survey"] == "Euclid_VIS"


@pytest.mark.parametrize("methods", [{}, {"sep": SepDeblender(5)}])
def test_nobody_is_at_home(methods, catalog):
    assert home_of(methods, generator(catalog)) == ""


def test_who_is_at_home_is_told_by_name(catalog):
    class Trained(SepDeblender):
        def home_advantage(self, generator):
            return f"was trained on seed {generator.seed}"

    methods = {"sep": SepDeblender(5), "mine": Trained(5), "unet": ProbaUNetDeblender(5)}
    mine, unet = home_of(methods, generator(catalog)).split(". ", 1)
    assert mine == "mine was trained on seed 7"
    assert unet.startswith("unet was trained on galaxies of the same kind as these")
    of_others = SimpleNamespace(catalog=object(), seed=1)
    unet = home_of({"unet": methods["unet"]}, of_others)
    assert "galaxies like Euclid's, and these scenes are of another kind. It was told" in unet
