import math

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.utils.data import get_pkg_data_contents
from astropy.wcs import WCS

from btk_punet.errors import InputError
from btk_punet.images.sky_image import open_image
from btk_punet.images.world import given_wcs, header_wcs, local_pixel_scale, pixel_scale, ra_dec
from tests.images.scenes import celestial_header, noise, write


def irac_header() -> fits.Header:
    """The header of an image of Spitzer/IRAC, with distortion, that comes with astropy."""
    text = get_pkg_data_contents("tests/data/irac_sip.hdr", package="astropy.wcs")
    return fits.Header.fromstring(text.encode())


def by_hand(header: fits.Header, x: float, y: float) -> tuple[float, float]:
    """RA and Dec [degree] of a place by the formulas of SIP and of the tangential projection."""
    u, v = x + 1 - header["CRPIX1"], y + 1 - header["CRPIX2"]

    def polynomial(name: str) -> float:
        order = header[f"{name}_ORDER"]
        return sum(
            header.get(f"{name}_{p}_{q}", 0.0) * u**p * v**q
            for p in range(order + 1)
            for q in range(order + 1 - p)
        )

    u, v = u + polynomial("A"), v + polynomial("B")
    xi = math.radians(header["CD1_1"] * u + header["CD1_2"] * v)
    eta = math.radians(header["CD2_1"] * u + header["CD2_2"] * v)
    ra0, dec0 = math.radians(header["CRVAL1"]), math.radians(header["CRVAL2"])
    below = math.cos(dec0) - eta * math.sin(dec0)
    ra = ra0 + math.atan2(xi, below)
    dec = math.atan2(math.sin(dec0) + eta * math.cos(dec0), math.hypot(xi, below))
    return math.degrees(ra), math.degrees(dec)


def test_a_header_without_coordinates_says_so():
    assert header_wcs(fits.Header()) == (None, "it has no celestial axes (CTYPE missing)")


def test_places_are_right_through_a_real_header_with_distortion(tmp_path):
    header = irac_header()
    path = write(tmp_path, fits.PrimaryHDU(noise((256, 256)), header))
    image = open_image(path)
    places = np.array([(0.0, 0.0), (255.0, 0.0), (100.25, 200.75), (255.0, 255.0)])
    ra, dec = image.ra_dec(*places.T)
    undistorted = header.copy()
    for key in [k for k in header if k[:2] in ("A_", "B_", "AP", "BP")]:
        del undistorted[key]
    linear_ra, _ = ra_dec(WCS(undistorted), *places.T)
    for (x, y), *found in zip(places, ra, dec, strict=True):
        off = np.subtract(found, by_hand(header, x, y)) * 3600
        assert np.hypot(off[0] * math.cos(math.radians(found[1])), off[1]) < 1e-4  # arcsec
    # The distortion matters: the test would not pass without it.
    assert np.abs(linear_ra - ra).max() * 3600 > 0.5


def test_the_pixel_size_is_that_of_the_distorted_centre():
    header = irac_header()
    wcs, _ = header_wcs(header)
    (ra0, dec0), (ra1, dec1), (ra2, dec2) = (
        by_hand(header, *place) for place in ((127.5, 127.5), (128.5, 127.5), (127.5, 128.5))
    )
    scale = 3600 * np.array([math.cos(math.radians(dec0)), 1.0])
    one, other = scale * (ra1 - ra0, dec1 - dec0), scale * (ra2 - ra0, dec2 - dec0)
    area = abs(one[0] * other[1] - one[1] * other[0])
    found, note = pixel_scale(wcs, None, (256, 256), None)
    assert found == pytest.approx(math.sqrt(area), rel=1e-4) and note == ""


@pytest.mark.parametrize("declination", [0.0, 60.0, -89.99])
def test_the_pixel_size_anywhere_on_the_sky(declination):
    wcs = WCS(celestial_header(0.04, CRVAL2=declination))
    assert local_pixel_scale(wcs, 31.5, 31.5) == pytest.approx(0.04, rel=1e-6)


def test_without_coordinates_the_pixel_size_is_what_is_said_or_euclids():
    assert pixel_scale(None, 0.2, (9, 9), 0.3) == (0.2, "")
    assert pixel_scale(None, None, (9, 9), 0.3) == (0.3, "")
    scale, note = pixel_scale(None, None, (9, 9), None)
    assert scale == 0.1 and "0.1 arcsec was assumed" in note


def test_right_ascensions_lie_between_0_and_360():
    wcs = WCS(celestial_header(CRVAL1=0.0))
    ra, dec = ra_dec(wcs, np.array([31.5, 41.5]), np.array([31.5, 31.5]))
    off = 1 / 3600 / math.cos(math.radians(2.0))
    np.testing.assert_allclose(ra, [0.0, 360 - off], atol=1e-8)
    np.testing.assert_allclose(dec, 2.0, atol=1e-6)


def test_galactic_coordinates_are_turned_into_equatorial_ones():
    wcs = WCS(celestial_header(CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN"))
    expected = SkyCoord(150.0, 2.0, unit="deg", frame="galactic").icrs
    ra, dec = ra_dec(wcs, 31.5, 31.5)
    assert (float(ra), float(dec)) == pytest.approx((expected.ra.deg, expected.dec.deg), abs=1e-9)


def test_spectral_axes_are_left_out():
    header = celestial_header(WCSAXES=3, CTYPE3="FREQ", CRPIX3=1.0, CRVAL3=1e9, CDELT3=1.0)
    wcs, why_not = header_wcs(header)
    assert wcs is not None and wcs.naxis == 2 and why_not == ""


def test_a_header_may_be_given_as_wcs():
    assert given_wcs(celestial_header(), (64, 64)).has_celestial
    with pytest.raises(InputError, match="no celestial axes"):
        given_wcs(fits.Header(), (64, 64))


def test_lookup_tables_of_the_file_are_found(tmp_path):
    table = fits.ImageHDU(np.full((2, 2), 3.0, np.float32), name="D2IMARR", ver=1)
    table.header.update({"CRPIX1": 0.0, "CRPIX2": 0.0, "CRVAL1": 0.0, "CRVAL2": 0.0})
    table.header.update({"CDELT1": 64.0, "CDELT2": 64.0})
    more = {"D2IMDIS1": "LOOKUP", "D2IM1.EXTVER": 1, "D2IM1.NAXES": 2, "D2IMERR1": 3.0}
    header = celestial_header()
    for key, value in {**more, "D2IM1.AXIS.1": 1, "D2IM1.AXIS.2": 2}.items():
        name = "D2IM1" if "." in key else key
        card = f"{key.split('.', 1)[1]}: {value}" if "." in key else value
        header.append((name, card), end=True)
    image = fits.ImageHDU(noise(), header, name="SCI")
    opened = open_image(write(tmp_path, fits.PrimaryHDU(), image, table) + "[SCI]")
    assert opened.wcs is not None and opened.wcs.det2im1 is not None
    ra, _ = opened.ra_dec(31.5, 31.5)
    assert float(ra) == pytest.approx(150.0 - 0.3 / 3600 / math.cos(math.radians(2)), abs=1e-7)
