"""Images of one's own as batches."""

import astropy.units as u
import galsim
import numpy as np
import pytest
import surveycodex
from astropy.nddata import CCDData
from astropy.utils.masked import Masked
from btk.survey import Survey, get_surveys

from btk_punet import SepDeblender, get_euclid_survey, image_batch
from btk_punet.errors import InputError, InputTypeError

PSF = galsim.Gaussian(fwhm=0.2)


@pytest.fixture(scope="module")
def survey():
    return get_euclid_survey()


def rows(table):
    return [pytest.param(*row, id=name) for name, row in table.items()]


def test_no_images(survey):
    assert image_batch(np.zeros((0, 1, 64, 64)), survey).catalog_list == []


def test_one_image_of_any_size(survey):
    image = np.random.default_rng(1).normal(0, 26.45, (82, 82))
    image[30:34, 50:54] += 1000
    batch = image_batch(image, survey)
    assert batch.image_size == 82  # where BTK's int(8.2 / 0.1) is 81
    np.testing.assert_array_equal(batch.blend_images[0, 0], image)
    assert batch.psf[0].calculateFWHM() == pytest.approx(0.16, abs=0.005)
    (found,) = SepDeblender(5)(batch).catalog_list
    assert (found["x_peak"][0], found["y_peak"][0]) == pytest.approx((51.5, 31.5), abs=0.3)


def test_several_bands_and_psfs_that_are_functions():
    lsst = get_surveys("LSST")
    batch = image_batch(np.zeros((2, 6, 30, 30)), lsst)
    assert batch.batch_size == 2 and len(batch.psf) == 6
    assert image_batch(np.zeros((2, 6, 30, 30)), lsst, iter(6 * [PSF])).psf == 6 * [PSF]


@pytest.mark.parametrize("psf", [PSF, [PSF], (PSF,)], ids=["alone", "list", "tuple"])
def test_one_psf(survey, psf):
    assert image_batch(np.zeros((8, 8)), survey, psf).psf == [PSF]


NUMBERS = np.arange(9.0).reshape(3, 3)
HIDDEN = np.where(NUMBERS == 4, np.nan, NUMBERS)
GOOD_IMAGES = {
    "float32": (NUMBERS.astype("f4"), NUMBERS),
    "float16": (NUMBERS.astype("f2"), NUMBERS),
    "longdouble": (NUMBERS.astype(np.longdouble), NUMBERS),
    "beyond float64": (np.full((3, 3), np.longdouble("1e999")), np.full((3, 3), np.inf)),
    "uint8": (NUMBERS.astype(np.uint8), NUMBERS),
    "int64": (NUMBERS.astype(int), NUMBERS),
    "big-endian": (NUMBERS.astype(">f4"), NUMBERS),
    "transposed": (NUMBERS.T.copy().T, NUMBERS),
    "lists": (NUMBERS.tolist(), NUMBERS),
    "lists of integers": (NUMBERS.astype(int).tolist(), NUMBERS),
    "masked": (np.ma.masked_equal(NUMBERS, 4), HIDDEN),
    "masked integers": (np.ma.masked_equal(NUMBERS.astype(int), 4), HIDDEN),
    "masked, nothing": (np.ma.MaskedArray(NUMBERS), NUMBERS),
    "Masked": (Masked(NUMBERS, NUMBERS == 4), HIDDEN),
    "electrons": (NUMBERS * u.electron, NUMBERS),
    "Masked electrons": (Masked(NUMBERS * u.electron, NUMBERS == 4), HIDDEN),
    "NaN and inf": (np.diag([np.nan, np.inf, -np.inf]), np.diag([np.nan, np.inf, -np.inf])),
}


@pytest.mark.parametrize(("given", "expected"), rows(GOOD_IMAGES))
def test_kinds_of_images(survey, given, expected):
    (image,) = image_batch(given, survey).blend_images[:, 0]
    assert image.dtype == np.float64 and type(image) is np.ndarray
    np.testing.assert_array_equal(image, expected)


def test_images_of_the_user_stay_as_they_are(survey):
    images = np.ma.masked_equal(np.zeros((1, 1, 4, 4)), 0)
    batch = image_batch(images, survey)
    batch.blend_images[:] = 3
    np.testing.assert_array_equal(images.data, 0)
    assert images.mask.all()


REAL, SQUARE = "an array of real numbers", r"square images of the shape \(n, 1, H, H\) for Euclid"
BAD_IMAGES = {
    "None": (None, InputTypeError, f"{REAL}, got None of dtype object"),
    "text": ("image.fits", InputTypeError, f"{REAL}, got 'image.fits' of dtype <U10"),
    "bool": (np.ones((8, 8), bool), InputTypeError, f"{REAL}, got ndarray of dtype bool"),
    "complex": (np.ones((8, 8), complex), InputTypeError, f"{REAL}, .* complex128"),
    "strings": (np.full((8, 8), "1"), InputTypeError, f"{REAL}, .* <U1"),
    "objects": (np.full((8, 8), 1, object), InputTypeError, f"{REAL}, .* object"),
    "dates": (np.zeros((8, 8), "M8[s]"), InputTypeError, rf"{REAL}, .* datetime64\[s\]"),
    "structured": (np.zeros((8, 8), "f4,f4"), InputTypeError, REAL),
    "a dict": ({"image": NUMBERS}, InputTypeError, f"{REAL}, got dict of dtype object"),
    "the class": (np.ndarray, InputTypeError, f"{REAL}, got the class ndarray"),
    "uneven lists": ([[1.0, 2.0], [3.0]], InputTypeError, "got list that is none .* of one size"),
    "CCDData": (CCDData(NUMBERS, unit="adu"), InputTypeError, "as an array, got CCDData. Give its"),
    "counts": (NUMBERS * u.ct, InputError, "in electrons in the full .* got the unit 'ct'"),
    "electrons a second": (NUMBERS * u.electron / u.s, InputError, "the unit 'electron / s'"),
    "without unit": (NUMBERS * u.one, InputError, "got the unit ''. Convert them"),
    "a number": (3.0, InputError, rf"{SQUARE}.* got \(\)"),
    "empty list": ([], InputError, rf"{SQUARE}.* got \(0,\)"),
    "one row": (np.zeros(64), InputError, SQUARE),
    "three axes": (np.zeros((3, 64, 64)), InputError, SQUARE),
    "five axes": (np.zeros((1, 1, 1, 64, 64)), InputError, SQUARE),
    "two bands": (np.zeros((1, 2, 64, 64)), InputError, SQUARE),
    "no band": (np.zeros((1, 0, 64, 64)), InputError, SQUARE),
    "not square": (np.zeros((60, 64)), InputError, rf"{SQUARE}.* got \(60, 64\). Cut them"),
    "no pixels": (np.zeros((1, 1, 0, 0)), InputError, SQUARE),
}


@pytest.mark.parametrize(("images", "error", "message"), rows(BAD_IMAGES))
def test_bad_images(survey, images, error, message):
    with pytest.raises(error, match=message):
        image_batch(images, survey)


BAD_SURVEYS = {
    "None": (None, "a survey of BTK, got None. Give what get_euclid_survey"),
    "name": ("Euclid_VIS", "got 'Euclid_VIS'"),
    "number": (4, "got 4"),
    "list": ([get_euclid_survey()], "got list"),
    "class": (Survey, "got the class Survey"),
    "surveycodex's": (surveycodex.get_survey("LSST"), "got Survey"),
    "band": (get_euclid_survey().get_filter("IE"), "got Filter"),
}


@pytest.mark.parametrize(("wrong", "message"), rows(BAD_SURVEYS))
def test_bad_surveys(wrong, message):
    with pytest.raises(InputTypeError, match=message):
        image_batch(np.zeros((8, 8)), wrong)


@pytest.mark.parametrize("scale", [0, -0.1, np.nan, np.inf])
def test_no_pixel_scale(scale):
    survey = get_euclid_survey()
    survey.pixel_scale = scale * u.arcsec
    with pytest.raises(InputError, match="pixel scale of Euclid_VIS must be above 0 arcsec, got"):
        image_batch(np.zeros((8, 8)), survey)


BAD_PSFS = {
    "name": ("gaussian", InputTypeError, "a galsim.GSObject for each band, got 'gaussian'"),
    "FWHM": (0.16, InputTypeError, "a galsim.GSObject for each band, got 0.16"),
    "function": (lambda survey, filt: PSF, InputTypeError, "for each band, got function"),
    "class": (galsim.Gaussian, InputTypeError, "for each band, got the class Gaussian"),
    "list of names": (["gaussian"], InputTypeError, "PSF of IE as .* got 'gaussian'"),
    "list of numbers": ([0.16], InputTypeError, "PSF of IE as a galsim.GSObject, got 0.16"),
    "list of None": ([None], InputTypeError, "PSF of IE as a galsim.GSObject, got None"),
    "list of lists": ([[PSF]], InputTypeError, "PSF of IE as a galsim.GSObject, got list"),
    "pixels": (np.ones((9, 9)), InputTypeError, "got ndarray. Make pixels one with galsim.Int"),
    "image": ([galsim.Image(9, 9)], InputTypeError, "PSF of IE as .* got Image"),
    "by band": ({"IE": PSF}, InputTypeError, "PSF of IE as a galsim.GSObject, got 'IE'"),
    "none": ([], InputError, "Expected 1 PSFs for Euclid_VIS, one for each of IE; got 0"),
    "two": ([PSF, PSF], InputError, "Expected 1 PSFs for Euclid_VIS, .* got 2"),
}


@pytest.mark.parametrize(("psf", "error", "message"), rows(BAD_PSFS))
def test_bad_psfs(survey, psf, error, message):
    with pytest.raises(error, match=message):
        image_batch(np.zeros((8, 8)), survey, psf)


def test_one_psf_of_six():
    with pytest.raises(InputError, match="Expected 6 PSFs for LSST, one for each of u, g, r, i, z"):
        image_batch(np.zeros((1, 6, 8, 8)), get_surveys("LSST"), PSF)


def test_a_survey_without_psf():
    survey = get_euclid_survey()
    survey.get_filter("IE").psf = None
    with pytest.raises(InputTypeError, match="PSF of IE as a galsim.GSObject, got None"):
        image_batch(np.zeros((8, 8)), survey)
    assert image_batch(np.zeros((8, 8)), survey, PSF).psf == [PSF]
