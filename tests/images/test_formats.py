import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    InverseVariance,
    NDData,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS

from btk_punet.images.formats import image_source, pixels_like
from btk_punet.simulation.images import image_batch
from btk_punet.simulation.survey import get_euclid_survey
from tests.images.scenes import celestial_header, noise, write

ALL = slice(0, 64), slice(0, 64)


def test_an_array_says_nothing_of_itself():
    source = image_source(noise())
    assert (source.unit, source.wcs, source.mask, source.noise) == ("", None, None, None)
    assert source.band == "IE" and source.notes == [] and source.has_sky


def test_a_masked_array_and_a_quantity():
    values = noise()
    masked = image_source(np.ma.masked_greater(values, 2.0))
    np.testing.assert_array_equal(masked.mask.read(*ALL) != 0, values > 2)
    assert image_source(values * u.nJy).unit == "nJy"


@pytest.mark.parametrize(
    ("uncertainty", "variance"),
    [
        (StdDevUncertainty(np.full((64, 64), 2.0)), 4.0),
        (StdDevUncertainty(np.full((64, 64), 2000.0), unit="electron"), 4.0),
        (VarianceUncertainty(np.full((64, 64), 2.0)), 2.0),
        (InverseVariance(np.full((64, 64), 4.0)), 0.25),
        (InverseVariance(np.full((64, 64), 4e-6), unit="electron-2"), 0.25),
    ],
)
def test_the_uncertainty_of_nddata_in_the_unit_of_the_image(uncertainty, variance):
    image = NDData(noise(), unit=u.Unit("1000 electron"), uncertainty=uncertainty)
    np.testing.assert_allclose(image_source(image).noise.variance(*ALL), variance)


def test_an_uncertainty_of_no_known_kind_is_left_out_and_told():
    image = NDData(noise(), uncertainty=UnknownUncertainty(np.ones((64, 64))))
    source = image_source(image)
    assert source.noise is None and "UnknownUncertainty" in source.notes[0]


def test_ccddata_with_header_mask_wcs_and_psf():
    mask, psf = np.zeros((64, 64), bool), np.zeros((9, 9))
    mask[3, 4], psf[4, 4] = True, 1
    wcs = WCS(celestial_header())
    meta = {"filter": "F814W", "exptime": 5.0}
    source = image_source(CCDData(noise(), unit="adu", mask=mask, wcs=wcs, meta=meta, psf=psf))
    assert (source.unit, source.band, source.header["EXPTIME"]) == ("adu", "F814W", 5.0)
    assert source.wcs is wcs and source.psf is psf
    np.testing.assert_array_equal(source.mask.read(*ALL) != 0, mask)


@pytest.mark.parametrize("kind", [fits.PrimaryHDU, fits.ImageHDU])
def test_an_hdu_and_a_file_say_the_same(kind, tmp_path):
    hdu = kind(noise(), celestial_header(BUNIT=" nJy ", FILTER="VIS"))
    hdus = [hdu] if kind is fits.PrimaryHDU else [fits.PrimaryHDU(), hdu]
    for image in (hdu, write(tmp_path, *hdus)):
        source = image_source(image)
        assert (source.unit, source.band, source.wcs.naxis) == ("nJy", "IE", 2)
        np.testing.assert_array_equal(source.pixels.read(*ALL), hdu.data)


def test_a_blend_batch_brings_its_survey():
    survey = get_euclid_survey(n_exposures=1, read_noise=0.0)
    batch = image_batch(noise(sigma=12.5), survey)
    source = image_source(batch)
    assert (source.unit, source.band, source.pixel_scale_arcsec) == ("electron", "IE", 0.1)
    assert source.psf is batch.psf[0] and source.wcs is batch.wcs and not source.has_sky
    # 25.92 for one electron a second, 565 s.
    assert source.zeropoint == pytest.approx(25.92 + 2.5 * np.log10(565), abs=0.01)
    np.testing.assert_allclose(source.noise.variance(*ALL), 155.57, atol=0.01)


@pytest.mark.parametrize("name", ["F814W", "F 814/W"])
def test_the_name_of_a_band_can_be_part_of_that_of_a_column(name):
    hdu = fits.PrimaryHDU(noise(), fits.Header({"FILTER": name}))
    assert image_source(hdu).band.replace("_", "") == "F814W"


def test_what_belongs_to_an_image_in_all_its_ways(tmp_path):
    values = np.ones((64, 64))
    masked = np.ma.masked_array(values, np.eye(64) > 0)
    given = [1, np.float32(1), np.array(1.0), values, values.tolist(), write(tmp_path, values)]
    for way in [*given, NDData(values), fits.PrimaryHDU(values)]:
        np.testing.assert_array_equal(pixels_like(way, "rms", (64, 64)).read(*ALL), values)
    found = pixels_like(masked, "rms", (64, 64)).read(*ALL)
    np.testing.assert_array_equal(np.isnan(found), np.eye(64) > 0)
