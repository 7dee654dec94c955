import math

import pytest

from btk_punet.errors import InputError
from btk_punet.images.photometry import photometry


def worth(header=None, unit="", gain=None, zeropoint=None, scale=0.1):
    return photometry(header or {}, unit, gain, zeropoint, scale)


def test_nothing_is_known():
    found = worth()
    assert found.electrons_per_unit is None and math.isnan(found.zeropoint)
    assert [note.split(":")[0] for note in found.notes] == [
        "How many electrons one unit of the image stands for is not known",
        "No zero point is known",
    ]


@pytest.mark.parametrize(
    ("header", "unit", "electrons"),
    [
        ({}, "electron", 1.0),
        ({"GAIN": 2.0}, "ELECTRONS", 1.0),
        ({"GAIN": 2.0}, "adu", 2.0),
        ({"EGAIN": 2.0}, "", 2.0),
        ({"GAIN": 0.0, "CCDGAIN": 2.0}, "DN", 2.0),
        ({"GAIN": -1.0}, "DN", None),
        ({"GAIN": "high"}, "DN", None),
        ({"GAIN": 2.0, "EXPTIME": 10.0}, "counts/s", 20.0),
        ({"EXPTIME": 10.0}, "ELECTRONS/S", 10.0),
        ({}, "e-/s", None),
        ({"GAIN": 2.0}, "nJy", None),
    ],
)
def test_electrons_of_one_unit(header, unit, electrons):
    # A header's gain of 0 stands for "not known" and hides no other keyword.
    assert worth(header, unit).electrons_per_unit == electrons


def test_what_the_caller_says_is_taken():
    found = worth({"GAIN": 2.0, "MAGZERO": 25.0}, "adu", gain=3.5, zeropoint=26.0)
    assert (found.electrons_per_unit, found.zeropoint, found.notes) == (3.5, 26.0, ())


@pytest.mark.parametrize(
    ("header", "unit", "expected"),
    [
        ({"MAGZERO": 24.6}, "", 24.6),
        ({"PHOTZP": 24.6}, "adu", 24.6),
        ({}, "nJy", 31.4),
        ({}, "10.0*nanoJansky", 28.9),
        ({}, "Jy", 8.9),
        # 1 MJy/sr of a pixel of 0.1 arcsec is 1e6 * (0.1 / 206264.806)^2 = 2.3504e-7 Jy.
        ({}, "MJy/sr", -2.5 * math.log10(2.350443e-7) + 8.9),
        # ACS/WFC F814W: the AB zero point of its PHOTFLAM is 25.94 for one electron a second.
        ({"PHOTFLAM": 7.07e-20, "PHOTPLAM": 8045.0}, "electrons/s", 25.94),
        ({"PHOTFLAM": 7.07e-20, "PHOTPLAM": 8045.0, "EXPTIME": 100.0}, "electrons", 30.94),
    ],
)
def test_zero_points(header, unit, expected):
    assert worth(header, unit).zeropoint == pytest.approx(expected, abs=0.01)


def test_a_zero_point_of_0_stands_for_none():
    assert math.isnan(worth({"MAGZERO": 0.0}).zeropoint)


def test_zero_points_that_contradict_each_other_are_told():
    found = worth({"MAGZERO": 25.0}, "nJy")
    assert found.zeropoint == 25.0
    assert "But by the unit nJy it is 31.4000" in found.notes[-1]


@pytest.mark.parametrize("unit", ["mag", "mag/arcsec2"])
def test_magnitudes_are_no_light(unit):
    with pytest.raises(InputError, match="linear in the light"):
        worth(unit=unit)
