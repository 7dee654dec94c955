"""Saturated stars: where they are, how bright, and which candidates are theirs."""

import galsim
import numpy as np
import pytest

from btk_punet.deblending.instances import Candidates
from btk_punet.images.saturation import SaturatedStars
from btk_punet.images.sky_image import open_image

PSF = galsim.Moffat(beta=3, fwhm=0.3)
WHOLE = slice(0, 120), slice(0, 140)


def star(x, y, flux, trail=0, level=2000.0):
    """An image with a star, saturated and bleeding along its column, and the image as opened."""
    offset = galsim.PositionD(x - 69.5, y - 59.5)
    image = (
        PSF.withFlux(flux).drawImage(nx=140, ny=120, scale=0.1, offset=offset).array.astype(float)
    )
    image += np.random.default_rng(0).normal(0, 3, image.shape)
    column = round(x)
    image[round(y) - trail : round(y) + trail + 1, column] = 2 * level
    return open_image(
        np.minimum(image, level),
        rms=3.0,
        psf=PSF,
        gain=1,
        saturate=level,
        background=None,
        zeropoint=25,
    )


def candidates(*places, mass=None):
    x, y = np.array(places, float).reshape(-1, 2).T
    mass = np.linspace(0.9, 0.5, len(x)) if mass is None else np.array(mass)
    return Candidates(np.zeros(len(x), int), x, y, np.ones(len(x)), np.ones(len(x)), mass)


def saturated_pixels(image):
    from btk_punet.deblending.flags import DetectionFlag

    return np.argwhere(image.tile(*WHOLE).flags & DetectionFlag.SATURATED != 0).T


def test_no_star():
    image = star(70, 60, 100.0)
    stars = SaturatedStars.of_pixels(np.zeros(0, int), np.zeros(0, int), image)
    some = candidates((5, 6))
    merged, star_of = stars.merged(some, np.zeros((120, 140)), WHOLE)
    assert merged is some and list(star_of) == [-1]


@pytest.mark.parametrize("trail", [0, 25])
def test_a_star_is_found_in_the_middle_and_measured(trail):
    image = star(71, 58, 1e5, trail)
    stars = SaturatedStars.of_pixels(*saturated_pixels(image), image)
    assert len(stars.x) == 1
    assert abs(stars.x[0] - 71) <= 1
    # The middle of what is widest: not the middle of the trail's ends alone.
    assert abs(stars.y[0] - 58) <= 2
    assert stars.flux[0] == pytest.approx(1e5, rel=0.05)
    assert 0 < stars.flux_err[0] < 1e5


def test_what_is_the_stars_own_light_is_one_candidate():
    image = star(71, 58, 1e5)
    stars = SaturatedStars.of_pixels(*saturated_pixels(image), image)
    electrons = image.tile(*WHOLE).electrons.copy()
    electrons[19:22, 99:102] += 500  # a neighbour, far brighter than the wings there
    some = candidates((71, 58), (76, 58), (71, 66), (100, 20))
    merged, star_of = stars.merged(some, electrons, WHOLE)
    assert list(star_of) == [0, -1]
    assert merged.x[0] == stars.x[0] and merged.y[0] == stars.y[0]
    assert list(merged.mass) == [0.9, some.mass[3]]
    # From a window that does not hold the star its candidates are left out.
    right = WHOLE[0], slice(74, 140)
    moved = candidates((76 - 74, 58), (100 - 74, 20))
    merged, star_of = stars.merged(moved, electrons[right], right)
    assert list(star_of) == [-1] and list(merged.x) == [26]


def test_a_hot_pixel_without_a_candidate_is_no_source():
    image = star(71, 58, 1e5)
    stars = SaturatedStars.of_pixels(*saturated_pixels(image), image)
    electrons = image.tile(*WHOLE).electrons.copy()
    electrons[9:12, 9:12] += 500
    merged, star_of = stars.merged(candidates((10, 10)), electrons, WHOLE)
    assert len(merged) == 1 and list(star_of) == [-1]


def test_regions_are_8_connected():
    image = star(70, 60, 100.0)
    row, column = np.array([5, 6, 9]), np.array([5, 6, 9])
    stars = SaturatedStars.of_pixels(row, column, image)
    assert list(stars.region) == [0, 0, 1]
    np.testing.assert_allclose(np.sort(stars.x), [5.5, 9])
