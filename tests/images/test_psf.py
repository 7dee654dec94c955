import astropy.units as u
import galsim
import numpy as np
import pytest
from astropy.io import fits

from btk_punet.images.psf import choose_psf
from btk_punet.simulation.survey import euclid_psf
from tests.images.scenes import celestial_header, write

SCALE = 0.1


def pixels_of(profile, shape=(33, 33), scale=SCALE, offset=(0.0, 0.0)):
    rows, columns = shape
    return profile.drawImage(nx=columns, ny=rows, scale=scale, offset=offset).array.astype(float)


def test_euclids_is_taken_if_none_is_given():
    psf, with_pixel, note = choose_psf(None, SCALE)
    assert psf.calculateFWHM() == pytest.approx(0.16, abs=2e-3) and not with_pixel
    assert "Euclid VIS" in note


@pytest.mark.parametrize("given", [0.18, "0.18", np.float32(0.18), 0.18 * u.arcsec])
def test_a_fwhm(given):
    psf, with_pixel, note = choose_psf(given, SCALE)
    assert psf == euclid_psf(float(np.float32(0.18))) or psf == euclid_psf(0.18)
    assert not with_pixel and note == ""


@pytest.mark.parametrize("fwhm", [0.05, 1.4])
def test_a_fwhm_that_the_optics_cannot_have_is_a_gaussians(fwhm):
    psf, _, note = choose_psf(fwhm, SCALE)
    assert psf == galsim.Gaussian(fwhm=fwhm) and "a Gaussian" in note


def test_a_profile_is_scaled_to_flux_1():
    psf, with_pixel, _ = choose_psf(galsim.Moffat(beta=3, fwhm=0.3, flux=7), SCALE)
    assert psf.flux == pytest.approx(1) and not with_pixel


@pytest.mark.parametrize("shape", [(33, 33), (32, 32), (32, 41)])
@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.4, -0.3)])
def test_pixels_give_the_same_images_as_the_profile_centred_and_of_flux_1(shape, offset):
    profile = galsim.Gaussian(fwhm=0.3)
    pixels = 5 * pixels_of(profile, shape, offset=offset)
    psf, with_pixel, _ = choose_psf(pixels, SCALE)
    assert with_pixel
    drawn = psf.drawImage(nx=21, ny=21, scale=SCALE, method="no_pixel").array
    np.testing.assert_allclose(drawn, pixels_of(profile, (21, 21)), atol=2e-4)


@pytest.mark.parametrize(
    ("header", "scale", "says"),
    [
        (celestial_header(0.05), 0.05, ""),
        (fits.Header({"PIXELSCL": 0.05}), 0.05, ""),
        (fits.Header(), SCALE, "says no pixel size"),
    ],
)
def test_a_file_with_the_pixel_size_of_its_own_header(header, scale, says, tmp_path):
    pixels = pixels_of(galsim.Gaussian(fwhm=0.3), scale=scale)[None]  # with an axis of length 1
    psf, with_pixel, note = choose_psf(write(tmp_path, fits.PrimaryHDU(pixels, header)), SCALE)
    assert with_pixel and says in note
    # The width of a Gaussian with the pixel: the square root of the sum of the variances.
    expected = 2.3548 * np.hypot(0.3 / 2.3548, scale / np.sqrt(12))
    assert psf.calculateFWHM() == pytest.approx(expected, rel=0.02)
