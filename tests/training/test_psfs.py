"""PSFs with aberrations: widths, centres, and that they differ."""

import numpy as np
import pytest

from btk_punet.simulation.survey import euclid_psf
from btk_punet.training.psfs import (
    PSF_FWHM_RANGE_ARCSEC,
    equivalent_fwhm_arcsec,
    training_psfs,
)


def test_psfs_have_their_fwhm_and_differ():
    psfs = training_psfs(4, seed=2)
    fwhms = [equivalent_fwhm_arcsec(psf) for psf in psfs]
    low, high = PSF_FWHM_RANGE_ARCSEC
    assert low - 0.002 < fwhms[0] < fwhms[-1] < high + 0.002
    assert (np.diff(fwhms) > 0.003).all()
    images = [psf.drawImage(nx=33, ny=33, scale=0.05, method="no_pixel").array for psf in psfs]
    # Aberrations: no longer the same when turned by 180 degrees.
    assert max(np.abs(image - image[::-1, ::-1]).max() / image.max() for image in images) > 0.02
    # The brightest point stays where the catalog says that the source is.
    for image in images:
        assert np.unravel_index(image.argmax(), image.shape) == (16, 16)
    again = training_psfs(1, seed=2)[0].drawImage(nx=33, ny=33, scale=0.05, method="no_pixel")
    other = training_psfs(1, seed=3)[0].drawImage(nx=33, ny=33, scale=0.05, method="no_pixel")
    assert not np.array_equal(again.array, other.array)


def test_equivalent_fwhm_of_a_round_psf():
    assert equivalent_fwhm_arcsec(euclid_psf(0.17)) == pytest.approx(0.17, rel=0.02)
