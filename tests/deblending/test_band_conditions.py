"""Conditions of a band: what is refused, and what a batch's are."""

import galsim
import numpy as np
import pytest

from btk_punet.deblending.band_conditions import BandConditions
from btk_punet.deblending.conditions import batch_conditions
from btk_punet.errors import InputError
from btk_punet.simulation.survey import get_euclid_survey

from .conftest import make_batch

PSF = galsim.Gaussian(fwhm=0.2)


def test_no_images():
    conditions = BandConditions(PSF, False, 0.1, np.ones((0, 8, 8)), np.nan)
    conditions.check_shape((0, 8, 8))


def test_one_number_fits_all_images_and_a_map_its_own():
    BandConditions(PSF, False, 0.1, 155.0, 32.8).check_shape((3, 8, 9))
    background = np.arange(1.0, 145.0).reshape(2, 8, 9)
    conditions = BandConditions(PSF, False, 0.1, background, 32.8)
    conditions.check_shape((2, 8, 9))
    np.testing.assert_array_equal(conditions.background_of(1), background[1])
    with pytest.raises(InputError, match=r"has the shape \(2, 8, 9\), and the images"):
        conditions.check_shape((2, 9, 8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"background": 0.0}, "positive and finite, got 0"),
        ({"background": np.array([[[4.0, np.nan]]])}, r"got nan \(in 1 of 2 values\)"),
        ({"background": np.ones((8, 8))}, r"shape \(8, 8\).* an axis in front"),
        ({"pixel_scale_arcsec": 0.0}, "pixel_scale_arcsec must be positive"),
        ({"pixel_scale_arcsec": np.nan}, "pixel_scale_arcsec must be positive"),
        ({"unit_magnitude": np.inf}, "unit_magnitude must be finite, or NaN"),
    ],
)
def test_what_is_no_condition_is_refused(change, message):
    values = {"pixel_scale_arcsec": 0.1, "background": 155.0, "unit_magnitude": 32.8}
    with pytest.raises(InputError, match=message):
        BandConditions(psf=PSF, psf_with_pixel=False, **(values | change))


def test_a_batch_s_own():
    batch = make_batch(np.zeros((1, 32, 32)), get_euclid_survey(4, 4.4, psf=PSF))
    (conditions,) = batch_conditions(batch)
    assert conditions.psf == PSF
    assert not conditions.psf_with_pixel
    assert conditions.pixel_scale_arcsec == pytest.approx(0.1)
    assert conditions.background == pytest.approx(4 * (155.57 + 4.4**2), rel=0.01)
    # The zero point is that of one electron per second, in four exposures of 565 s.
    assert conditions.unit_magnitude == pytest.approx(25.92 + 2.5 * np.log10(4 * 565), abs=0.01)


def test_pixels_of_a_psf_hold_the_pixel():
    batch = make_batch(np.zeros((1, 32, 32)))
    batch.psf = [PSF.drawImage(nx=31, ny=31, scale=0.1).array]
    (conditions,) = batch_conditions(batch)
    assert conditions.psf_with_pixel
