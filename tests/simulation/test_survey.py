import pickle

import btk.survey
import galsim
import numpy as np
import pytest
from surveycodex.utilities import mag2counts, mean_sky_level

from btk_punet.errors import BtkPunetError, InputError, InputTypeError
from btk_punet.simulation.survey import (
    background_variance,
    euclid_psf,
    flux_electrons,
    get_euclid_survey,
    magnitude,
    pixel_scale_arcsec,
)
from tests.simulation.conftest import SKY_ELECTRONS


def sky_level(survey):
    return mean_sky_level(survey, survey.get_filter("IE")).to_value("electron")


def test_the_defaults_are_the_euclid_wide_survey():
    survey = get_euclid_survey()
    assert isinstance(survey, btk.survey.Survey)
    assert survey.name == "Euclid_VIS"
    assert survey.available_filters == ["IE"]
    assert (survey.n_exposures, survey.read_noise) == (4, 4.4)
    assert survey.sky_electrons == pytest.approx(SKY_ELECTRONS, abs=1e-9)
    assert survey.get_filter("IE").full_exposure_time.to_value("s") == 4 * 565
    assert pixel_scale_arcsec(survey) == pytest.approx(0.1)


@pytest.mark.parametrize("n_exposures", [1, 2, 3, 4, 7, np.int64(20)])
@pytest.mark.parametrize("read_noise", [0.0, 3.1, 4.4, 30])
def test_btk_reads_the_whole_background_variance_as_the_sky_level(n_exposures, read_noise):
    survey = get_euclid_survey(n_exposures, read_noise)
    expected = n_exposures * (SKY_ELECTRONS + read_noise**2)
    # Half of surveycodex's step: whole electrons per square arcsecond, on pixels of 0.01.
    assert sky_level(survey) == pytest.approx(expected, abs=0.005 + 1e-9)
    assert background_variance(survey, survey.get_filter("IE")) == sky_level(survey)


def test_one_exposure_without_read_noise_has_the_depth_of_btk():
    ours, btks = get_euclid_survey(1, 0.0), btk.survey.get_surveys("Euclid_VIS")
    assert sky_level(ours) == pytest.approx(sky_level(btks), abs=1e-9)
    assert ours.get_filter("IE").full_exposure_time == btks.get_filter("IE").full_exposure_time
    for mag in (19.0, 24.5):
        assert mag2counts(mag, ours, ours.get_filter("IE")) == mag2counts(
            mag, btks, btks.get_filter("IE")
        )


def test_btks_own_survey_is_left_as_it_was():
    before = sky_level(btk.survey.get_surveys("Euclid_VIS"))
    get_euclid_survey(4, 4.4)
    assert sky_level(btk.survey.get_surveys("Euclid_VIS")) == before


def test_the_stack_is_as_deep_as_euclid_measured():
    # 10 sigma of the background in an aperture of 1.3 arcsec diameter: I_E = 25.6 for the wide
    # survey, given to one decimal.
    survey = get_euclid_survey()
    filt = survey.get_filter("IE")
    pixels = np.pi * 0.65**2 / pixel_scale_arcsec(survey) ** 2
    limit = magnitude(10 * np.sqrt(pixels * background_variance(survey, filt)), filt)
    assert limit == pytest.approx(25.6, abs=0.05)
    # By hand: sqrt(132.73 x 4 x (155.57 + 4.4^2)) = 304.7 electrons, ten of which in 2260 s.
    assert limit == pytest.approx(25.92 - 2.5 * np.log10(3047 / 2260), abs=0.001)


@pytest.mark.parametrize("n_exposures", [1, 4])
def test_the_zeropoint_is_one_electron_a_second(n_exposures):
    filt = get_euclid_survey(n_exposures).get_filter("IE")
    expected = 10 ** (-0.4 * (22 - 25.92)) * 565 * n_exposures
    assert flux_electrons(22.0, filt) == np.floor(expected)
    assert flux_electrons(25.92, filt) == pytest.approx(565 * n_exposures, abs=1)


def test_flux_is_what_btk_counts():
    survey = get_euclid_survey()
    filt = survey.get_filter("IE")
    mags = np.random.default_rng(0).uniform(14, 36, 500)
    expected = [mag2counts(mag, survey, filt).to_value("electron") for mag in mags]
    np.testing.assert_array_equal(flux_electrons(mags, filt), expected)
    assert (flux_electrons(mags, filt) == 0).any()  # too faint for a whole electron


def test_flux_of_no_sources():
    assert flux_electrons([], get_euclid_survey().get_filter("IE")).shape == (0,)


def test_magnitude_is_the_inverse_of_flux():
    filt = get_euclid_survey().get_filter("IE")
    mags = np.array([19.0, 22.0])
    # A whole electron of several thousand.
    np.testing.assert_allclose(magnitude(flux_electrons(mags, filt), filt), mags, atol=1e-4)
    assert magnitude(0.0, filt) == np.inf
    assert magnitude(-3.0, filt) == np.inf


@pytest.mark.parametrize("fwhm", [0.14, 0.16, 0.18, 0.20])
def test_psf_has_the_fwhm_asked_for_before_the_pixel(fwhm):
    survey = get_euclid_survey(psf=fwhm)
    psf = survey.get_filter("IE").psf
    # Measured on a fine drawing, not by the method with which the width was solved for.
    fine = psf.drawImage(nx=400, ny=400, scale=0.002, method="no_pixel")
    area_above_half = (fine.array > fine.array.max() / 2).sum() * 0.002**2
    assert 2 * np.sqrt(area_above_half / np.pi) == pytest.approx(fwhm, abs=0.002)
    assert psf.flux == pytest.approx(1.0)
    assert survey.get_filter("IE").psf_fwhm.to_value("arcsec") == fwhm


def test_psf_is_centred():
    image = euclid_psf(0.16).drawImage(nx=81, ny=81, scale=0.05)
    moments = galsim.hsm.FindAdaptiveMom(image)
    assert moments.moments_centroid.x == pytest.approx(41, abs=1e-3)
    assert moments.moments_centroid.y == pytest.approx(41, abs=1e-3)


def test_psf_keeps_the_diffraction_of_the_mirror():
    # A Gaussian of the same FWHM has 3e-10 of its peak at 0.45 arcsec; the mirror's rings stay.
    psf = euclid_psf(0.16)
    assert psf.xValue(0.45, 0.0) > 1e-4 * psf.xValue(0, 0)


def test_psf_ends_at_the_band_limit_of_the_mirror():
    # 2 pi D / lambda = 48.7 per arcsec: finer structure than that no Euclid image has.
    limit = 2 * np.pi * 1.2 / 750.637e-9 * np.pi / (180 * 3600)
    for fwhm in (0.14, 0.20):
        psf = euclid_psf(fwhm)
        assert psf.maxk <= psf.withGSParams(maxk_threshold=1e-6).maxk <= 1.01 * limit
        assert abs(psf.kValue(1.02 * limit, 0.0)) < 1e-4


def test_psf_as_a_galsim_object():
    psf = galsim.Moffat(beta=3, fwhm=0.2)
    assert get_euclid_survey(psf=psf).get_filter("IE").psf is psf


def test_psf_as_btks_callable():
    def psf(survey, filt):
        return galsim.Gaussian(fwhm=0.2)

    assert get_euclid_survey(psf=psf).get_filter("IE").psf is psf


def test_the_survey_can_be_pickled():
    survey = pickle.loads(pickle.dumps(get_euclid_survey(3, 2.0)))
    assert (survey.n_exposures, survey.read_noise) == (3, 2.0)
    assert survey.get_filter("IE").psf == euclid_psf(0.16)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"n_exposures": 0}, InputError, "n_exposures must be at least 1, got 0"),
        ({"n_exposures": 2.0}, InputTypeError, "n_exposures must be a whole number"),
        ({"n_exposures": True}, InputTypeError, "n_exposures must be a whole number"),
        ({"read_noise": -1.0}, InputError, "read_noise must be 0 or more"),
        ({"read_noise": np.nan}, InputError, "read_noise must be 0 or more"),
        ({"psf": 0.12}, InputError, "FWHM must lie between 0.126 arcsec"),
        ({"psf": 1.5}, InputError, "and 1 arcsec, got 1.5"),
        ({"psf": np.nan}, InputError, "FWHM must lie between"),
        ({"psf": "sharp"}, InputTypeError, "psf must be a FWHM in arcsec.*got str"),
        ({"psf": True}, InputTypeError, "psf must be a FWHM in arcsec"),
        ({"psf": None}, InputTypeError, "psf must be a FWHM in arcsec"),
    ],
)
def test_wrong_arguments(arguments, error, match):
    with pytest.raises(error, match=match) as caught:
        get_euclid_survey(**arguments)
    assert isinstance(caught.value, BtkPunetError)
