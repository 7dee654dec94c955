"""Regions for DS9: its format, by hand."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from btk_punet.images.regions import sky_places, write_regions
from tests.images.hand_made import detections, without_wcs, world


@pytest.fixture
def lines(tmp_path):
    def lines_of(found):
        write_regions(found, tmp_path / "r.reg")
        return (tmp_path / "r.reg").read_text().splitlines()

    return lines_of


def test_of_nothing(lines):
    for wcs, frame in (("default", "icrs"), (None, "image")):
        written = lines(detections(0, wcs=wcs))
        assert written[0] == "# Region file format: DS9 version 4.1"
        assert written[-1] == frame
        assert not any(";" in line for line in written)  # which would begin a line


def test_pixels_are_counted_from_1(lines):
    written = lines(without_wcs())
    start = written.index("image") + 1
    # Squares of 5 pixels have the area of circles of 2.82; 3 is the least that is drawn.
    assert written[start:] == [
        "circle(51.000,41.000,3.00) # color=blue text={1}",
        "box(55.000,43.000,6.00,6.00,0) # color=blue text={2}",
        "circle(121.500,101.250,3.00) # color=green text={3}",
        "box(200.000,4.000,6.00,6.00,0) # color=red text={4}",
    ]


def test_sky(lines):
    written = lines(detections())
    ra, dec = detections().catalog["RA"].value, detections().catalog["DEC"].value
    assert written[-4] == f'circle({ra[0]:.7f},{dec[0]:.7f},0.300") # color=blue text={{1}}'
    assert written[-3].startswith("box(") and '0.600",0.600",0)' in written[-3]


def test_galactic_headers_give_icrs_as_well(lines):
    found = detections(wcs=world("GLON-TAN"))
    galactic = SkyCoord(150, 2, frame="galactic", unit="deg")
    assert sky_places(found)[0].separation(galactic).arcsec < 10
    np.testing.assert_allclose(found.catalog["RA"].value, sky_places(found).ra.deg, rtol=1e-10)
    assert lines(found)[-5] == "icrs"
