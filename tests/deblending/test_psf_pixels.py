"""PSFs of GalSim, and the same as pixels, as a batch has them that was loaded from a file."""

import galsim
import numpy as np
import pytest

from btk_punet import get_euclid_survey
from btk_punet.deblending.psf_pixels import fwhm_arcsec, psf_image


def test_pixels_give_the_image_that_they_are():
    psf = get_euclid_survey(1, 0.0).get_filter("IE").psf
    expected = psf_image(psf, 0.1)
    assert expected.shape == (61, 61)
    pixels = psf.drawImage(nx=65, ny=65, scale=0.1)
    for image in (pixels, pixels.array):
        np.testing.assert_allclose(psf_image(image, 0.1), expected, atol=1e-6)


def test_fwhm():
    psf = galsim.Gaussian(fwhm=0.4)
    assert fwhm_arcsec(psf, 0.1) == pytest.approx(0.4, rel=1e-6)
    pixels = psf.drawImage(nx=65, ny=65, scale=0.1, method="no_pixel").array
    assert fwhm_arcsec(pixels, 0.1) == pytest.approx(0.4, rel=0.01)
