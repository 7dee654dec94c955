"""PSFs as text: equal when they come back, and nothing else is ever built from a text."""

import pickle

import galsim
import numpy as np
import pytest
from btk.survey import get_surveys

from btk_punet.deblending.psf_text import psf_from_text, psf_to_text
from btk_punet.errors import InputError
from btk_punet.simulation.survey import euclid_optics, euclid_psf

GAUSSIAN = galsim.Gaussian(fwhm=0.2)

EXACT = {
    "gaussian": GAUSSIAN,
    "moffat": galsim.Moffat(3.0, fwhm=0.2, trunc=1.0),
    "transformed": GAUSSIAN.shear(g1=0.1, g2=-0.05).shift(0.1, 0.2) * 3,
    "sum": 0.3 * GAUSSIAN + 0.7 * galsim.Exponential(scale_radius=0.1),
    "BTK's default": get_surveys("LSST").get_filter("u").psf,
    "optics": euclid_optics(aberrations=[0, 0, 0, 0, 0.1]),
    "tabulated": euclid_psf(0.16),
    "tabulated and more": galsim.Convolve(euclid_psf(0.16), GAUSSIAN, euclid_psf(0.18)),
    "fourier image": galsim.InterpolatedKImage(GAUSSIAN.drawKImage()),
    "float32 image": galsim.InterpolatedImage(
        GAUSSIAN.drawImage(scale=0.05, dtype=np.float32), x_interpolant="lanczos5"
    ),
    "other accuracy": GAUSSIAN.withGSParams(maxk_threshold=1e-4),
}


@pytest.mark.parametrize("psf", EXACT.values(), ids=EXACT.keys())
def test_profiles_of_galsim_come_back_equal(psf):
    text, arrays, exact = psf_to_text(psf, 0.1)
    assert exact
    again = psf_from_text(text, [array.copy() for array in arrays])
    assert again == psf
    drawn, expected = (p.drawImage(nx=32, ny=32, scale=0.1).array for p in (again, psf))
    np.testing.assert_array_equal(drawn, expected)
    assert psf_to_text(again, 0.1)[2]
    assert pickle.loads(pickle.dumps(again)) == psf


class OwnProfile(galsim.Gaussian):
    """A class that GalSim does not know, so that its text cannot be read back."""

    def __repr__(self):
        return f"OwnProfile(sigma={self.sigma})"


def with_pupil():
    pupil = galsim.Image(np.hypot(*np.mgrid[-128:128, -128:128]) < 40, dtype=int)
    return galsim.OpticalPSF(lam=750, diam=1.2, pupil_plane_im=pupil)


@pytest.mark.filterwarnings("ignore::galsim.GalSimWarning")
@pytest.mark.parametrize(
    "make", [lambda: OwnProfile(fwhm=0.16) * 2, lambda: OwnProfile(fwhm=0.8), with_pupil]
)
def test_others_are_drawn_finely(make):
    psf = make()
    text, arrays, exact = psf_to_text(psf, 0.1)
    assert not exact
    again = psf_from_text(text, arrays)
    assert again.flux == pytest.approx(psf.flux)
    drawn, expected = (p.drawImage(nx=64, ny=64, scale=0.1).array for p in (again, psf))
    # A thousandth of the peak: less than the photon noise of a star below saturation.
    np.testing.assert_allclose(drawn, expected, atol=1e-3 * expected.max())
    # What was read is exact from then on.
    assert psf_to_text(again, 0.1)[2]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.5",
        "None",
        "arrays[0]",
        "arrays[1]",
        "galsim.Gaussian(",
        "galsim.Gaussian()",
        "galsim.Image(2, 2)",
        "galsim.InterpolatedImage('psf.fits')",
        "galsim.SED('1', 'nm', '1')",
        "galsim.UVFunction('u', 'v')",
        "galsim.Gaussian.__init__(1)",
        "galsim.Gaussian(**{'sigma': 1.0})",
        "np.load(1)",
        "__import__('os').remove('file')",
        "[x for x in (1, 2)]",
        "(lambda: 1)()",
        "-" * 5000 + "1",
        "(" * 5000,
        "[" + "1, " * 20_000 + "]",
    ],
)
def test_nothing_else_is_built(text):
    with pytest.raises(InputError, match="text"):
        psf_from_text(text, [np.zeros(2)])
